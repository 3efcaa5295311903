"""The list of segments below a mask selector: which of them count."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from DeepRegLib.scene.segmentations import segment_names

ID_ROLE = 256  # Qt.UserRole, whose type differs between Qt 5 and Qt 6
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
        if segments != self._shown:
            self._fill(segments)
        self._check(set(chosen) or {identifier for identifier, _name in segments})
        self._widget.setVisible(bool(segments))

    def checked(self) -> list[str]:
        """Return the ids of the checked segments."""
        items = [self._widget.item(row) for row in range(len(self._shown))]
        return [str(item.data(ID_ROLE)) for item in items if item.checkState() == qt.Qt.Checked]

    def _fill(self, segments: list[tuple[str, str]]) -> None:
        blocked = self._widget.blockSignals(True)
        self._widget.clear()
        for identifier, name in segments:
            item = qt.QListWidgetItem(name)
            item.setData(ID_ROLE, identifier)
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
            item.setCheckState(qt.Qt.Checked)
            self._widget.addItem(item)
        self._widget.blockSignals(blocked)
        self._shown = segments
        row = self._widget.fontMetrics().height() + 6
        self._widget.setFixedHeight(row * min(VISIBLE_ROWS, max(1, len(segments))) + 6)

    def _check(self, wanted: set[str]) -> None:
        blocked = self._widget.blockSignals(True)
        for row, (identifier, _name) in enumerate(self._shown):
            state = qt.Qt.Checked if identifier in wanted else qt.Qt.Unchecked
            self._widget.item(row).setCheckState(state)
        self._widget.blockSignals(blocked)

    def _on_item_changed(self, _item: object) -> None:
        checked = self.checked()
        self._changed([] if len(checked) == len(self._shown) else checked)
