"""Hearing of what happens to nodes, once for all that happens in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import qt
import slicer


class Watch:
    """Tells, when the event loop is free again, that something happened to one of some nodes.

    Parameters
    ----------
    events
        Which of their VTK events count.
    told
        Called without arguments.
    """

    def __init__(self, events: Iterable[int], told: Callable[[], None]) -> None:
        self._events = tuple(events)
        self._observed: dict[slicer.vtkMRMLNode, list[int]] = {}
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", told)

    def follow(self, nodes: Iterable[slicer.vtkMRMLNode | None]) -> None:
        """Watch these nodes from now on, and no others."""
        wanted = [node for node in nodes if node is not None]
        for node in [node for node in self._observed if node not in wanted]:
            for tag in self._observed.pop(node):
                node.RemoveObserver(tag)
        for node in wanted:
            if node not in self._observed:
                self._observed[node] = [node.AddObserver(event, self._on_event) for event in self._events]

    def tell(self) -> None:
        """Tell soon, whether something happened or not."""
        self._timer.start(0)

    def stop(self) -> None:
        """Watch nothing, and tell nothing any more."""
        self.follow(())
        self._timer.stop()

    def _on_event(self, _node: object, _event: str) -> None:
        self.tell()
