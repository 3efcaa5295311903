"""Drivers: masks, their segments, what segmentations do. Landmarks and initial transform are bound by name."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer

from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.segment_list import SegmentList
from DeepRegLib.panel.selectors import show_value
from DeepRegLib.panel.task import LABEL_ROLES
from DeepRegLib.panel.watching import Watch
from DeepRegLib.panel.words import role_words, tooltip
from DeepRegLib.scene.segmentations import segment_names

SIDES = ("fixed", "moving", "sliding", "rigid")
SEGMENT_EVENTS = (
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
)


class DriversSection:
    """The lists of segments below the mask selectors, and the role of the segmentations.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    on_changed
        Called when the segments of a mask have changed.
    """

    def __init__(self, ui: SimpleNamespace, on_changed: Callable[[], None]) -> None:
        self._parameters: Parameters | None = None
        self._watch = Watch(SEGMENT_EVENTS, on_changed)
        self._masks: dict[str, slicer.vtkMRMLNode | None] = {}
        self._lists = {
            side: SegmentList(getattr(ui, f"{side}SegmentList"), self._keeper(f"{side}MaskSegments")) for side in SIDES
        }
        self._roles = ui.labelsRoleSelector
        for role in LABEL_ROLES:
            text, told = role_words(role)
            self._roles.addItem(text, role)
            self._roles.setItemData(self._roles.count - 1, tooltip(told), qt.Qt.ToolTipRole)
        ui.labelsRoleSelector.connect("currentIndexChanged(int)", self._on_role_chosen)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        self._masks = {}
        if parameters is None:
            self._watch.stop()

    def refresh(self) -> None:
        """Show what the parameters say."""
        if self._parameters is not None:
            masks = [getattr(self._parameters, f"{side}Mask") for side in SIDES]
            self._show_role(self._parameters.labelsRole)
            self._watch.follow(node for node in masks if node is not None and node.IsA("vtkMRMLSegmentationNode"))
        for side, shown in self._lists.items():
            if self._parameters is not None:
                self._forget_segments_of_another_mask(side, self._parameters)
                self._forget_deleted_segments(side, self._parameters)
                chosen = list(getattr(self._parameters, f"{side}MaskSegments"))
                shown.show(getattr(self._parameters, f"{side}Mask"), chosen)

    def _show_role(self, role: str) -> None:
        show_value(self._roles, role)
        self._roles.toolTip = tooltip(role_words(role)[1])

    def _on_role_chosen(self, index: int) -> None:
        if self._parameters is not None and index >= 0:
            self._parameters.labelsRole = str(self._roles.itemData(index))

    def _forget_segments_of_another_mask(self, side: str, parameters: Parameters) -> None:
        mask = getattr(parameters, f"{side}Mask")
        before = self._masks.get(side, mask)
        self._masks[side] = mask
        known = {identifier for identifier, _name in segment_names(mask)}
        if mask is not before and not known.issuperset(getattr(parameters, f"{side}MaskSegments")):
            setattr(parameters, f"{side}MaskSegments", [])

    def _forget_deleted_segments(self, side: str, parameters: Parameters) -> None:
        """Drop chosen segments that are gone, but for the last: to choose none means to choose all."""
        chosen = list(getattr(parameters, f"{side}MaskSegments"))
        known = {identifier for identifier, _name in segment_names(getattr(parameters, f"{side}Mask"))}
        left = [identifier for identifier in chosen if identifier in known]
        if left and left != chosen:
            setattr(parameters, f"{side}MaskSegments", left)

    def _keeper(self, parameter: str) -> Callable[[list[str]], None]:
        def keep(identifiers: list[str]) -> None:
            if self._parameters is not None:
                setattr(self._parameters, parameter, identifiers)

        return keep
