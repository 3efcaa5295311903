"""Linked cursors: mouse and crosshair followed, and the corresponding place shown in the other scan's views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import qt
import slicer
import vtk

from DeepRegLib.scene.correspondence import FIXED, OTHER, Correspondence, corresponding_place
from DeepRegLib.scene.nodes import nodes_of_class
from DeepRegLib.scene.places import hide_marks, jump_to, mark, remove_marks, side_of, views_of


@dataclass(frozen=True)
class Seen:
    """A place, RAS mm, and which of the two scans it was pointed at in."""

    place: tuple[float, float, float]
    side: str


class LinkedCursors:
    """Follows the mouse in the views of two scans.

    However fast the mouse is, the views move once in a turn of the event loop, and after Slicer has moved them itself.

    Parameters
    ----------
    scene
        Whose crosshair and views these are.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._pair: Correspondence | None = None
        self._observed: list[tuple[vtk.vtkObject, int]] = []
        self._seen: Seen | None = None
        self._crosshair_at: tuple[float, float, float] | None = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._show)

    @property
    def pair(self) -> Correspondence | None:
        """What is linked; None while nothing is."""
        return self._pair

    def start(self, pair: Correspondence) -> None:
        """Link two scans from now on, in place of those linked before."""
        self.stop()
        crosshair = next(iter(nodes_of_class(self._scene, "vtkMRMLCrosshairNode")), None)
        if crosshair is None:
            return
        self._pair = pair
        self._crosshair_at = tuple(crosshair.GetCrosshairRAS())
        for event, called in (
            (slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._on_cursor_moved),
            (vtk.vtkCommand.ModifiedEvent, self._on_crosshair_modified),
        ):
            self._observed.append((crosshair, crosshair.AddObserver(event, called)))

    def stop(self) -> None:
        """Follow nothing, and take the marks out of the scene."""
        self._timer.stop()
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed, self._seen, self._pair = [], None, None
        remove_marks(self._scene)

    def _on_cursor_moved(self, crosshair: slicer.vtkMRMLCrosshairNode, _event: str) -> None:
        place = [0.0, 0.0, 0.0]
        known = crosshair.GetCursorPositionRAS(place)
        side = self._side_under_mouse(crosshair)
        self._show_soon(Seen((place[0], place[1], place[2]), side) if known and side is not None else None)

    def _on_crosshair_modified(self, crosshair: slicer.vtkMRMLCrosshairNode, _event: str) -> None:
        place = tuple(crosshair.GetCrosshairRAS())
        if place != self._crosshair_at:  # else its look was changed
            self._crosshair_at = place
            # Not moved with the mouse, it was sent to a place of the world, which is the fixed scan's.
            self._show_soon(Seen(place, self._side_under_mouse(crosshair) or FIXED))

    def _side_under_mouse(self, crosshair: slicer.vtkMRMLCrosshairNode) -> str | None:
        view = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        return side_of(view, self._pair) if view is not None and self._pair is not None else None

    def _show_soon(self, seen: Seen | None) -> None:
        self._seen = seen
        self._timer.start(0)

    def _show(self) -> None:
        pair, seen = self._pair, self._seen
        if pair is None or self._scene.IsClosing():
            return
        place = None if seen is None else corresponding_place(self._scene, pair, seen.place, seen.side)
        if seen is None or place is None or not np.isfinite(place).all():
            hide_marks(self._scene)
            return
        other = OTHER[seen.side]
        views = views_of(self._scene, pair, other)
        for view in views:
            jump_to(view, place)
        mark(self._scene, other, place, views)
        hide_marks(self._scene, seen.side)
