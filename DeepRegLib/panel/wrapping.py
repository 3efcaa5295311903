"""Labels of several lines get the height that their text needs at their width, and tabs that of what is in them.

Slicer's module panel lies in a scroll area that gives its contents their least height. Qt's layouts count a wrapped
label there as one line, and press what stands beside it below its least height too.
"""

from __future__ import annotations

from collections.abc import Iterable

import qt


class WrappedLabels(qt.QObject):  # type: ignore[misc]  # qt is Slicer's
    """Keeps the height of labels at what their text needs, as text, width and font change.

    Parameters
    ----------
    labels
        ``QLabel`` with word wrap, each in a layout.
    """

    def __init__(self, labels: Iterable[qt.QLabel]) -> None:
        qt.QObject.__init__(self)
        self._labels = list(labels)
        self._fitted: list[tuple[object, ...]] = [()] * len(self._labels)
        # A label hears of its width, and the widget around it that its text has changed.
        self._watched = [*self._labels, *(label.parentWidget() for label in self._labels)]
        self._changes = (qt.QEvent.Resize, qt.QEvent.LayoutRequest, qt.QEvent.FontChange, qt.QEvent.StyleChange)
        for widget in self._watched:
            widget.installEventFilter(self)
        self._fit()

    def eventFilter(self, _watched: qt.QObject, event: qt.QEvent) -> bool:  # noqa: N802 - Qt's name
        """Fit the labels before a change is laid out; everything goes its way."""
        if event.type() in self._changes:
            self._fit()
        return False

    def close(self) -> None:
        """Leave the labels: they are about to go."""
        for widget in self._watched:
            widget.removeEventFilter(self)
        self._watched, self._labels = [], []

    def _fit(self) -> None:
        for number, label in enumerate(self._labels):
            state = (label.text, label.width, label.font.toString())
            if state != self._fitted[number]:
                self._fitted[number] = state
                label.setMinimumHeight(0)  # what a label needs is never less than that
                label.setFixedHeight(max(0, label.heightForWidth(label.width)) if label.text else 0)
                policy = label.sizePolicy
                policy.setHorizontalPolicy(qt.QSizePolicy.Ignored)  # a text asks for no width of its own
                # Set by Qt with each text; layouts with such a label do not keep to least heights.
                policy.setHeightForWidth(False)
                label.setSizePolicy(policy)


class GrowingTabs(qt.QObject):  # type: ignore[misc]  # qt is Slicer's
    """Lets a tab widget be as high as the tab that is shown, and tell around itself when that changes.

    Qt's own is as high as its highest tab, and keeps to itself that its contents need another size.

    Parameters
    ----------
    tabs
        A ``QTabWidget``.
    """

    def __init__(self, tabs: qt.QTabWidget) -> None:
        qt.QObject.__init__(self)
        self._tabs = tabs
        tabs.installEventFilter(self)
        tabs.connect("currentChanged(int)", self._fit)
        self._fit(tabs.currentIndex)

    def eventFilter(self, _watched: qt.QObject, event: qt.QEvent) -> bool:  # noqa: N802 - Qt's name
        """Pass on that something inside was laid out anew."""
        if event.type() == qt.QEvent.LayoutRequest:
            self._limit()
        return False

    def close(self) -> None:
        """Leave the tab widget: it is about to go."""
        self._tabs.removeEventFilter(self)

    def _fit(self, current: int) -> None:
        """Let the tabs that are not shown ask for no height."""
        for number in range(self._tabs.count):
            page = self._tabs.widget(number)
            policy = page.sizePolicy
            policy.setVerticalPolicy(qt.QSizePolicy.Preferred if number == current else qt.QSizePolicy.Ignored)
            page.setSizePolicy(policy)
        self._limit()

    def _limit(self) -> None:
        """Let the tab that is shown have no more height than it asks for: Qt asks for that of the highest."""
        page = self._tabs.currentWidget()
        around = self._tabs.property("minimumSizeHint").height() - page.property("minimumSizeHint").height()
        self._tabs.setMaximumHeight(around + page.property("sizeHint").height())
        self._tabs.updateGeometry()
