"""Label maps carried from the moving to the fixed image of a registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from DeepRegLib.carried import carried_labels, left_behind_message
from DeepRegLib.evaluation import dice
from DeepRegLib.image import Image
from DeepRegLib.labels import check_labels, label_map, lost_labels_message
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.result import Registration
from DeepRegLib.transforms import LinearTransform, apply_to_image, apply_to_labels
from DeepRegLib.verdict import verdict_on

AnyRegistration = TypeVar("AnyRegistration", bound=Registration)


def with_labels(
    registration: AnyRegistration, moving_labels: Image, fixed_labels: Image | None = None, *, poll: Poll = never_cancel
) -> AnyRegistration:
    """Return the registration with the moving labels brought onto the fixed grid, and Dice where it can be measured.

    Parameters
    ----------
    registration
        The result to extend; it is not changed.
    moving_labels
        Label map on the moving image's grid.
    fixed_labels
        Label map of the same structures on the fixed image's grid, or None.
    poll
        Called now and then; may raise to stop.

    Raises
    ------
    InputError
        If a label map lies on another grid than its image, or a voxel is not a whole number.
    """
    moving = check_labels(moving_labels, registration.moving)
    grid = registration.fixed.geometry
    warped = apply_to_labels(registration.transform, moving, grid, poll=poll)
    rows = carried_labels(registration.transform, registration.inverse, moving, warped, poll=poll)
    left_behind = left_behind_message(rows, moving.name)
    warnings = (*registration.warnings, *lost_labels_message(moving, warped), *left_behind)
    measures, verdict = registration.measures, registration.verdict
    if fixed_labels is not None:
        fixed = check_labels(fixed_labels, registration.fixed)
        unmoved = apply_to_labels(LinearTransform.identity(), moving, grid, poll=poll)
        measures = replace(measures, dice_before=dice(fixed, unmoved), dice_after=dice(fixed, warped))
        # What the user drew is the best judge of all.
        verdict = verdict_on(
            measures,
            deformed=registration.recipe.deformable.enabled,
            labels_alone=registration.recipe.prepare.labels_only,
        )
    return replace(
        registration, warped_labels=warped, carried=rows, measures=measures, verdict=verdict, warnings=warnings
    )


def with_layers(
    registration: AnyRegistration, layers: Sequence[Image], *, poll: Poll = never_cancel
) -> AnyRegistration:
    """Return the registration with label maps of any grid in the moving world brought onto the fixed grid.

    Parameters
    ----------
    registration
        The result to extend; it is not changed.
    layers
        Label maps, each on its own grid: the layers of a segmentation with overlapping segments, for instance.
    poll
        Called now and then; may raise to stop.

    Raises
    ------
    InputError
        If a voxel is not a whole number.
    """
    grid = registration.fixed.geometry
    warped, rows, warnings = [], [], registration.warnings
    for layer in map(label_map, layers):
        moved = apply_to_labels(registration.transform, layer, grid, poll=poll)
        warped.append(moved)
        rows.append(carried_labels(registration.transform, registration.inverse, layer, moved, poll=poll))
        warnings = (*warnings, *lost_labels_message(layer, moved))
    return replace(registration, warped_layers=tuple(warped), carried_layers=tuple(rows), warnings=warnings)


def with_fractions(
    registration: AnyRegistration, fractions: Sequence[Image], *, poll: Poll = never_cancel
) -> AnyRegistration:
    """Return the registration with shares of voxels brought onto the fixed grid, interpolated linearly.

    Parameters
    ----------
    registration
        The result to extend; it is not changed.
    fractions
        In the moving world, each on its own grid; outside of it there is nothing.
    poll
        Called now and then; may raise to stop.
    """
    grid = registration.fixed.geometry
    warped = [apply_to_image(registration.transform, image, grid, background=0.0, poll=poll) for image in fractions]
    return replace(registration, warped_fractions=tuple(warped))
