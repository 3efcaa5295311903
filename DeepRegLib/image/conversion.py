"""Volumes as SimpleITK images."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image.volume import Image


def from_sitk(picture: sitk.Image, name: str = "image") -> Image:
    """Turn a SimpleITK image into an `Image`.

    Raises
    ------
    InputError
        If it is not a scalar 3-D volume (4-D with a last axis of one is accepted).

    Examples
    --------
    >>> from_sitk(sitk.Image([4, 3, 2], sitk.sitkInt16)).array.shape
    (2, 3, 4)
    """
    if picture.GetDimension() == 4 and picture.GetSize()[3] == 1:
        picture = picture[:, :, :, 0]
    if picture.GetDimension() == 4:
        raise InputError(
            f"{name} is 4-D, {picture.GetSize()[3]} volumes in one file.", "Extract the volume to be registered."
        )
    if picture.GetDimension() != 3 or 1 in picture.GetSize():
        size = " x ".join(str(n) for n in picture.GetSize())
        raise InputError(f"{name} is a 2-D image ({size}).", "DeepReg registers 3-D volumes; give a stack of slices.")
    if picture.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{name} has {picture.GetNumberOfComponentsPerPixel()} components a voxel (colour or vector image).",
            "Convert it to a scalar volume.",
        )
    if "complex" in picture.GetPixelIDTypeAsString():
        raise InputError(f"{name} has complex voxels.", "Convert it to magnitude.")
    return Image(sitk.GetArrayFromImage(picture), geometry_of(picture, name), name)


def to_sitk(image: Image) -> sitk.Image:
    """Turn an `Image` into a SimpleITK image with the same voxel type.

    Examples
    --------
    >>> to_sitk(Image(np.zeros((2, 3, 4), dtype=np.int16), Geometry((4, 3, 2)))).GetSize()
    (4, 3, 2)
    """
    dtype = image.array.dtype
    # ITK has no bool, no half and no long double, and its numbers are in the machine's byte order.
    known: dict[str, np.dtype[Any]] = {
        "b1": np.dtype("u1"),
        "f2": np.dtype("f4"),
        "f12": np.dtype("f8"),
        "f16": np.dtype("f8"),
    }
    array = image.array.astype(known.get(f"{dtype.kind}{dtype.itemsize}", dtype.newbyteorder("=")), copy=False)
    picture = sitk.GetImageFromArray(np.ascontiguousarray(array))
    set_geometry(picture, image.geometry)
    return picture


def geometry_of(picture: sitk.Image, name: str = "image") -> Geometry:
    """Return the grid of a 3-D SimpleITK image.

    Examples
    --------
    >>> geometry_of(sitk.Image([4, 3, 2], sitk.sitkInt16)).size
    (4, 3, 2)
    """
    try:
        return Geometry(picture.GetSize(), picture.GetSpacing(), picture.GetOrigin(), picture.GetDirection())
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.hint) from error


def set_geometry(picture: sitk.Image, geometry: Geometry) -> None:
    """Give a SimpleITK image the spacing, origin and direction of a grid of the same size.

    Examples
    --------
    >>> picture = sitk.Image([4, 3, 2], sitk.sitkInt16)
    >>> set_geometry(picture, Geometry((4, 3, 2), spacing=(1.0, 1.0, 5.0)))
    >>> picture.GetSpacing()
    (1.0, 1.0, 5.0)
    """
    picture.SetSpacing(geometry.spacing)
    picture.SetOrigin(geometry.origin)
    picture.SetDirection(geometry.direction)
