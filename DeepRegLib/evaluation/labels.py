"""How well two label maps agree: Dice overlap and surface distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation.grids import require_one_grid
from DeepRegLib.image import Image

LARGEST_HISTOGRAM = 1 << 24
LARGEST_LABEL = 1 << 53
NOT_WHOLE = 1e-3  # what a scale factor in single precision makes of a whole number


@dataclass(frozen=True)
class SurfaceDistance:
    """How far two surfaces of one label are apart.

    Parameters
    ----------
    mean
        Average symmetric surface distance in mm.
    hausdorff95
        The larger of both directions' 95th percentiles in mm.
    """

    mean: float
    hausdorff95: float


def dice(fixed_labels: Image, other: Image) -> dict[int, float]:
    """Return the Dice overlap of every nonzero label that is in either label map.

    Parameters
    ----------
    fixed_labels, other
        Label maps on one grid.

    Returns
    -------
    dict
        Label to 2 |A and B| / (|A| + |B|), in [0, 1], labels ascending.

    Raises
    ------
    InputError
        If the grids differ, or a voxel is not a whole number.

    References
    ----------
    Dice, Ecology 1945.
    """
    require_one_grid(fixed_labels, other)
    first, second = _label_array(fixed_labels), _label_array(other)
    in_first, in_second = _counts(first), _counts(second)
    in_both = _counts(first[first == second])
    labels = sorted((in_first.keys() | in_second.keys()) - {0})
    return {n: 2 * in_both.get(n, 0) / (in_first.get(n, 0) + in_second.get(n, 0)) for n in labels}


def mean_dice(scores: Mapping[int, float]) -> float:
    """Return the mean over labels of what `dice` returned; NaN if there was no label."""
    return math.fsum(scores.values()) / len(scores) if scores else math.nan


def surface_distances(fixed_labels: Image, other: Image) -> dict[int, SurfaceDistance]:
    """Return the symmetric surface distances of every nonzero label that is in either label map.

    A surface is the set of a label's voxels with a face neighbour outside it; distances run between voxel centres.

    Parameters
    ----------
    fixed_labels, other
        Label maps on one grid.

    Returns
    -------
    dict
        Label to distances in mm, labels ascending; NaN where the label is missing in one of the maps.

    Raises
    ------
    InputError
        If the grids differ, or a voxel is not a whole number.

    References
    ----------
    Maurer et al., "A linear time algorithm for computing exact Euclidean distance transforms", PAMI 2003.
    """
    require_one_grid(fixed_labels, other)
    first, second = _label_array(fixed_labels), _label_array(other)
    boxes = _bounding_boxes(first), _bounding_boxes(second)
    result = {}
    for label in sorted(boxes[0].keys() | boxes[1].keys()):
        if label not in boxes[0] or label not in boxes[1]:
            result[label] = SurfaceDistance(math.nan, math.nan)
            continue
        low = np.minimum(boxes[0][label][0], boxes[1][label][0])
        high = np.maximum(boxes[0][label][1], boxes[1][label][1])
        crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        result[label] = _surface_distance(first[crop] == label, second[crop] == label, fixed_labels.geometry.spacing)
    return result


def _label_array(labels: Image) -> NDArray[np.integer]:
    array = labels.array
    if array.dtype.kind == "f":
        whole = np.rint(array)
        # NaN fails every comparison.
        if not bool(np.all((np.abs(whole) < LARGEST_LABEL) & (np.abs(array - whole) <= NOT_WHOLE))):
            raise InputError(f"{labels.name} has voxels that are not whole numbers.", "Give a label map.")
        return whole.astype(np.int64)
    return array.astype(np.uint8 if array.dtype.kind == "b" else array.dtype, copy=False)


def _counts(values: NDArray[np.integer]) -> dict[int, int]:
    if values.size == 0:
        return {}
    low, high = int(values.min()), int(values.max())
    if high - low < LARGEST_HISTOGRAM:
        shifted = values if low == 0 else values.astype(np.int64) - low
        counts = np.bincount(shifted.ravel())
        found = np.flatnonzero(counts)
        return {int(n) + low: int(counts[n]) for n in found}
    labels, counts = np.unique(values, return_counts=True)
    return {int(n): int(c) for n, c in zip(labels, counts, strict=True)}


def _bounding_boxes(labels: NDArray[np.integer]) -> dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """First and one past the last (k, j, i) of every nonzero label."""
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


def _surface_distance(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> SurfaceDistance:
    surfaces = _surface(first), _surface(second)
    there = _distance_to(surfaces[1], spacing)[surfaces[0]]
    back = _distance_to(surfaces[0], spacing)[surfaces[1]]
    return SurfaceDistance(
        mean=float(np.concatenate([there, back]).mean()),
        hausdorff95=max(float(np.percentile(there, 95)), float(np.percentile(back, 95))),
    )


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
