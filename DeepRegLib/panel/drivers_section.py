"""Drivers: masks and their segments. Landmarks and the initial transform are bound by name."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import slicer

from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.segment_list import SegmentList
from DeepRegLib.scene.segmentations import segment_names

SIDES = ("fixed", "moving")


class DriversSection:
    """The lists of segments below the mask selectors.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self._parameters: Parameters | None = None
        self._masks: dict[str, slicer.vtkMRMLNode | None] = {}
        self._lists = {
            side: SegmentList(getattr(ui, f"{side}SegmentList"), self._keeper(f"{side}MaskSegments")) for side in SIDES
        }

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        self._masks = {}

    def refresh(self) -> None:
        """Show what the parameters say."""
        for side, shown in self._lists.items():
            if self._parameters is not None:
                self._forget_segments_of_another_mask(side, self._parameters)
                chosen = list(getattr(self._parameters, f"{side}MaskSegments"))
                shown.show(getattr(self._parameters, f"{side}Mask"), chosen)

    def _forget_segments_of_another_mask(self, side: str, parameters: Parameters) -> None:
        mask = getattr(parameters, f"{side}Mask")
        before = self._masks.get(side, mask)
        self._masks[side] = mask
        known = {identifier for identifier, _name in segment_names(mask)}
        if mask is not before and not known.issuperset(getattr(parameters, f"{side}MaskSegments")):
            setattr(parameters, f"{side}MaskSegments", [])

    def _keeper(self, parameter: str) -> Callable[[list[str]], None]:
        def keep(identifiers: list[str]) -> None:
            if self._parameters is not None:
                setattr(self._parameters, parameter, identifiers)

        return keep
