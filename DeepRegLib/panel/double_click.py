"""One answer to a double-click on a button that starts something and then stops it."""

from __future__ import annotations

import qt


class OneClick(qt.QObject):  # type: ignore[misc]  # qt has no types
    """Swallows the second half of a double-click on a widget, as long as this object lives."""

    def eventFilter(self, _watched: qt.QObject, event: qt.QEvent) -> bool:  # noqa: N802 - Qt's name
        """Return True for what the widget is not to hear."""
        return bool(event.type() == qt.QEvent.MouseButtonDblClick)
