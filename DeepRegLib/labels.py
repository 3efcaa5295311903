"""What a label map must be: whole numbers, on its image's grid."""

from __future__ import annotations

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image

MOST_SHOWN = 10
NOT_WHOLE = 1e-3  # what a scale factor in single precision makes of a whole number


def label_map(labels: Image) -> Image:
    """Return a label map with whole numbers as voxels; many programs save them as floats, scaled ones among them.

    Raises
    ------
    InputError
        If a voxel is not a whole number of 32 bits.
    """
    if labels.array.dtype.kind != "f":
        return labels
    limits = np.iinfo(np.int32)
    values = np.asarray(labels.array, dtype=np.float64)
    whole = np.rint(values)
    # Compared before the conversion: what does not fit would be wrapped around. NaN fails every comparison.
    if not bool(np.all((whole >= limits.min) & (whole <= limits.max) & (np.abs(values - whole) <= NOT_WHOLE))):
        raise InputError(f"{labels.name} has voxels that are not whole numbers.", "Give a label map.")
    return labels.with_array(whole.astype(np.int32))


def check_label_grid(labels: Image | None, image: Image) -> None:
    """Make sure that a label map, if there is one, lies on the grid of its image.

    Raises
    ------
    InputError
        If it lies on another.
    """
    if labels is not None and not image.geometry.is_close(labels.geometry):
        raise InputError(
            f"The labels {labels.name} do not lie on the grid of {image.name}.",
            "Resample the labels onto the image's grid (nearest neighbour).",
        )


def check_labels(labels: Image, image: Image) -> Image:
    """Return a label map with whole numbers as voxels, if it lies on the grid of its image.

    Raises
    ------
    InputError
        If it lies on another grid, or a voxel is not a whole number.
    """
    check_label_grid(labels, image)
    return label_map(labels)


def lost_labels(before: Image, after: Image) -> tuple[int, ...]:
    """Return the nonzero labels of a map that have no voxel left in another, ascending.

    They are thinner than the grid's voxels, or lie outside it.
    """
    labels = np.setdiff1d(np.unique(before.array), np.unique(after.array))
    return tuple(int(label) for label in labels if label != 0)


def lost_labels_message(before: Image, after: Image) -> tuple[str, ...]:
    """Return a warning about the labels that a resampled map has lost; nothing if it has all."""
    lost = lost_labels(before, after)
    if not lost:
        return ()
    numbers = ", ".join(str(label) for label in lost[:MOST_SHOWN]) + (" and more" if len(lost) > MOST_SHOWN else "")
    one = len(lost) == 1
    return (
        f"{'Label' if one else 'Labels'} {numbers} of {before.name} {'has' if one else 'have'} no voxel left: thinner "
        "than the voxels of the grid, or outside it.",
    )
