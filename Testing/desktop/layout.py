"""`slicer.app.layoutManager()`: the slice views that the layout asks for, as logics and nodes of the scene, no windows.

The layout logic is Slicer's own: it makes the view nodes that a layout describes. What the application adds is here: a
logic for each slice node, and which views are shown. Mouse moves do to the nodes what Slicer's views do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import slicer
import vtk

ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class SliceWidget:
    """One slice view: its logic and nodes."""

    def __init__(self, logic: slicer.vtkMRMLSliceLogic) -> None:
        self._logic = logic

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        """Return the logic that cuts the slice."""
        return self._logic

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        """Return the node that says where the slice is."""
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        """Return the node that says what the slice shows."""
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        """Fit the view to its background volume."""
        self._logic.FitSliceToBackground()


class LayoutManager:
    """The slice views of the scene."""

    def __init__(self, logic: slicer.vtkMRMLApplicationLogic) -> None:
        self._logic = logic
        self._layout = slicer.vtkMRMLLayoutLogic()

    def add_slice_views(self) -> None:
        """Show the layout of the application's start, with three slice views, and follow the layout from now on."""
        for name, orientation in ORIENTATIONS.items():
            self._add_logic().AddSliceNode(name).SetOrientation(orientation)
        self._layout.SetMRMLScene(slicer.mrmlScene)
        self._layout.GetLayoutNode().AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_event: self._follow())
        slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._on_node_removed)
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    @property
    def layout(self) -> int:
        """The number of the layout that is shown."""
        return self._layout.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        """Show another layout."""
        self._layout.GetLayoutNode().SetViewArrangement(layout)

    def layoutLogic(self) -> slicer.vtkMRMLLayoutLogic:
        """Return the logic that makes the views of a layout."""
        return self._layout

    def sliceViewNames(self) -> tuple[str, ...]:
        """Return the names of the slice views, also those that the layout does not show."""
        return tuple(logic.GetSliceNode().GetLayoutName() for logic in self._slice_logics())

    def sliceWidget(self, name: str) -> SliceWidget | None:
        """Return a slice view by its name."""
        return next(
            (SliceWidget(logic) for logic in self._slice_logics() if logic.GetSliceNode().GetLayoutName() == name), None
        )

    def resetSliceViews(self) -> None:
        """Fit every slice view to what it shows."""
        for logic in self._slice_logics():
            logic.FitSliceToBackground()

    def _slice_logics(self) -> list[slicer.vtkMRMLSliceLogic]:
        logics = self._logic.GetSliceLogics()
        return [logics.GetItemAsObject(index) for index in range(logics.GetNumberOfItems())]

    def _add_logic(self) -> slicer.vtkMRMLSliceLogic:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._logic)
        self._logic.GetSliceLogics().AddItem(logic)
        logic.SetMRMLScene(slicer.mrmlScene)
        return logic

    def _follow(self) -> None:
        """Give the slice nodes of the layout a logic each, and show these views only."""
        shown = [node.GetID() for node in self._shown_nodes()]
        known = {logic.GetSliceNode().GetID() for logic in self._slice_logics()}
        for identifier in shown:
            if identifier not in known:
                self._add_logic().SetSliceNode(slicer.mrmlScene.GetNodeByID(identifier))
        for logic in self._slice_logics():
            logic.GetSliceNode().SetMappedInLayout(logic.GetSliceNode().GetID() in shown)

    def _shown_nodes(self) -> Iterator[slicer.vtkMRMLSliceNode]:
        nodes = self._layout.GetViewNodes()
        for number in range(nodes.GetNumberOfItems()):
            if nodes.GetItemAsObject(number).IsA("vtkMRMLSliceNode"):
                yield nodes.GetItemAsObject(number)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, _scene: vtk.vtkObject, _event: str, node: slicer.vtkMRMLNode) -> None:
        """Drop the logic of a slice node that is gone, as the application drops the view."""
        for logic in self._slice_logics():
            if logic.GetSliceNode() is None or logic.GetSliceNode() is node:
                self._logic.GetSliceLogics().RemoveItem(logic)


def move_mouse(view: slicer.vtkMRMLSliceNode, place: Sequence[float], *, shift: bool = False) -> None:
    """Move the mouse over a slice view, in the order in which Slicer's views tell of it.

    First the cursor (`vtkMRMLSliceViewInteractorStyle`); with Shift also the crosshair, and then the other slices of
    the view's group jump there (`vtkMRMLSliceIntersectionWidget`).

    Parameters
    ----------
    view
        The slice under the mouse.
    place
        Pixels (x, y) from the view's lower left corner.
    shift
        Whether the key is held.
    """
    scene = view.GetScene()
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionXYZ([place[0], place[1], 0.0], view)
    if shift:
        ras = [0.0, 0.0, 0.0]
        crosshair.GetCursorPositionRAS(ras)
        crosshair.SetCrosshairRAS(ras)
        if crosshair.GetCrosshairBehavior() != slicer.vtkMRMLCrosshairNode.NoAction:
            view.JumpAllSlices(scene, *ras, slicer.vtkMRMLSliceNode.OffsetJumpSlice, view.GetViewGroup(), view)


def leave_view(scene: slicer.vtkMRMLScene) -> None:
    """Move the mouse out of all views."""
    scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionInvalid()
