"""Volumes resampled onto a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image.conversion import to_sitk
from DeepRegLib.image.volume import Image
from DeepRegLib.monitoring import Poll, never_cancel


def resample(
    image: Image,
    geometry: Geometry,
    *,
    interpolation: str = "linear",
    background: float = 0.0,
    transform: sitk.Transform | None = None,
    poll: Poll = never_cancel,
) -> Image:
    """Resample an image onto a grid.

    Parameters
    ----------
    image
        The image to sample.
    geometry
        The grid of the result.
    interpolation
        ``"linear"`` or ``"nearest"``.
    background
        Value outside the image's voxel box.
    transform
        Takes points of `geometry` to points of the image (LPS, mm); None for the identity.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        On `geometry`, dtype of `image`; whole numbers are rounded to the nearest. (ITK itself cuts them off towards
        zero, which takes half a unit from a scan on the average, and the rim from a mask.)

    Examples
    --------
    >>> scan = Image(np.array([[[0, 1, 5, 9]]], dtype=np.int16), Geometry((4, 1, 1)))
    >>> resample(scan, Geometry((2, 1, 1), origin=(1.5, 0.0, 0.0))).array.tolist()
    [[[3, 7]]]
    """
    interpolator = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}[interpolation]
    picture = to_sitk(image)
    if interpolation == "linear" and image.array.dtype.kind != "f":
        picture = sitk.Cast(picture, interpolation_type(image.array.dtype))
    resampled = resample_sitk(picture, geometry, transform, interpolator, background, poll)
    return Image(rounded(sitk.GetArrayFromImage(resampled), image.array.dtype), geometry, image.name)


def interpolation_type(dtype: np.dtype[Any]) -> int:
    """Return SimpleITK's type of floating-point numbers that holds whole numbers of a type exactly.

    Examples
    --------
    >>> interpolation_type(np.dtype(np.int16)) == sitk.sitkFloat32
    True
    """
    return sitk.sitkFloat32 if dtype.itemsize <= 2 else sitk.sitkFloat64


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return interpolated values in an image's own type: the nearest whole number, where it holds whole numbers.

    `values` may be overwritten.

    Examples
    --------
    >>> rounded(np.array([0.4, 0.6, 300.0]), np.dtype(np.uint8)).tolist()
    [0, 1, 255]
    """
    if dtype.kind == "f" or values.dtype.kind != "f":
        return values.astype(dtype, copy=False)
    np.rint(values, out=values)
    if dtype.kind == "b":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    # The largest 64-bit number is none of floating point; the next one above it would wrap around.
    top = limits.max if dtype.itemsize < 8 else np.nextafter(values.dtype.type(2.0 ** (63 + (dtype.kind == "u"))), 0)
    return np.clip(values, limits.min, top, out=values).astype(dtype)


def resample_sitk(
    picture: sitk.Image,
    geometry: Geometry,
    transform: sitk.Transform | None,
    interpolator: int = sitk.sitkLinear,
    background: float = 0.0,
    poll: Poll = never_cancel,
) -> sitk.Image:
    """Resample a SimpleITK image as `resample` does, keeping its voxel type.

    Examples
    --------
    >>> picture = sitk.GetImageFromArray(np.array([[[1.0, 2.0, 3.0, 4.0]]]))
    >>> shift = sitk.TranslationTransform(3, (1.0, 0.0, 0.0))
    >>> sitk.GetArrayFromImage(resample_sitk(picture, Geometry((4, 1, 1)), shift)).tolist()
    [[[2.0, 3.0, 4.0, 0.0]]]
    """
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(geometry.size)
    resampler.SetOutputOrigin(geometry.origin)
    resampler.SetOutputSpacing(geometry.spacing)
    resampler.SetOutputDirection(geometry.direction)
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(float(background))
    if transform is not None:
        resampler.SetTransform(transform)
    return execute(resampler, poll, picture)


def execute(task: Any, poll: Poll, *inputs: Any) -> Any:
    """Run a SimpleITK filter and return what it makes; `poll` is called at each of its reports, and may raise to stop.

    Most filters report their progress some fifty times.

    Examples
    --------
    >>> execute(sitk.AbsImageFilter(), never_cancel, sitk.GetImageFromArray(np.array([[[-1.0]]])))[0, 0, 0]
    1.0
    """
    raised: list[BaseException] = []

    def on_progress() -> None:
        if raised:  # a filter reports a few times more on its way out
            return
        try:
            poll()
        except BaseException as error:  # noqa: BLE001  # it must not go through the C++ in between
            raised.append(error)
            task.Abort()

    task.AddCommand(sitk.sitkProgressEvent, on_progress)
    try:
        result = task.Execute(*inputs)
    except RuntimeError:
        if raised:
            raise raised[0] from None
        raise
    finally:
        task.RemoveAllCommands()
    if raised:  # asked to stop when it was done
        raise raised[0]
    poll()
    return result
