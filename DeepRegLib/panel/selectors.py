"""What selectors show is set without their telling of it as of the user's choice."""

from __future__ import annotations

import qt


def show_value(selector: qt.QComboBox, value: object) -> None:
    """Let a selector show the entry that has a value, without a signal; it stays as it is where there is none."""
    index = selector.findData(value)
    if index >= 0 and index != selector.currentIndex:
        blocked = selector.blockSignals(True)
        selector.setCurrentIndex(index)
        selector.blockSignals(blocked)
