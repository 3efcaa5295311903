"""Lists with a box in each row, as several sections of the panel have them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import qt

from DeepRegLib.panel.words import tooltip

ID_ROLE = 256  # Qt.UserRole, whose type differs between Qt 5 and Qt 6
PADDING = 6  # pixels, around a row's text and around all rows


def fill(widget: qt.QListWidget, rows: Sequence[tuple[str, str]], checked: Collection[str], visible: int) -> None:
    """List rows anew, without a signal.

    Parameters
    ----------
    widget
        Made as high as its rows.
    rows
        Id and text of each.
    checked
        Ids of the rows whose box is checked.
    visible
        How many rows are shown at most; the rest is scrolled to.
    """
    blocked = widget.blockSignals(True)
    widget.clear()
    for identifier, text in rows:
        item = qt.QListWidgetItem(text)
        item.setData(ID_ROLE, identifier)
        item.setToolTip(tooltip(text))
        item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
        item.setCheckState(_state(identifier in checked))
        widget.addItem(item)
    height = widget.fontMetrics().height() + PADDING
    widget.setFixedHeight(height * min(visible, max(1, len(rows))) + PADDING)
    widget.blockSignals(blocked)


def check(widget: qt.QListWidget, checked: Collection[str]) -> None:
    """Check the boxes of the rows with these ids, and no others, without a signal."""
    blocked = widget.blockSignals(True)
    for item in _items(widget):
        item.setCheckState(_state(_id_of(item) in checked))
    widget.blockSignals(blocked)


def checked_ids(widget: qt.QListWidget) -> list[str]:
    """Return the ids of the rows whose box is checked, in their order."""
    return [_id_of(item) for item in _items(widget) if item.checkState() == qt.Qt.Checked]


def _items(widget: qt.QListWidget) -> list[qt.QListWidgetItem]:
    return [widget.item(row) for row in range(widget.count)]


def _id_of(item: qt.QListWidgetItem) -> str:
    return str(item.data(ID_ROLE))


def _state(checked: bool) -> object:
    return qt.Qt.Checked if checked else qt.Qt.Unchecked
