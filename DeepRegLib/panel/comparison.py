"""The slice views' ways to compare the fixed and the warped volume, and the timer behind flicker."""

from __future__ import annotations

import qt
import slicer

from DeepRegLib.scene.compare import (
    ComparisonState,
    capture,
    restore,
    set_linked,
    show_blend,
    show_checkerboard,
    show_flicker_phase,
    show_red_cyan,
)

NONE, BLEND, FLICKER, CHECKERBOARD, RED_CYAN = "none", "blend", "flicker", "checkerboard", "red-cyan"
MODES = (NONE, BLEND, FLICKER, CHECKERBOARD, RED_CYAN)
FLICKER_MILLISECONDS = 600


class Comparison:
    """Shows two volumes over each other in all slice views, and puts the views back as they were.

    Parameters
    ----------
    scene
        Whose views these are.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._before: ComparisonState | None = None
        self._phase = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MILLISECONDS)
        self._timer.connect("timeout()", self._flick)

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
        self._put_back()
        if mode == NONE or fixed is None or warped is None:
            return
        self._before = capture(self._scene)
        set_linked(self._scene, linked)
        if mode == CHECKERBOARD:
            show_checkerboard(self._scene, fixed, warped)
        elif mode == RED_CYAN:
            show_red_cyan(self._scene, fixed, warped)
        else:
            show_blend(self._scene, fixed, warped, opacity if mode == BLEND else 1.0)
        if mode == FLICKER:
            self._phase = 1
            self._timer.start()

    def set_opacity(self, opacity: float) -> None:
        """Let the warped volume shine through more or less, in the blend mode."""
        show_flicker_phase(self._scene, opacity)

    def forget(self) -> None:
        """Stop without putting anything back: the scene is being closed."""
        self._timer.stop()
        self._before = None

    def _put_back(self) -> None:
        self._timer.stop()
        if self._before is not None:
            restore(self._scene, self._before)
            self._before = None

    def _flick(self) -> None:
        self._phase = 1 - self._phase
        show_flicker_phase(self._scene, self._phase)
