"""The list of segments below a mask selector: which of them count."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from DeepRegLib.panel.check_list import check, checked_ids, fill
from DeepRegLib.scene.segmentations import segment_names

VISIBLE_ROWS = 5


class SegmentList:
    """Shows a segmentation's segments with a box each, all checked at first; hidden for anything else.

    Parameters
    ----------
    widget
        A ``QListWidget``.
    changed
        Called with the ids of the checked segments when the user changes a box; empty for all of them.
    """

    def __init__(self, widget: qt.QListWidget, changed: Callable[[list[str]], None]) -> None:
        self._widget = widget
        self._changed = changed
        self._shown: list[tuple[str, str]] = []
        widget.connect("itemChanged(QListWidgetItem*)", self._on_item_changed)
        widget.hide()

    def show(self, node: slicer.vtkMRMLNode | None, chosen: list[str]) -> None:
        """List a node's segments and check the chosen ones; all if none is chosen."""
        is_segmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        segments = list(segment_names(node)) if is_segmentation else []
        checked = set(chosen) or {identifier for identifier, _name in segments}
        if segments != self._shown:
            fill(self._widget, segments, checked, VISIBLE_ROWS)
            self._shown = segments
        else:
            check(self._widget, checked)
        self._widget.setVisible(bool(segments))

    def checked(self) -> list[str]:
        """Return the ids of the checked segments."""
        return checked_ids(self._widget)

    def _on_item_changed(self, _item: object) -> None:
        checked = self.checked()
        self._changed([] if len(checked) == len(self._shown) else checked)
