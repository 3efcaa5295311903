"""The constant background of scans that were masked, skull-stripped or padded."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.image import Image, execute
from DeepRegLib.monitoring import Poll, never_cancel

LEAST_BLANK = 0.15


def background_is_blank(image: Image, *, poll: Poll = never_cancel) -> bool:
    """Tell whether more than 15 % of the voxels are a constant background, as `blank_region` finds it."""
    if _share_of_border_value(image) <= LEAST_BLANK:
        return False
    return bool(blank_region(image, poll=poll).array.mean() > LEAST_BLANK)


def blank_region(image: Image, *, poll: Poll = never_cancel) -> Image:
    """Return the region that reaches the border of the volume and holds exactly one value (bool).

    The value is the commonest one on the volume's faces: 0 around a stripped brain, -2000 HU outside the
    reconstruction circle of a CT. Only places at least three voxels thick count, so air that happens to be rounded
    to 0 with noise sprinkled over it is not blank. `poll` is called now and then and may raise to stop.
    """
    constant = image.array == _border_value(image)
    eroded = _eroded(constant)
    poll()
    core = _touching_border(eroded, poll)
    poll()
    return image.with_array(_dilated(core) & constant)


def _border_value(image: Image) -> np.generic:
    values, counts = np.unique(_faces(image.array), return_counts=True)
    return values[counts.argmax()]


def _share_of_border_value(image: Image) -> float:
    return float(np.mean(image.array == _border_value(image)))


def _faces(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.concatenate([array.take(end, axis).ravel() for axis in range(3) for end in (0, -1)])


def _touching_border(region: NDArray[np.bool_], poll: Poll) -> NDArray[np.bool_]:
    if not region.any():
        return region
    picture = sitk.GetImageFromArray(region.astype(np.uint8))
    labels = sitk.GetArrayFromImage(execute(sitk.ConnectedComponentImageFilter(), poll, picture))
    poll()
    touching = np.zeros(int(labels.max()) + 1, np.bool_)
    touching[np.unique(_faces(labels))] = True
    touching[0] = False
    return touching[labels]


def _eroded(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # What lies outside the volume counts as set, so that the faces are not worn away.
    return _over_neighbours(region, np.logical_and, outside=True)


def _dilated(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _over_neighbours(region, np.logical_or, outside=False)


def _over_neighbours(region: NDArray[np.bool_], combine: np.ufunc, *, outside: bool) -> NDArray[np.bool_]:
    """Combine each voxel with its 26 neighbours, one axis after another."""
    for axis in range(3):
        widths = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        padded = np.moveaxis(np.pad(region, widths, constant_values=outside), axis, 0)
        region = np.moveaxis(combine(combine(padded[:-2], padded[1:-1]), padded[2:]), 0, axis)
    return region
