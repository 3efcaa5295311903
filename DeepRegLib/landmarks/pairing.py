"""Which points of two lists belong together, and whether points lie in a scan."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.landmarks.points import PointList
from DeepRegLib.naming import shown

MOST_SHOWN = 5
TRAILING_NUMBER = re.compile(r"\d+$")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Points that belong together, row by row.

    Parameters
    ----------
    fixed, moving
        Shape ``(n, 3)`` each, LPS mm.
    remarks
        What the user should know of the points that are missing, one sentence each.

    Examples
    --------
    >>> Pairs(np.zeros((2, 3)), np.ones((2, 3))).remarks
    ()
    """

    fixed: NDArray[np.float64]
    moving: NDArray[np.float64]
    remarks: tuple[str, ...] = ()


def paired(fixed: PointList, moving: PointList) -> Pairs:
    """Pair the points of two lists: by label where both have labels that agree, else row by row.

    A point that was not placed in one list leaves out its partner in the other; it never shifts the pairs behind it.

    Raises
    ------
    InputError
        If no pair is left, only a few labels agree, lists without common labels differ in length, or labels that do not
        tell all pairs contradict the rows.

    Examples
    --------
    >>> fixed = PointList(np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), ("tip", "base"))
    >>> moving = PointList(np.array([[20.0, 0.0, 0.0], [10.0, 0.0, 0.0]]), ("base", "tip"))
    >>> paired(fixed, moving).moving[:, 0].tolist()  # in the order of the fixed list
    [10.0, 20.0]
    """
    rows = _rows_by_label(fixed, moving)
    by_label = rows is not None
    if rows is None:
        if len(fixed.points) != len(moving.points):
            raise InputError(
                f"{fixed.name} has {len(fixed.points)} points and {moving.name} {len(moving.points)}, and their labels "
                "do not tell which belong together.",
                "Give corresponding points the same label, or both lists the same number of points in the same order.",
            )
        rows = [(n, n) for n in range(len(fixed.points))]
        _require_no_label_elsewhere(fixed, moving)
    both = [(a, b) for a, b in rows if fixed.placed[a] and moving.placed[b]]
    if not both:
        raise InputError(f"{fixed.name} and {moving.name} have no point placed in both.", "Place corresponding points.")
    first, second = (np.array(column, dtype=np.int64) for column in zip(*both, strict=True))
    remarks = _remarks(fixed, moving, set(first), set(second), by_label)
    if not by_label:
        remarks += _unlike_labels(fixed, moving)
    return Pairs(fixed.points[first], moving.points[second], remarks)


def _labels(points: PointList) -> list[str]:
    """Return labels as they are compared: case and spaces do not tell points apart, unless nothing else does."""
    plain = [" ".join(label.split()) for label in points.labels]
    folded = [label.casefold() for label in plain]
    return folded if len(set(folded)) == len(set(plain)) else plain


def _require_no_label_elsewhere(fixed: PointList, moving: PointList) -> None:
    """Make sure that rows are not paired against labels that some points have in both lists."""
    for row, (own, other) in enumerate(zip(_labels(fixed), _labels(moving), strict=True)):
        for label, there, name, elsewhere in (
            (own, other, fixed.name, _labels(moving)),
            (other, own, moving.name, _labels(fixed)),
        ):
            if label and label != there and label in elsewhere:
                raise InputError(
                    f"{shown(label)} is point {row + 1} of {name}, and another one in the other list.",
                    "Give each point a label of its own, or leave labels out.",
                )


def _unlike_labels(fixed: PointList, moving: PointList) -> tuple[str, ...]:
    """Return a warning where all points have labels that do not fit together; numbers behind names may fit."""
    labels = _labels(fixed), _labels(moving)
    if not all(all(each) for each in labels) or labels[0] == labels[1]:
        return ()
    numbers = [[TRAILING_NUMBER.findall(label) for label in each] for each in labels]
    if numbers[0] == numbers[1] and all(numbers[0]):
        return ()
    return (f"The labels of {fixed.name} and {moving.name} do not fit together: their points were paired in order.",)


def _rows_by_label(fixed: PointList, moving: PointList) -> list[tuple[int, int]] | None:
    """Return the rows that have one label; None if labels do not tell."""
    labels = [_labels(points) for points in (fixed, moving)]
    if any("" in each or len(set(each)) < len(each) for each in labels):
        return None
    places = {label: row for row, label in enumerate(labels[1])}
    rows = [(row, places[label]) for row, label in enumerate(labels[0]) if label in places]
    if not rows:
        return None
    if 2 * len(rows) < min(len(labels[0]), len(labels[1])):
        raise InputError(
            f"Only {len(rows)} labels of {fixed.name} ({len(labels[0])}) and {moving.name} ({len(labels[1])}) agree.",
            "Give corresponding points the same label, or leave labels out.",
        )
    return rows


def _remarks(fixed: PointList, moving: PointList, first: set[int], second: set[int], by_label: bool) -> tuple[str, ...]:
    remarks = []
    for points, used in ((fixed, first), (moving, second)):
        left = [row for row in range(len(points.points)) if row not in used and points.placed[row]]
        if left:
            names = [points.labels[row] if by_label else str(row + 1) for row in left[:MOST_SHOWN]]
            more = f" and {len(left) - MOST_SHOWN} more" if len(left) > MOST_SHOWN else ""
            remarks.append(
                f"Without a partner in the other list, and left out: {', '.join(names)}{more} of {points.name}."
            )
    return tuple(remarks)


def points_outside(points: ArrayLike, geometry: Geometry) -> NDArray[np.bool_]:
    """Return which points, shape ``(n, 3)`` in LPS mm, lie outside the voxel box of a scan.

    Examples
    --------
    >>> points_outside([[1.0, 1.0, 1.0], [9.0, 1.0, 1.0]], Geometry((4, 3, 2))).tolist()
    [False, True]
    """
    index = geometry.to_index(points)
    return np.asarray(np.any((index < -0.5) | (index > np.array(geometry.size) - 0.5), axis=-1))


def outside_message(points: ArrayLike, geometry: Geometry, name: str, scan: str) -> tuple[str, ...]:
    """Return a warning about points that do not lie in their scan; nothing if all do.

    Parameters
    ----------
    points
        Shape ``(n, 3)``, LPS mm.
    geometry
        The scan's grid.
    name, scan
        What to call the points and the scan.

    Examples
    --------
    >>> outside_message([[-1.0, -1.0, 1.0]], Geometry((4, 3, 2)), "fixed.csv", "head")
    ('1 of 1 points of fixed.csv lie outside the scan head; in RAS they would all lie in it.',)
    """
    outside = points_outside(points, geometry)
    count = int(outside.sum())
    if not count:
        return ()
    mirrored = points_outside(np.asarray(points, dtype=np.float64) * (-1.0, -1.0, 1.0), geometry)
    advice = "; in RAS they would all lie in it" if not mirrored.any() else ""
    return (f"{count} of {len(outside)} points of {name} lie outside the scan {scan}{advice}.",)
