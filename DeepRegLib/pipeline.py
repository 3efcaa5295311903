"""The stages of a registration in order.

Prepare, search, linear, levels, large motion, model, deformable, other way, inverse, judge, labels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device, memory_errors_explained
from DeepRegLib.extras import with_driving_labels, with_extras
from DeepRegLib.finishing import finish
from DeepRegLib.image import Image, as_image
from DeepRegLib.judgement import Inherited
from DeepRegLib.monitoring import Cancel, Monitor, Progress
from DeepRegLib.orientation import in_standard_order
from DeepRegLib.planning import plan_of
from DeepRegLib.preparation import PreparedScan, prepare_scan
from DeepRegLib.recipes import AUTO, Recipe, load_recipe, with_model
from DeepRegLib.registration import Registration
from DeepRegLib.request import Drivers, Request
from DeepRegLib.stages.both_ways import with_other_way
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.features import features_of, with_features
from DeepRegLib.stages.finding import find_field, find_pose
from DeepRegLib.stages.gain import without_unfounded_field
from DeepRegLib.stages.inverse import invert_well
from DeepRegLib.stages.linear import with_linear_similarity
from DeepRegLib.stages.model import model_of
from DeepRegLib.stages.rigid_segments import with_rigid_segments
from DeepRegLib.stages.run import Run, WorkingPair, working_pair
from DeepRegLib.stages.run_of_request import run_of
from DeepRegLib.transforms import Transform, has_field, invert, linear_part


def register(
    fixed: Image | str | Path,
    moving: Image | str | Path,
    recipe: str | Path | Recipe = AUTO,
    *,
    fixed_mask: Image | str | Path | None = None,
    moving_mask: Image | str | Path | None = None,
    sliding_mask: Image | str | Path | None = None,
    fixed_landmarks: NDArray[np.floating] | None = None,
    moving_landmarks: NDArray[np.floating] | None = None,
    fixed_labels: Image | str | Path | None = None,
    moving_labels: Image | str | Path | None = None,
    initial_transform: Transform | None = None,
    background: float | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Registration:
    """Register a moving image to a fixed one.

    Parameters
    ----------
    fixed, moving
        Volumes, any pixel type and grid, or the paths to read them from. They are not modified.
    recipe
        Name of a shipped recipe, path of a TOML file, or a `Recipe`.
    fixed_mask, moving_mask
        Nonzero where the image counts, on the image's own grid.
    sliding_mask
        Nonzero in an organ that slides along what surrounds it (a lung, the organs of the abdomen), on the fixed grid.
        Across its surface the displacement may then jump along the surface, but not open a gap.
    fixed_landmarks, moving_landmarks
        Corresponding points ``(n, 3)`` in LPS mm: they set the starting pose, draw the field to where they belong
        (``deformable.landmark_pull`` of the recipe says how hard, 0 not at all), and are measured.
    fixed_labels, moving_labels
        Label maps, each on its image's grid. The moving one is brought along. With both, the structures that they
        share draw the field too (``deformable.label_pull``), and their Dice is measured. To measure a Dice that says
        something about the registration, leave them out and use `Registration.with_labels`.
    initial_transform
        Fixed points to moving points; replaces the search. A transform with a field also replaces the linear stage.
    background
        Value of the warped image where the moving one was not scanned; None chooses
        (`DeepRegLib.transforms.background_value`).
    model
        Name or folder of a model, in place of the recipe's; it proposes a field, which is used if it matches better.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; None takes the fastest there is.
    seed
        Of what is sampled at random (the measured points); the registration itself draws no random numbers.
    progress
        Called with stage, fraction of the run (0 to 1), similarity or None, seconds left or None.
    cancel
        Polled at every iteration; returning true stops the run.

    Returns
    -------
    Registration
        Transform, inverse, warped image, measures, verdict, warnings, recipe as run.

    Raises
    ------
    InputError
        If an image, mask, label map, landmark list, recipe, model or device cannot be used.
    RegistrationError
        If the images cannot be brought to overlap, or memory runs out.
    CancelledError
        If `cancel` returned true.
    """
    with memory_errors_explained(choose_device(device)):
        drivers = Drivers(
            fixed_mask=_read(fixed_mask),
            moving_mask=_read(moving_mask),
            sliding_mask=_read(sliding_mask),
            fixed_landmarks=fixed_landmarks,
            moving_landmarks=moving_landmarks,
            fixed_labels=_read(fixed_labels),
            moving_labels=_read(moving_labels),
            initial_transform=initial_transform,
            background=background,
        )
        chosen = with_model(load_recipe(recipe), model)
        request = Request(as_image(fixed), as_image(moving), chosen, drivers, device, seed)
    return run_request(request, progress=progress, cancel=cancel)


def run_request(
    request: Request,
    fixed: PreparedScan | None = None,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Registration:
    """Run a registration, and make what its `Extras` ask for; `fixed` is as in `align`, the rest as in `register`."""
    device, plan = choose_device(request.device), plan_of(request)
    monitor = Monitor(plan, progress, cancel)
    with memory_errors_explained(device), torch.no_grad():
        run, working, start, found = _search(request, device, plan, monitor, fixed)
        with monitor.stage("inverse"):
            inverse = invert_well(run, found.transform, request.seed, found.inverse)
        with monitor.stage("judge"):
            sides = working.fixed, working.moving
            result = finish(run, request, start, found, inverse.inverse, sides, inverse_folds=inverse.folds)
        result = with_driving_labels(result, request.drivers, monitor)
    with memory_errors_explained(torch.device("cpu")):
        return with_extras(result, request.extras, monitor)


def align(
    request: Request,
    fixed: PreparedScan | None = None,
    *,
    at_start: Inherited | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Registration:
    """Register for the transform, the warped image and the verdict alone, as the members of a group are.

    The transform is that of `run_request`. The inverse is solved once, no finer than the field; its folds are not
    counted; there is no trust map, no driving labels and no extras.

    Parameters
    ----------
    request
        What to register.
    fixed
        What `prepare_fixed` made of its fixed scan; None makes it here.
    at_start
        What was measured of an earlier scan of the same patient; None compares the pose with others.
    progress, cancel
        As in `register`.
    """
    device, plan = choose_device(request.device), plan_of(request)
    monitor = Monitor(plan, progress, cancel)
    with memory_errors_explained(device), torch.no_grad():
        run, working, start, found = _search(request, device, plan, monitor, fixed)
        with monitor.stage("inverse"):
            known = found.inverse
            inverse = known or invert(found.transform, device=str(device), poll=monitor.poll)
        with monitor.stage("judge"):
            sides = working.fixed, working.moving
            return finish(run, request, start, found, inverse, sides, mapped=False, at_start=at_start)


def prepare_fixed(request: Request, *, cancel: Cancel | None = None) -> PreparedScan:
    """Prepare the fixed scan of a request once, for `align` with several moving ones.

    Raises
    ------
    InputError
        If it is empty, constant or without a finite voxel, or its mask is empty.
    """
    poll = Monitor(("prepare",), None, cancel).poll
    mask = request.drivers.fixed_mask and in_standard_order(request.drivers.fixed_mask)
    return prepare_scan(in_standard_order(request.fixed), request.recipe.prepare, mask, poll=poll)


def _search(
    request: Request,
    device: torch.device,
    plan: tuple[str, ...],
    monitor: Monitor,
    fixed: PreparedScan | None = None,
) -> tuple[Run, WorkingPair, Transform, Deformed]:
    """Find the transform: the run, its working pair, what the deformable stage began from, and what was found."""
    recipe, drivers = request.recipe, request.drivers
    initial = drivers.initial_transform
    bundle = model_of(recipe, has_field=initial is not None and has_field(initial))
    features = features_of(recipe)
    with monitor.stage("prepare"):
        run = run_of(request, device, plan, monitor, fixed)
        if features is not None:
            run = with_features(run, features)
        run = with_linear_similarity(run)
        working = working_pair(run)
    undecided = run.recipe
    linear, run = find_pose(run, working, drivers)
    start = initial if initial is not None and has_field(initial) else linear
    found = Deformed(start)
    if "deformable" in plan:
        found, run = find_field(run, linear, initial, bundle)
    if recipe.symmetric:
        found = with_other_way(replace(run, recipe=undecided), drivers, bundle, found)
        start = linear_part(found.transform)
    if "deformable" in plan:
        found = without_unfounded_field(run, start, found)
        found = with_rigid_segments(run, found, run.rigid_labels)
    return run, working, start, found


def _read(source: Image | str | Path | None) -> Image | None:
    return None if source is None else as_image(source)
