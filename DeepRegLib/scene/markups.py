"""Markups as points, and as pairs of landmarks."""

from __future__ import annotations

import logging

import numpy as np
import slicer
from numpy.typing import NDArray

from DeepRegLib.correction import Correction
from DeepRegLib.errors import InputError
from DeepRegLib.landmarks import PointList, paired
from DeepRegLib.scene.world import flipped_points

logger = logging.getLogger(__name__)

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
    placed = _all_points(node).placed_only()
    return list(placed.labels), placed.points


def landmark_pairs(
    fixed_node: slicer.vtkMRMLMarkupsNode | None, moving_node: slicer.vtkMRMLMarkupsNode | None
) -> tuple[Points, Points]:
    """Return corresponding points of two lists, as `DeepRegLib.landmarks.paired` pairs them.

    Returns
    -------
    tuple
        Fixed and moving points, each ``(n, 3)`` float64, LPS mm.

    Raises
    ------
    InputError
        If a list is missing, no list or empty, or the points cannot be paired.
    """
    lists = [_all_points(node) for node in (fixed_node, moving_node)]
    for points in lists:
        if not points.placed.any():
            raise InputError(f"The landmark list {points.name} has no placed points.", "Place points in it.")
    pairs = paired(*lists)
    for remark in pairs.remarks:
        logger.warning("%s", remark)
    return pairs.fixed, pairs.moving


def _all_points(node: slicer.vtkMRMLMarkupsNode | None) -> PointList:
    """Return the control points of a list, those that were not placed among them."""
    markups = _require(node)
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    positions = np.full((markups.GetNumberOfControlPoints(), 3), np.nan)
    for number in range(len(positions)):
        if markups.GetNthControlPointPositionStatus(number) == defined:
            position = [0.0, 0.0, 0.0]
            markups.GetNthControlPointPositionWorld(number, position)
            positions[number] = position
    labels = tuple(markups.GetNthControlPointLabel(n) for n in range(len(positions)))
    return PointList(flipped_points(positions), labels, markups.GetName())


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
