"""Transforms applied to images: one resampling, through the whole chain. Label maps: `label_maps`."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, interpolation_type, resample, resample_sitk, rounded, to_sitk
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.composite import Transform
from DeepRegLib.transforms.itk import transform_to_sitk
from DeepRegLib.transforms.planes import PLANES_VOXELS

AIR = (-1100.0, -800.0)  # Hounsfield units
LEAST_AIR = 0.02  # of all voxels


def background_value(image: Image) -> float:
    """Return the value that stands for "nothing was scanned here".

    It is the image's smallest finite value, air in a CT; but 0 in a map of floating-point numbers on both sides of 0,
    such as a phase, a z-score or a susceptibility, unless it holds Hounsfield units.

    Examples
    --------
    >>> background_value(Image(np.array([[[-1000, 40]]], dtype=np.int16), Geometry((2, 1, 1))))
    -1000.0
    >>> background_value(Image(np.array([[[-1.5, 2.5]]]), Geometry((2, 1, 1))))
    0.0
    """
    if image.array.dtype.kind != "f":
        return float(image.array.min())
    finite: NDArray[np.floating] = image.array[np.isfinite(image.array)]
    if not finite.size:
        return 0.0
    lowest, highest = float(finite.min()), float(finite.max())
    return 0.0 if lowest < 0 < highest and not _has_air(finite, lowest) else lowest


def _has_air(values: NDArray[np.floating], lowest: float) -> bool:
    """Tell whether values are Hounsfield units: many are those of air, or of what lies outside a scanner's circle."""
    if lowest > AIR[1]:
        return False
    air = ((values >= AIR[0]) & (values <= AIR[1])) | (values == lowest)
    return float(np.mean(air)) >= LEAST_AIR


def apply_to_image(
    transform: Transform,
    moving: Image,
    geometry: Geometry,
    *,
    background: float | None = None,
    poll: Poll = never_cancel,
) -> Image:
    """Resample a moving image onto a fixed grid, trilinearly, keeping its intensities and dtype.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    moving
        The original moving image.
    geometry
        The fixed grid.
    background
        Value outside the moving field of view; by default `background_value`.
    poll
        Called now and then; may raise to stop.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 1.0  # what lies one voxel further along x in the moving image comes back by one
    >>> moving = Image(np.array([[[1, 2, 3, 4]]], dtype=np.int16), grid)
    >>> apply_to_image(LinearTransform(matrix), moving, grid, background=0).array.tolist()
    [[[2, 3, 4, 0]]]
    """
    value = background_value(moving) if background is None else background
    return resample(moving, geometry, background=value, transform=transform_to_sitk(transform), poll=poll)


def field_of_view(transform: Transform, moving: Geometry, geometry: Geometry, *, poll: Poll = never_cancel) -> Image:
    """Return a bool image on `geometry`, true where the transform leads into the moving voxel box.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 1.0
    >>> field_of_view(LinearTransform(matrix), grid, grid).array.tolist()
    [[[True, True, True, False]]]
    """
    ones = Image(np.ones(moving.shape, dtype=np.bool_), moving, "field of view")
    return resample(ones, geometry, interpolation="nearest", transform=transform_to_sitk(transform), poll=poll)


def image_and_view(
    transform: Transform,
    moving: Image,
    geometry: Geometry,
    *,
    background: float | None = None,
    poll: Poll = never_cancel,
) -> tuple[Image, Image]:
    """Return what `apply_to_image` and `field_of_view` return, in half the time: each voxel is followed once.

    The voxels of the moving image must be finite. The other parameters are those of `apply_to_image`.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 1.0
    >>> moving = Image(np.array([[[1, 2, 3, 4]]], dtype=np.int16), grid)
    >>> warped, view = image_and_view(LinearTransform(matrix), moving, grid)
    >>> warped.array.tolist(), view.array.tolist()
    ([[[2, 3, 4, 1]]], [[[True, True, True, False]]])
    """
    picture, dtype = to_sitk(moving), moving.array.dtype
    if dtype.kind != "f":  # NaN is the value of voxels that nothing was found for
        picture = sitk.Cast(picture, interpolation_type(dtype))
    outside, chain = background_value(moving) if background is None else background, transform_to_sitk(transform)
    warped, seen = np.empty(geometry.shape, dtype=dtype), np.empty(geometry.shape, dtype=np.bool_)
    thickness = max(1, PLANES_VOXELS // (geometry.shape[1] * geometry.shape[2]))
    for start in range(0, geometry.shape[0], thickness):
        slab = slice(start, start + thickness)
        found = resample_sitk(picture, geometry.planes(slab.start, slab.stop), chain, background=np.nan, poll=poll)
        values = sitk.GetArrayViewFromImage(found)
        np.logical_not(np.isnan(values), out=seen[slab])
        warped[slab] = rounded(np.where(seen[slab], values, values.dtype.type(outside)), dtype)
    return Image(warped, geometry, moving.name), Image(seen, geometry, "field of view")
