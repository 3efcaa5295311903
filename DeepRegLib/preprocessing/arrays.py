"""Between `Image` and the float pictures the SimpleITK filters take."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, to_sitk


def float_array(image: Image) -> NDArray[np.float32]:
    """Return the voxels as float32, shape ``(k, j, i)``; a copy only where the type differs."""
    with np.errstate(over="ignore"):
        return np.asarray(image.array, dtype=np.float32)


def float_picture(image: Image) -> sitk.Image:
    """Return a float32 SimpleITK image."""
    return to_sitk(image.with_array(float_array(image)))


def with_picture(image: Image, picture: sitk.Image) -> Image:
    """Return `image` with the voxels of a SimpleITK image of the same grid, as float32."""
    return image.with_array(sitk.GetArrayFromImage(picture).astype(np.float32, copy=False))


def values_inside(image: Image, mask: Image | None) -> NDArray[np.float32]:
    """Return the values of the voxels where `mask` is set, or of all voxels, as a flat float32 array.

    Raises
    ------
    InputError
        If the mask lies on another grid or is empty.
    """
    if mask is None:
        return float_array(image).ravel()
    check_same_grid(image, mask)
    inside = float_array(image)[mask.array.astype(np.bool_)]
    if inside.size == 0:
        raise InputError(f"The mask for {image.name} is empty.", "Draw the mask over the anatomy, or leave it out.")
    return inside


def check_same_grid(image: Image, mask: Image) -> None:
    """Require a mask on the image's own grid.

    Raises
    ------
    InputError
        If the grids differ.
    """
    if not image.geometry.is_close(mask.geometry):
        raise InputError(
            f"The mask {mask.name} does not lie on the grid of {image.name}.",
            "Resample the mask onto the image's grid.",
        )


def require_one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    """Require a name to be one of `allowed`.

    Raises
    ------
    InputError
        If it is not; the message lists the names.
    """
    if value not in allowed:
        raise InputError(f"There is no {what} {value!r}.", f"Choose one of {', '.join(allowed)}.")
