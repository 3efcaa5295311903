"""Label maps carried from the moving to the fixed image of a registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import dice
from DeepRegLib.image import Image, as_image
from DeepRegLib.monitoring import Poll, keep_going
from DeepRegLib.result import Registration
from DeepRegLib.transforms import LinearTransform, apply_to_labels


def label_map(labels: Image) -> Image:
    """Return a label map with whole numbers as voxels; many programs save them as floats.

    Raises
    ------
    InputError
        If a voxel is not a whole number of 32 bits.
    """
    if labels.array.dtype.kind != "f":
        return labels
    limits = np.iinfo(np.int32)
    values = np.asarray(labels.array, dtype=np.float64)
    # Compared before the conversion: what does not fit would be wrapped around. NaN fails every comparison.
    if not bool(np.all((values >= limits.min) & (values <= limits.max) & (values == np.rint(values)))):
        raise InputError(f"{labels.name} has voxels that are not whole numbers.", "Give a label map.")
    return labels.with_array(values.astype(np.int32))


def check_labels(labels: Image, image: Image) -> Image:
    """Return a label map with whole numbers as voxels, if it lies on the grid of its image.

    Raises
    ------
    InputError
        If it lies on another grid, or a voxel is not a whole number.
    """
    if not image.geometry.is_close(labels.geometry):
        raise InputError(
            f"The labels {labels.name} do not lie on the grid of {image.name}.",
            "Resample the labels onto the image's grid (nearest neighbour).",
        )
    return label_map(labels)


def check_label_pair(
    fixed_labels: Image | str | Path | None, moving_labels: Image | str | Path | None, fixed: Image, moving: Image
) -> tuple[Image | None, Image | None]:
    """Return the label maps of both images, as far as given, with whole numbers as voxels.

    Raises
    ------
    InputError
        If only fixed labels were given, a file cannot be read, a label map lies on another grid than its image, or a
        voxel is not a whole number.
    """
    if fixed_labels is not None and moving_labels is None:
        raise InputError("Labels were given on the fixed image only.", "Give moving labels too, or leave them out.")
    return (
        None if fixed_labels is None else check_labels(as_image(fixed_labels), fixed),
        None if moving_labels is None else check_labels(as_image(moving_labels), moving),
    )


def with_labels(
    registration: Registration, moving_labels: Image, fixed_labels: Image | None = None, *, poll: Poll = keep_going
) -> Registration:
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
    measures = registration.measures
    if fixed_labels is not None:
        fixed = check_labels(fixed_labels, registration.fixed)
        unmoved = apply_to_labels(LinearTransform.identity(), moving, grid, poll=poll)
        measures = replace(measures, dice_before=dice(fixed, unmoved), dice_after=dice(fixed, warped))
    return replace(registration, warped_labels=warped, measures=measures)


def with_layers(registration: Registration, layers: Sequence[Image], *, poll: Poll = keep_going) -> Registration:
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
    warped = [apply_to_labels(registration.transform, label_map(layer), grid, poll=poll) for layer in layers]
    return replace(registration, warped_layers=tuple(warped))
