"""`slicer.app.layoutManager()`: the slice views Red, Yellow and Green, as logics and nodes of the scene, no windows."""

from __future__ import annotations

import slicer

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


class LayoutManager:
    """The slice views of the scene."""

    def __init__(self, logic: slicer.vtkMRMLApplicationLogic) -> None:
        self._logic = logic

    def add_slice_views(self) -> None:
        """Add the three slice views, which the application's layout makes at its start."""
        for name, orientation in ORIENTATIONS.items():
            slice_logic = slicer.vtkMRMLSliceLogic()
            slice_logic.SetMRMLApplicationLogic(self._logic)
            self._logic.GetSliceLogics().AddItem(slice_logic)
            slice_logic.SetMRMLScene(slicer.mrmlScene)
            node = slice_logic.AddSliceNode(name)
            node.SetOrientation(orientation)
            node.SetMappedInLayout(1)

    def sliceViewNames(self) -> tuple[str, ...]:
        """Return the names of the slice views."""
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
