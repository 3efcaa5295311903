"""What a label map must be: whole numbers, on its image's grid."""

from __future__ import annotations

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image


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
