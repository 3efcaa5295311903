"""Linked views: both scans side by side, and cursors that point at the same anatomy in both."""

from __future__ import annotations

from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from DeepRegLib.panel.linking import LinkedCursors
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.selectors import show_value
from DeepRegLib.scene.correspondence import Correspondence, correspondence_of
from DeepRegLib.scene.side_by_side import Before, is_own_view, is_shown, leave_side_by_side, show_side_by_side

NO_VIEWS = 0
VIEWS_A_SIDE = (1, 3)


class LinkedSection:
    """The controls of the linked views; what they are set to ends with the session.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Whose views these are.
    """

    def __init__(self, ui: SimpleNamespace, scene: slicer.vtkMRMLScene) -> None:
        self._ui = ui
        self._scene = scene
        self._cursors = LinkedCursors(scene)
        self._parameters: Parameters | None = None
        self._shown: tuple[Correspondence, int] | None = None
        self._before: Before | None = None
        self._suspended = False
        texts = {NO_VIEWS: _("Views as they were"), 1: _("One view a side"), 3: _("Three views a side")}
        for count in (NO_VIEWS, *VIEWS_A_SIDE):
            ui.sideBySideSelector.addItem(texts[count], count)
        ui.sideBySideSelector.connect("currentIndexChanged(int)", self._on_changed)
        ui.linkedCursorsCheckBox.connect("toggled(bool)", self._on_changed)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._cursors.stop()
            self._leave()
            self._set_controls(False, NO_VIEWS)

    def suspend(self) -> None:
        """Put the views back for a while: another module is open."""
        self._suspended = True
        self._follow(None)

    def resume(self) -> None:
        """Go on as before `suspend`."""
        self._suspended = False
        self.refresh()

    def refresh(self) -> None:
        """Show what the parameters say."""
        if self._parameters is None:
            return
        pair = self._pair(self._parameters)
        for widget in (self._ui.linkedCursorsCheckBox, self._ui.sideBySideSelector):
            widget.enabled = pair is not None
        if not self._suspended:
            self._follow(pair)

    def _on_changed(self, _value: object = None) -> None:
        self.refresh()

    def _pair(self, parameters: Parameters) -> Correspondence | None:
        return correspondence_of(parameters.linkedTransform, parameters.fixedVolume, parameters.movingVolume)

    def _follow(self, pair: Correspondence | None) -> None:
        """Link two scans, and show them side by side, as far as the controls say so; nothing without scans."""
        linked = pair if self._ui.linkedCursorsCheckBox.checked else None
        if linked is None:
            self._cursors.stop()
        elif linked != self._cursors.pair:
            self._cursors.start(linked)
        count = int(self._ui.sideBySideSelector.itemData(self._ui.sideBySideSelector.currentIndex))
        wanted = (pair, count) if pair is not None and count != NO_VIEWS else None
        if wanted is None:
            self._leave()
        elif wanted != self._shown:
            self._leave()
            self._shown, self._before = wanted, show_side_by_side(self._scene, *wanted)
            self._fit()
            qt.QTimer.singleShot(0, self._fit)  # once more when the new views have their sizes
        elif self._before is not None and not is_shown(self._scene, self._before):
            self._leave()  # the user chose another layout
            self._set_controls(self._ui.linkedCursorsCheckBox.checked, NO_VIEWS)

    def _leave(self) -> None:
        if self._before is not None:
            leave_side_by_side(self._scene, self._before)
        self._shown, self._before = None, None

    def _fit(self) -> None:
        if self._before is None:
            return
        logics = slicer.app.applicationLogic().GetSliceLogics()
        for number in range(logics.GetNumberOfItems()):
            logic = logics.GetItemAsObject(number)
            if is_own_view(logic.GetSliceNode().GetLayoutName()) and logic.GetSliceNode().IsMappedInLayout():
                logic.FitSliceToBackground()

    def _set_controls(self, linked: bool, count: int) -> None:
        show_value(self._ui.sideBySideSelector, count)
        blocked = self._ui.linkedCursorsCheckBox.blockSignals(True)
        self._ui.linkedCursorsCheckBox.setChecked(linked)
        self._ui.linkedCursorsCheckBox.blockSignals(blocked)
