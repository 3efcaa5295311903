"""What a slice view shows: remembered on its own node while something else is shown, and put back.

What is remembered lies on the view's node and is saved with it, because Slicer tells nobody before it saves a scene:
`put_back_all` gives the user's own views back after such a scene was read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import slicer
import vtk

from DeepRegLib.scene.nodes import nodes_of_class
from DeepRegLib.scene.side_by_side import is_own_view

COMPOSITE = "vtkMRMLSliceCompositeNode"
# On a view's composite node: how its layers were put together, as JSON, and what they were.
BEFORE_ATTRIBUTE = "DeepReg.Before"
BACKGROUND_ROLE = "DeepReg.Before.Background"
FOREGROUND_ROLE = "DeepReg.Before.Foreground"
# Under which roles a view holds its layers, and what they were.
FALLBACKS = (("backgroundVolume", BACKGROUND_ROLE), ("foregroundVolume", FOREGROUND_ROLE))
# A view shows a volume if that fills so much of the view, or so much of it lies in the view.
SHOWN_SHARE = 0.25


@dataclass(frozen=True)
class Layers:
    """What views show: ids of background and foreground (None for none), its opacity, and MRML's compositing."""

    background: str | None
    foreground: str | None
    opacity: float
    compositing: int


def composites(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """Return the nodes that say what the slice views show, but for those that show the scans side by side."""
    return [node for node in nodes_of_class(scene, COMPOSITE) if not is_own_view(node.GetLayoutName())]


def layers_of(view: slicer.vtkMRMLSliceCompositeNode) -> Layers:
    """Return what a view shows."""
    return Layers(
        view.GetBackgroundVolumeID(), view.GetForegroundVolumeID(), view.GetForegroundOpacity(), view.GetCompositing()
    )


def show_layers(views: Iterable[slicer.vtkMRMLSliceCompositeNode], layers: Layers) -> None:
    """Show something in views.

    Where it is not saved with the scene, such as a helper, what the view is remembered to have shown stands behind it:
    a scene that is saved meanwhile shows that, also where there is no DeepReg to put the views back.
    """
    for view in views:
        changed = view.StartModify()
        _drop_fallbacks(view)
        view.SetCompositing(layers.compositing)
        view.SetBackgroundVolumeID(layers.background)
        view.SetForegroundVolumeID(layers.foreground)
        view.SetForegroundOpacity(layers.opacity)
        for role, before in FALLBACKS:
            shown = view.GetNodeReference(role)
            if shown is not None and not shown.GetSaveWithScene():
                # MRML reads a list of ids, and leaves out those that are not in the file.
                view.SetNthNodeReferenceID(role, 1, view.GetNodeReferenceID(before))
        view.EndModify(changed)


def link(views: Iterable[slicer.vtkMRMLSliceCompositeNode], linked: bool) -> None:
    """Let views scroll, zoom and change together, or not."""
    for view in views:
        view.SetLinkedControl(linked)
        view.SetHotLinkedControl(linked)


def remember(views: Iterable[slicer.vtkMRMLSliceCompositeNode]) -> None:
    """Remember what views show, until they are put back; what is remembered already stays."""
    for view in views:
        if view.GetAttribute(BEFORE_ATTRIBUTE):
            continue
        before = {
            "opacity": view.GetForegroundOpacity(),
            "compositing": view.GetCompositing(),
            "linked": bool(view.GetLinkedControl()),
            "hot_linked": bool(view.GetHotLinkedControl()),
        }
        view.SetNodeReferenceID(BACKGROUND_ROLE, view.GetBackgroundVolumeID())
        view.SetNodeReferenceID(FOREGROUND_ROLE, view.GetForegroundVolumeID())
        view.SetAttribute(BEFORE_ATTRIBUTE, json.dumps(before))


def put_back(views: Iterable[slicer.vtkMRMLSliceCompositeNode], *, layers: bool = True) -> None:
    """Let views show what they showed when they were remembered, as far as it still is there.

    Parameters
    ----------
    views
        Those that were never remembered stay as they are.
    layers
        Put the volumes back too; without them only how they are put together and linked.
    """
    for view in views:
        before = view.GetAttribute(BEFORE_ATTRIBUTE)
        if before is None:
            continue
        background, foreground = view.GetNodeReference(BACKGROUND_ROLE), view.GetNodeReference(FOREGROUND_ROLE)
        changed = view.StartModify()
        _drop_fallbacks(view)
        view.RemoveAttribute(BEFORE_ATTRIBUTE)
        view.SetNodeReferenceID(BACKGROUND_ROLE, None)
        view.SetNodeReferenceID(FOREGROUND_ROLE, None)
        if layers:
            view.SetBackgroundVolumeID(None if background is None else background.GetID())
            view.SetForegroundVolumeID(None if foreground is None else foreground.GetID())
        _put_together(view, before)
        view.EndModify(changed)


def put_back_all(scene: slicer.vtkMRMLScene) -> None:
    """Put back every view of a scene that was saved while something else was shown."""
    put_back(composites(scene))


def fit_views(scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLVolumeNode) -> None:
    """Fit the slice views that do not show a volume to it; the others stay where the user is."""
    application = slicer.app.applicationLogic()
    for node in nodes_of_class(scene, "vtkMRMLSliceNode"):
        if is_own_view(node.GetLayoutName()) or shows(node, volume):
            continue
        logic = application.GetSliceLogic(node)
        if logic is not None:
            logic.FitSliceToVolume(volume, *node.GetDimensions()[:2])
            logic.SnapSliceOffsetToIJK()


def shows(view: slicer.vtkMRMLSliceNode, volume: slicer.vtkMRMLVolumeNode) -> bool:
    """Return whether a slice cuts a volume, and a good part of either is seen in it."""
    to_slice = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.GetSliceToRAS(), to_slice)
    bounds = [0.0] * 6
    volume.GetSliceBounds(bounds, to_slice)
    if not bounds[4] <= 0.0 <= bounds[5]:
        return False
    seen = view_area = volume_area = 1.0
    for axis, (size, middle) in enumerate(zip(view.GetFieldOfView()[:2], view.GetXYZOrigin()[:2], strict=True)):
        low, high = bounds[2 * axis : 2 * axis + 2]
        seen *= max(0.0, min(high, middle + size / 2) - max(low, middle - size / 2))
        view_area *= size
        volume_area *= high - low
    return bool(seen >= SHOWN_SHARE * min(view_area, volume_area))


def _drop_fallbacks(view: slicer.vtkMRMLSliceCompositeNode) -> None:
    """Let go of what stands behind the shown volumes; or it would be shown once those are taken from the view."""
    for role, _before in FALLBACKS:
        if view.GetNumberOfNodeReferences(role) > 1:
            view.SetNthNodeReferenceID(role, 1, None)


def _put_together(view: slicer.vtkMRMLSliceCompositeNode, before: str) -> None:
    """Set opacity, compositing and links as a text says; a text that someone else damaged says nothing."""
    try:
        values = json.loads(before)
        opacity, compositing = float(values["opacity"]), int(values["compositing"])
        linked, hot_linked = bool(values["linked"]), bool(values["hot_linked"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        opacity, compositing, linked, hot_linked = 0.0, slicer.vtkMRMLSliceCompositeNode.Alpha, False, False
    view.SetForegroundOpacity(opacity)
    view.SetCompositing(compositing)
    view.SetLinkedControl(linked)
    view.SetHotLinkedControl(hot_linked)
