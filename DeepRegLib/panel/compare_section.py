"""Compare: how the slice views show fixed and warped volume over each other."""

from __future__ import annotations

from types import SimpleNamespace

import slicer
from slicer.i18n import tr as _

from DeepRegLib.panel.comparison import BLEND, CHECKERBOARD, FLICKER, MODES, NONE, RED_CYAN, Comparison
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.selectors import show_value
from DeepRegLib.scene.views import fit_views

NOTHING: tuple[object, ...] = ()


class CompareSection:
    """The controls of the comparison.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Whose views they control.
    """

    def __init__(self, ui: SimpleNamespace, scene: slicer.vtkMRMLScene) -> None:
        self._ui = ui
        self._scene = scene
        self._comparison = Comparison(scene, self._on_taken_over)
        self._parameters: Parameters | None = None
        self._shown: tuple[object, ...] = NOTHING
        self._opacity = 0.0
        self._suspended = False
        texts = {
            NONE: _("Views as they were"),
            BLEND: _("Blend"),
            FLICKER: _("Flicker"),
            CHECKERBOARD: _("Checkerboard"),
            RED_CYAN: _("Red / cyan"),
        }
        for mode, text in texts.items():
            ui.compareSelector.addItem(text, mode)
        ui.compareSelector.connect("activated(int)", self._on_mode_chosen)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._end()

    def suspend(self) -> None:
        """Give the views back for a while: another module is open, or the scene is being saved or read."""
        self._suspended = True
        self._end()

    def resume(self) -> None:
        """Go on as before `suspend`."""
        self._suspended = False
        self.refresh()

    def put_views_back(self) -> None:
        """Give the views back before the volumes in them go; what the parameters say is shown again by `refresh`."""
        self._end()

    def look_at(self, volume: slicer.vtkMRMLVolumeNode) -> None:
        """Fit the views that show something else to a volume, unless another module has the views."""
        if not self._suspended:
            fit_views(self._scene, volume)

    def refresh(self) -> None:
        """Show what the parameters say."""
        parameters = self._parameters
        if parameters is None:
            return
        fixed, warped = parameters.comparedFixed, parameters.comparedWarped
        possible = fixed is not None and warped is not None
        mode = parameters.compareMode if possible and parameters.compareMode in MODES else NONE
        self._ui.compareSelector.enabled = possible
        self._ui.blendSlider.enabled = mode == BLEND
        self._ui.compareNoteLabel.visible = mode == RED_CYAN
        show_value(self._ui.compareSelector, mode)
        if self._suspended:
            return
        # A result that overwrites an earlier one is in the same nodes, with other voxels.
        wanted = (mode, fixed, warped, _stamp(fixed), _stamp(warped), parameters.linkedViews)
        if wanted != self._shown:
            self._shown = wanted
            self._comparison.show(mode, fixed, warped, opacity=parameters.blend, linked=parameters.linkedViews)
        elif mode == BLEND and parameters.blend != self._opacity:  # else the user's own hand in the views wins
            self._comparison.set_opacity(parameters.blend)
        self._opacity = parameters.blend

    def _end(self) -> None:
        self._comparison.end()
        self._shown = NOTHING

    def _on_mode_chosen(self, index: int) -> None:
        """Show what was chosen, also if it was chosen before: a view may have been used for something else."""
        if self._parameters is not None and index >= 0:
            self._shown = NOTHING
            self._parameters.compareMode = str(self._ui.compareSelector.itemData(index))
            self.refresh()

    def _on_taken_over(self) -> None:
        if self._parameters is not None:
            self._parameters.compareMode = NONE


def _stamp(node: slicer.vtkMRMLVolumeNode | None) -> int:
    return 0 if node is None or node.GetImageData() is None else int(node.GetImageData().GetMTime())
