"""Markups as points, and as pairs of landmarks."""

from __future__ import annotations

import numpy as np
import slicer
from numpy.typing import NDArray

from DeepRegLib.correction import Correction
from DeepRegLib.errors import InputError
from DeepRegLib.scene.world import flipped_points

Points = NDArray[np.float64]


def points_from_markups(node: slicer.vtkMRMLMarkupsNode | None) -> tuple[list[str], Points]:
    """Return labels and world positions of the control points that were placed.

    Returns
    -------
    tuple
        Labels, and points ``(n, 3)`` float64, LPS mm, all parent transforms applied, also those that bend space.

    Raises
    ------
    InputError
        If there is no node, it was removed from its scene, or it is no list of points.
    """
    markups = _require(node)
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    numbers = [
        n for n in range(markups.GetNumberOfControlPoints()) if markups.GetNthControlPointPositionStatus(n) == defined
    ]
    positions = np.empty((len(numbers), 3))
    for row, number in enumerate(numbers):
        position = [0.0, 0.0, 0.0]
        markups.GetNthControlPointPositionWorld(number, position)
        positions[row] = position
    return [markups.GetNthControlPointLabel(n) for n in numbers], flipped_points(positions)


def landmark_pairs(
    fixed_node: slicer.vtkMRMLMarkupsNode | None, moving_node: slicer.vtkMRMLMarkupsNode | None
) -> tuple[Points, Points]:
    """Return corresponding points of two lists.

    Points are paired by label where every label of the shorter list occurs once in it and once in the other; otherwise
    in their order, and then there must be as many in both.

    Returns
    -------
    tuple
        Fixed and moving points, each ``(n, 3)`` float64, LPS mm.

    Raises
    ------
    InputError
        If a list is missing, no list or empty, or the points cannot be paired.
    """
    fixed_labels, fixed = points_from_markups(fixed_node)
    moving_labels, moving = points_from_markups(moving_node)
    names = [_require(node).GetName() for node in (fixed_node, moving_node)]
    for name, points in zip(names, (fixed, moving), strict=True):
        if not len(points):
            raise InputError(f"The landmark list {name} has no placed points.", "Place points in it.")
    if len(fixed) <= len(moving):
        rows = _rows_of(fixed_labels, moving_labels)
        if rows is not None:
            return fixed, moving[rows]
    else:
        rows = _rows_of(moving_labels, fixed_labels)
        if rows is not None:
            return fixed[rows], moving
    if len(fixed) != len(moving):
        raise InputError(
            f"{names[0]} has {len(fixed)} points and {names[1]} {len(moving)}, "
            "and their labels do not tell which belong together.",
            "Give corresponding points the same label, or both lists the same number of points in the same order.",
        )
    return fixed, moving


def correction_from_markups(node: slicer.vtkMRMLMarkupsNode | None) -> Correction:
    """Return what a line, or pairs of points, drag: from the first point to the second, the third to the fourth.

    Raises
    ------
    InputError
        If there is no node, points are missing, or a place is not dragged anywhere.
    """
    markups = _require(node)
    labels, points = points_from_markups(markups)
    if len(labels) < 2 or len(labels) % 2:
        raise InputError(
            f"{markups.GetName()} has {len(labels)} placed points, which are no pairs.",
            "Place each pair from where the anatomy appears to where it should be.",
        )
    return Correction(points[0::2], points[1::2])


def _require(node: slicer.vtkMRMLMarkupsNode | None) -> slicer.vtkMRMLMarkupsNode:
    if node is None:
        raise InputError("No landmark list is chosen.", "Choose a list of points.")
    if node.GetScene() is None:
        raise InputError(f"The landmark list {node.GetName()} is no longer in the scene.", "Choose another list.")
    if not node.IsA("vtkMRMLMarkupsNode"):
        raise InputError(f"{node.GetName()} is not a list of points.", "Choose a markups list.")
    return node


def _rows_of(labels: list[str], others: list[str]) -> list[int] | None:
    """Return where each label stands in another list, or None if one is missing or occurs twice in a list."""
    unambiguous = len(set(labels)) == len(labels) and all(others.count(label) == 1 for label in labels)
    return [others.index(label) for label in labels] if unambiguous else None
