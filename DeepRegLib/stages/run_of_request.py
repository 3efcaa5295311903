"""The run that a request asks for: what it was given checked, both images made comparable."""

from __future__ import annotations

import torch

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.label_preparation import LabelledScan, prepare_labels
from DeepRegLib.labels import label_map
from DeepRegLib.masks import checked_mask
from DeepRegLib.monitoring import Monitor
from DeepRegLib.orientation import in_standard_order
from DeepRegLib.preparation import PreparedScan, prepare_pair
from DeepRegLib.recipes import VELOCITY, Recipe
from DeepRegLib.request import Drivers, Request
from DeepRegLib.stages.log import RunLog
from DeepRegLib.stages.memory import within_memory
from DeepRegLib.stages.run import Run


def run_of(
    request: Request,
    device: torch.device,
    plan: tuple[str, ...],
    monitor: Monitor,
    prepared_fixed: PreparedScan | None = None,
) -> Run:
    """Check what the voxels hold, make both images comparable, and choose a working grid that fits into memory.

    All that a run is given has its axes in standard order, so that how a scan is stored changes nothing.
    """
    recipe, drivers = request.recipe, request.drivers
    fixed, moving = in_standard_order(request.fixed), in_standard_order(request.moving)
    labels = [
        None if each is None else label_map(in_standard_order(each))
        for each in (drivers.fixed_labels, drivers.moving_labels)
    ]
    masks = [None if each is None else in_standard_order(each) for each in (drivers.fixed_mask, drivers.moving_mask)]
    if recipe.prepare.labels_only and labels[0] is not None and labels[1] is not None:
        sides = LabelledScan(fixed, labels[0], masks[0]), LabelledScan(moving, labels[1], masks[1])
        pair = prepare_labels(*sides, recipe.prepare, poll=monitor.poll)
    else:
        pair = prepare_pair(
            fixed,
            moving,
            recipe.prepare,
            *masks,
            prepared_fixed=prepared_fixed,
            translate=recipe.translate,
            poll=monitor.poll,
        )
    run = Run(
        pair,
        recipe,
        device,
        monitor,
        plan,
        RunLog(list(pair.decisions), list(pair.warnings)),
        landmarks=drivers.landmarks,
        labels=None if labels[0] is None or labels[1] is None else (labels[0], labels[1]),
        rigid_labels=_rigid_labels(drivers),
        sliding_mask=_sliding_mask(fixed, drivers.sliding_mask and in_standard_order(drivers.sliding_mask), recipe),
    )
    return within_memory(run)


def _rigid_labels(drivers: Drivers) -> Image | None:
    """Return the checked segments that are kept rigid, in standard order; None for none."""
    labels = drivers.rigid_labels
    return None if labels is None else label_map(in_standard_order(labels))


def _sliding_mask(fixed: Image, mask: Image | None, recipe: Recipe) -> Image | None:
    """Return the checked mask as bool."""
    if mask is None:
        return None
    if not recipe.deformable.enabled or recipe.deformable.parametrisation == VELOCITY:
        found = "a velocity" if recipe.deformable.enabled else "no deformable stage"
        raise InputError(
            f"The recipe {recipe.name} has {found}, and only a displacement can slide.",
            "Take a recipe with a deformable stage that seeks a displacement, or leave out the sliding mask.",
        )
    if recipe.symmetric:
        raise InputError(
            f"The recipe {recipe.name} registers from either side; a sliding mask is known on the fixed one only.",
            "Leave out the mask, or take a recipe with symmetric = false.",
        )
    inside = checked_mask(fixed, mask)
    if inside.all():
        raise InputError(f"The mask {mask.name} fills the image.", "Draw it over the organ that slides, and no more.")
    return mask.with_array(inside)
