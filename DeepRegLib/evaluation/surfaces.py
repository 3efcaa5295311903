"""Surfaces of regions of voxels, and how far two of them are apart."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

Box: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


def bounding_boxes(labels: NDArray[np.integer]) -> dict[int, Box]:
    """Return the first and one past the last (k, j, i) of every nonzero label."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOff()
    shapes.ComputeOrientedBoundingBoxOff()
    shapes.SetBackgroundValue(0)
    shapes.Execute(sitk.GetImageFromArray(labels))
    boxes = {}
    for label in shapes.GetLabels():
        box = np.array(shapes.GetBoundingBox(label))
        boxes[int(label)] = (box[2::-1], (box[:3] + box[3:])[::-1])
    return boxes


def around(first: Box, second: Box) -> tuple[slice, ...]:
    """Return the slices of the box around two boxes."""
    low, high = np.minimum(first[0], second[0]), np.maximum(first[1], second[1])
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def surface_gaps(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the distance of every surface voxel of one region to the other's surface, both ways.

    A surface is the set of a region's voxels with a face neighbour outside it; distances run between voxel centres.

    Parameters
    ----------
    first, second
        Regions of one shape ``(k, j, i)``, neither of them empty.
    spacing
        Of the voxels along x, y, z, mm.

    Returns
    -------
    tuple of ndarray
        From the first's surface to the second's, and back; mm, one number a surface voxel.

    References
    ----------
    Maurer et al., "A linear time algorithm for computing exact Euclidean distance transforms", PAMI 2003.
    """
    surfaces = _surface(first), _surface(second)
    there = _distance_to(surfaces[1], spacing)[surfaces[0]]
    back = _distance_to(surfaces[0], spacing)[surfaces[1]]
    return there, back


def _surface(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(region, 1)
    inner = region.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + region.shape[axis])
            inner &= padded[tuple(window)]
    return region & ~inner


def _distance_to(surface: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    picture = sitk.GetImageFromArray(surface.astype(np.uint8))
    picture.SetSpacing(spacing)
    distance = sitk.SignedMaurerDistanceMap(picture, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0)
