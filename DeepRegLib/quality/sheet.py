"""The items of a quality sheet, measured and graded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation import (
    SegmentMeasures,
    folds_and_statistics,
    inverse_consistency,
    measure_segments,
    ncc,
    normalised_mutual_information,
    target_registration_error,
)
from DeepRegLib.geometry import Geometry
from DeepRegLib.grading import (
    DICE_LOOK,
    FAIL,
    INFORMATION,
    LANDMARK_ERROR,
    LOOK,
    OVERLAP,
    PASS,
    Item,
    distance_item,
    least_item,
    longest_edge,
)
from DeepRegLib.image import Image
from DeepRegLib.preprocessing import foreground_mask
from DeepRegLib.quality.limits import Limits
from DeepRegLib.transforms import Transform, apply_to_image, apply_to_labels, field_of_view, jacobian_determinant

OUTSIDE_PASS, OUTSIDE_LOOK = 0.01, 0.05  # share of a structure's voxels outside the expected range
LOOP_POINTS = 20_000


@dataclass(frozen=True, eq=False)
class Measured:
    """What a sheet is made of.

    Parameters
    ----------
    fixed, moving
        The scans.
    transform, inverse
        Fixed points to moving points, and back; without an inverse its consistency is left out.
    landmarks
        Fixed and moving points ``(n, 3)``, LPS mm, that the registration was not given; or None.
    fixed_labels, moving_labels
        Label maps on the scans' grids, or None.
    names
        Of the labels.
    further
        Two transforms that close a loop of three scans: moving to third, third to fixed points; or none.
    """

    fixed: Image
    moving: Image
    transform: Transform
    inverse: Transform | None = None
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    fixed_labels: Image | None = None
    moving_labels: Image | None = None
    names: Mapping[int, str] | None = None
    further: tuple[Transform, ...] = ()


def distance_limit(limits: Limits, fixed: Geometry, moving: Geometry) -> float:
    """Return the limit of distances in mm: that which is set, or the longest edge of a voxel of both scans."""
    return limits.distance or longest_edge(fixed, moving)


def quality_items(measured: Measured, limits: Limits) -> tuple[Item, ...]:
    """Measure and grade every item that can be.

    A distance passes up to its limit and is to be looked at up to twice that. A Dice passes from its limit on and is to
    be looked at down to 0.1 below. Of a structure's voxels 1 % may lie outside the expected range of the Jacobian, and
    up to 5 % are to be looked at; a determinant of 0 or less fails.

    Raises
    ------
    InputError
        If label maps do not lie on their scans, or landmarks do not fit each other.
    """
    limit = distance_limit(limits, measured.fixed.geometry, measured.moving.geometry)
    body = foreground_mask(measured.fixed)
    items = [
        *_landmark_items(measured, limit),
        *_structure_items(measured, limits, limit),
        *_whole_items(measured, body, limit),
        *_loop_items(measured, body, limit),
        *_intensity_items(measured, body),
    ]
    return tuple(items)


def _landmark_items(measured: Measured, limit: float) -> list[Item]:
    if measured.landmarks is None:
        return []
    errors = target_registration_error(measured.transform, *measured.landmarks)
    note = f"{len(errors)} landmarks"
    return [
        distance_item(LANDMARK_ERROR, "", float(errors.mean()), limit, note),
        distance_item("target registration error, largest", "", float(errors.max()), limit, note),
    ]


def _structure_items(measured: Measured, limits: Limits, limit: float) -> list[Item]:
    if measured.fixed_labels is None:
        return []
    fixed, names = measured.fixed_labels, dict(measured.names or {})
    determinant = jacobian_determinant(measured.transform, fixed.geometry).array
    found: dict[int, SegmentMeasures] = {}
    before: dict[int, float] = {}
    if measured.moving_labels is not None:
        carried = apply_to_labels(measured.transform, measured.moving_labels, fixed.geometry)
        found = {row.label: row for row in measure_segments(fixed, carried, names).rows}
        voxel = measured.moving_labels.geometry.voxel_volume / 1000
        labels, counts = np.unique(measured.moving_labels.array, return_counts=True)
        before = {int(label): count * voxel for label, count in zip(labels, counts.tolist(), strict=True)}
    items = []
    for label in sorted({int(label) for label in np.unique(fixed.array)} | set(found) - {0}):
        if label == 0:
            continue
        name = names.get(label, f"Label {label}")
        wanted = limits.of(name)
        if label in found:
            row = found[label]
            items.append(least_item(OVERLAP, name, row.dice, wanted.dice, DICE_LOOK))
            items.append(distance_item("mean distance to agreement", name, row.mean_distance, limit))
            change = 100 * (row.volume / before[label] - 1) if before.get(label) else math.nan
            items.append(_in_range("volume change by the transform", name, change, wanted.volume_change, "%"))
        inside = determinant[fixed.array == label].astype(np.float64)
        if inside.size:
            items += _jacobian_items(name, inside, wanted.jacobian)
    return items


def _jacobian_items(name: str, values: NDArray[np.float64], expected: tuple[float, ...]) -> list[Item]:
    low, high = expected
    outside = float(np.mean((values < low) | (values > high)))
    grade = PASS if outside <= OUTSIDE_PASS else LOOK if outside <= OUTSIDE_LOOK else FAIL
    lowest = float(values.min())
    spread = f"above {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
    return [
        Item("Jacobian, minimum", name, lowest, "", "above 0", PASS if lowest > 0 else FAIL),
        Item("Jacobian, maximum", name, float(values.max()), "", "", INFORMATION),
        Item("Jacobian outside the expected range", name, 100 * outside, "%", f"1 % outside {spread}", grade),
    ]


def _whole_items(measured: Measured, body: Image, limit: float) -> list[Item]:
    folds, statistics = _folds(measured, body)
    items = [
        Item("folded voxels", "", float(folds), "", "0", PASS if folds == 0 else FAIL),
        Item("Jacobian, minimum", "", statistics[0], "", "above 0", PASS if statistics[0] > 0 else FAIL),
        Item("Jacobian, maximum", "", statistics[1], "", "", INFORMATION),
    ]
    if measured.inverse is not None:
        there = inverse_consistency(measured.transform, measured.inverse, body)
        items.append(distance_item("inverse consistency, mean", "", there.mean, limit))
        items.append(distance_item("inverse consistency, 99 %", "", there.p99, limit))
    return items


def _folds(measured: Measured, body: Image) -> tuple[int, tuple[float, float]]:
    _, statistics = folds_and_statistics(measured.transform, measured.fixed.geometry, body)
    return statistics.folds, (statistics.minimum, statistics.maximum)


def _loop_items(measured: Measured, body: Image, limit: float) -> list[Item]:
    if not measured.further:
        return []
    inside = np.argwhere(body.array)[:, ::-1]
    step = max(1, len(inside) // LOOP_POINTS)
    start = measured.fixed.geometry.to_world(inside[::step])
    points = measured.transform.apply_to_points(start)
    for transform in measured.further:
        points = transform.apply_to_points(points)
    errors = np.linalg.norm(points - start, axis=-1)
    note = f"{len(errors)} points through {1 + len(measured.further)} scans"
    return [
        distance_item("transitivity, mean", "", float(errors.mean()), limit, note),
        distance_item("transitivity, 95 %", "", float(np.percentile(errors, 95)), limit, note),
    ]


def _intensity_items(measured: Measured, body: Image) -> list[Item]:
    grid = measured.fixed.geometry
    warped = apply_to_image(measured.transform, measured.moving, grid)
    view = field_of_view(measured.transform, measured.moving.geometry, grid)
    mask = body.with_array(body.array.astype(np.bool_) & view.array.astype(np.bool_))
    note = "says nothing by itself"
    return [
        Item("cross correlation", "", ncc(measured.fixed, warped, mask), "", "", INFORMATION, note),
        Item(
            "mutual information (1 to 2)",
            "",
            normalised_mutual_information(measured.fixed, warped, mask),
            "",
            "",
            INFORMATION,
            note,
        ),
    ]


def _in_range(name: str, structure: str, value: float, expected: tuple[float, ...], unit: str) -> Item:
    if not expected:
        return Item(name, structure, value, unit, "", INFORMATION)
    low, high = expected
    grade = PASS if low <= value <= high else FAIL
    return Item(name, structure, value, unit, f"{low:g} to {high:g} {unit}", grade)
