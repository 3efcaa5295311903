"""The slice views' ways to compare the fixed and the warped volume, and the timer behind flicker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import qt
import slicer
import vtk

from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.slicing import Sliced
from DeepRegLib.scene.compare import blend, checkerboard_steps, red_cyan, remove_helpers
from DeepRegLib.scene.views import (
    COMPOSITE,
    Layers,
    composites,
    fit_views,
    layers_of,
    link,
    put_back,
    remember,
    show_layers,
)

LOG = logging.getLogger(__name__)

NONE, BLEND, FLICKER, CHECKERBOARD, RED_CYAN = "none", "blend", "flicker", "checkerboard", "red-cyan"
MODES = (NONE, BLEND, FLICKER, CHECKERBOARD, RED_CYAN)
FLICKER_MILLISECONDS = 600


class Comparison:
    """Shows two volumes over each other in all slice views, and puts the views back as they were.

    Views that a new layout makes join in. A view in which someone else shows other volumes is left to them.

    Parameters
    ----------
    scene
        Whose views these are.
    on_taken_over
        Called when no view is left that compares.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, on_taken_over: Callable[[], None]) -> None:
        self._scene = scene
        self._on_taken_over = on_taken_over
        self._layers: Layers | None = None
        self._fixed: slicer.vtkMRMLVolumeNode | None = None
        self._linked = False
        self._observed: dict[str, tuple[slicer.vtkMRMLSliceCompositeNode, int]] = {}
        self._changing = False
        self._phase = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MILLISECONDS)
        self._timer.connect("timeout()", self._flick)
        self._arrivals = qt.QTimer()  # a new view is joined when its layout is complete
        self._arrivals.setSingleShot(True)
        self._arrivals.connect("timeout()", self._join)
        self._scene_observer: int | None = None
        self._work: Sliced[Layers] | None = None

    def show(
        self,
        mode: str,
        fixed: slicer.vtkMRMLVolumeNode | None,
        warped: slicer.vtkMRMLVolumeNode | None,
        *,
        opacity: float,
        linked: bool,
    ) -> None:
        """Show two volumes in a mode; put the views back if the mode is none or a volume is missing."""
        self.end()
        if mode not in MODES or mode == NONE or fixed is None or warped is None:
            return
        self._fixed, self._linked = fixed, linked
        if mode == CHECKERBOARD:
            self._work = Sliced(checkerboard_steps(self._scene, fixed, warped), self._show_layers, self._on_failed)
            try:
                self._work.start()
            except DeepRegError as error:
                self._on_failed(error)
        elif mode == RED_CYAN:
            self._show_layers(red_cyan(self._scene, fixed, warped))
        else:
            self._show_layers(blend(fixed, warped, opacity if mode == BLEND else 1.0))
            if mode == FLICKER:
                self._phase = 1
                self._timer.start()

    def _show_layers(self, layers: Layers) -> None:
        self._layers = layers
        self._scene_observer = self._scene.AddObserver(self._scene.NodeAddedEvent, self._on_node_added)
        self._join()

    def _on_failed(self, error: DeepRegError) -> None:
        LOG.error("The volumes cannot be compared: %s", error)
        self._on_taken_over()

    def set_opacity(self, opacity: float) -> None:
        """Let the warped volume shine through more or less, in the blend mode."""
        for view, _tag in self._observed.values():
            view.SetForegroundOpacity(opacity)

    def end(self) -> None:
        """Put the views back as they were."""
        self._timer.stop()
        self._arrivals.stop()
        if self._work is not None:
            self._work.stop()
            self._work = None
        if self._scene_observer is not None:
            self._scene.RemoveObserver(self._scene_observer)
            self._scene_observer = None
        if self._layers is None:
            return
        self._layers = self._fixed = None
        put_back(self._released(list(self._observed)))
        remove_helpers(self._scene)

    def _join(self) -> None:
        """Show the comparison in each view that does not show it yet."""
        if self._layers is None or self._fixed is None or self._fixed.GetScene() is None:
            return
        new = [view for view in composites(self._scene) if view.GetID() not in self._observed]
        if not new:
            return
        self._changing = True
        remember(new)
        link(new, self._linked)
        show_layers(new, self._layers)
        self._changing = False
        for view in new:
            self._observed[view.GetID()] = (view, view.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_modified))
        fit_views(self._scene, self._fixed)

    def _released(self, identifiers: Sequence[str]) -> list[slicer.vtkMRMLSliceCompositeNode]:
        """Let go of views and return those that still are in the scene."""
        released = [self._observed.pop(identifier) for identifier in identifiers]
        for view, tag in released:
            view.RemoveObserver(tag)
        return [view for view, _tag in released if view.GetScene() is not None]

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]  # vtk has no types
    def _on_node_added(self, _scene: vtk.vtkObject, _event: str, node: slicer.vtkMRMLNode) -> None:
        if node.IsA(COMPOSITE):
            self._arrivals.start(0)

    def _on_modified(self, view: slicer.vtkMRMLSliceCompositeNode, _event: str) -> None:
        """Leave a view to whoever shows other volumes in it."""
        if self._changing or self._layers is None or view.GetID() not in self._observed:
            return
        now = layers_of(view)
        if (now.background, now.foreground) == (self._layers.background, self._layers.foreground):
            return
        put_back(self._released([view.GetID()]), layers=False)
        if not self._observed:
            self._on_taken_over()

    def _flick(self) -> None:
        self._phase = 1 - self._phase
        self.set_opacity(self._phase)
