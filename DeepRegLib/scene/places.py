"""A place shown in slice views: the slices jump to it, and a cross marks it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
from numpy.typing import NDArray

from DeepRegLib.scene.correspondence import FIXED, MOVING, Correspondence
from DeepRegLib.scene.nodes import nodes_of_class, nodes_with, remove_with_companions
from DeepRegLib.scene.world import array_from_matrix

# On the marks, of which there is one for each of the two scans; its value says which.
MARK_ATTRIBUTE = "DeepReg.Mark"
MARK_NAME = "Corresponding place"
MARK_COLOUR = (1.0, 0.85, 0.1)
MARK_SIZE_PERCENT = 5.0


def side_of(view: slicer.vtkMRMLSliceNode, pair: Correspondence) -> str | None:
    """Return which of two scans a slice view shows; None for neither.

    What counts is the background, and the foreground where there is no background. The registered volume lies where
    the fixed one does.
    """
    composite = _composites(view.GetScene()).get(view.GetLayoutName())
    shown = (composite.GetBackgroundVolumeID() or composite.GetForegroundVolumeID()) if composite is not None else None
    sides = {pair.warped: FIXED, pair.fixed: FIXED, pair.moving: MOVING}
    return sides.get(shown) if shown else None


def views_of(scene: slicer.vtkMRMLScene, pair: Correspondence, side: str) -> list[slicer.vtkMRMLSliceNode]:
    """Return the slice views in the present layout that show one of two scans."""
    views = nodes_of_class(scene, "vtkMRMLSliceNode")
    return [view for view in views if view.IsMappedInLayout() and side_of(view, pair) == side]


def jump_to(view: slicer.vtkMRMLSliceNode, place: NDArray[np.float64]) -> None:
    """Move a slice through a place, RAS mm; where the place lies outside of the view, move the view there too."""
    if _is_within(view, place):
        view.JumpSliceByOffsetting(*place)
    else:
        view.JumpSliceByCentering(*place)


def mark(
    scene: slicer.vtkMRMLScene, side: str, place: NDArray[np.float64], views: Sequence[slicer.vtkMRMLSliceNode]
) -> None:
    """Show a cross at a place, RAS mm, in these views alone; it is not saved with the scene."""
    node = _mark_of(scene, side) or _new_mark(scene, side)
    display = node.GetDisplayNode()
    wanted = [view.GetID() for view in views]
    if list(display.GetViewNodeIDs() or ()) != wanted:
        display.SetViewNodeIDs(wanted)
    node.SetNthControlPointPosition(0, *place)
    display.SetVisibility(True)


def hide_marks(scene: slicer.vtkMRMLScene, side: str | None = None) -> None:
    """Hide the cross on one of the scans, or both."""
    for node in nodes_with_mark(scene):
        if side in (None, node.GetAttribute(MARK_ATTRIBUTE)):
            node.GetDisplayNode().SetVisibility(False)


def remove_marks(scene: slicer.vtkMRMLScene) -> None:
    """Remove the crosses."""
    for node in nodes_with_mark(scene):
        remove_with_companions(scene, node)


def nodes_with_mark(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLMarkupsFiducialNode]:
    """Return the crosses of a scene."""
    return nodes_with(scene, MARK_ATTRIBUTE)


def _mark_of(scene: slicer.vtkMRMLScene, side: str) -> slicer.vtkMRMLMarkupsFiducialNode | None:
    return next((node for node in nodes_with_mark(scene) if node.GetAttribute(MARK_ATTRIBUTE) == side), None)


def _new_mark(scene: slicer.vtkMRMLScene, side: str) -> slicer.vtkMRMLMarkupsFiducialNode:
    node = slicer.vtkMRMLMarkupsFiducialNode()
    node.SetName(MARK_NAME)
    node.SetAttribute(MARK_ATTRIBUTE, side)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetLocked(True)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    node.AddControlPoint([0.0, 0.0, 0.0], "")
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetGlyphType(slicer.vtkMRMLMarkupsDisplayNode.Cross2D)
    display.SetUseGlyphScale(True)
    display.SetGlyphScale(MARK_SIZE_PERCENT)
    display.SetColor(*MARK_COLOUR)
    display.SetSelectedColor(*MARK_COLOUR)
    return node


def _is_within(view: slicer.vtkMRMLSliceNode, place: NDArray[np.float64]) -> bool:
    """Return whether the view's rectangle holds a place, were its slice to go through it."""
    to_pixels = np.linalg.inv(array_from_matrix(view.GetXYToRAS()))
    x, y = (to_pixels @ [*place, 1.0])[:2]
    width, height, _slices = view.GetDimensions()
    return bool(0 <= x <= width and 0 <= y <= height)


def _composites(scene: slicer.vtkMRMLScene) -> dict[str, slicer.vtkMRMLSliceCompositeNode]:
    return {node.GetLayoutName(): node for node in nodes_of_class(scene, "vtkMRMLSliceCompositeNode")}
