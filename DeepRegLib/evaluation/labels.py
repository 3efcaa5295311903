"""How well two label maps agree: Dice overlap and surface distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation.grids import require_one_grid
from DeepRegLib.evaluation.surfaces import around, bounding_boxes, surface_gaps
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
    first, second = label_array(fixed_labels), label_array(other)
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
    first, second = label_array(fixed_labels), label_array(other)
    boxes = bounding_boxes(first), bounding_boxes(second)
    result = {}
    for label in sorted(boxes[0].keys() | boxes[1].keys()):
        if label not in boxes[0] or label not in boxes[1]:
            result[label] = SurfaceDistance(math.nan, math.nan)
            continue
        crop = around(boxes[0][label], boxes[1][label])
        result[label] = _surface_distance(first[crop] == label, second[crop] == label, fixed_labels.geometry.spacing)
    return result


def label_array(labels: Image) -> NDArray[np.integer]:
    """Return the voxels of a label map as whole numbers.

    Raises
    ------
    InputError
        If a voxel is not a whole number.
    """
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


def _surface_distance(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> SurfaceDistance:
    there, back = surface_gaps(first, second, spacing)
    return SurfaceDistance(
        mean=float(np.concatenate([there, back]).mean()),
        hausdorff95=max(float(np.percentile(there, 95)), float(np.percentile(back, 95))),
    )
