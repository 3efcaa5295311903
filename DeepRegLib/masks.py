"""What a mask must be: on its image's grid, and not empty."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, to_sitk


def check_mask_grid(mask: Image | None, image: Image) -> None:
    """Make sure that a mask, if there is one, lies on the grid of its image.

    Raises
    ------
    InputError
        If it lies on another.
    """
    if mask is not None and not image.geometry.is_close(mask.geometry):
        raise InputError(
            f"The mask {mask.name} does not lie on the grid of {image.name}.",
            "Resample the mask onto the image's grid.",
        )


def checked_mask(image: Image, mask: Image) -> NDArray[np.bool_]:
    """Return where the mask of an image is above zero.

    Raises
    ------
    InputError
        If it is nowhere, or the mask lies on another grid.
    """
    check_mask_grid(mask, image)
    inside = np.nan_to_num(mask.array.astype(np.float32)) > 0
    if not inside.any():
        raise InputError(f"The mask {mask.name} is empty.", "Draw the mask over the anatomy, or leave it out.")
    return inside


def grown(image: Image, inside: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """Return a mask on the grid of an image, ``(k, j, i)``, with all within a margin of it, in mm."""
    if margin == 0:
        return inside
    mask = to_sitk(image.with_array(inside.astype(np.uint8)))
    distance = sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayViewFromImage(distance) <= margin)
