"""Align on this: one click for a rigid registration on a bone, and one to see what else has changed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import slicer
from slicer.util import NodeModify

from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.scene.changes import add_changes
from DeepRegLib.scene.sequences import current_volume
from DeepRegLib.scene.volumes import image_from_volume

RECIPE = "stable-region"


class StableSection:
    """The two buttons below the masks.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Where the results are.
    registration
        Knows the latest result.
    press
        Starts what the panel is set to do.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        scene: slicer.vtkMRMLScene,
        registration: RegistrationSection,
        press: Callable[[], None],
    ) -> None:
        self._ui = ui
        self._scene = scene
        self._registration = registration
        self._press = press
        self._parameters: Parameters | None = None
        ui.alignOnButton.connect("clicked(bool)", self._on_align)
        ui.showChangeButton.connect("clicked(bool)", self._on_show)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters

    def refresh(self) -> None:
        """Show what the parameters say."""
        parameters = self._parameters
        if parameters is None:
            return
        free = not self._registration.running
        volumes = parameters.fixedVolume is not None and parameters.movingVolume is not None
        self._ui.alignOnButton.enabled = free and volumes and parameters.fixedMask is not None
        self._ui.showChangeButton.enabled = free and self._carried() is not None

    def _carried(self) -> slicer.vtkMRMLNode | None:
        """Return the moving segmentation as it was carried over, if there is one of the fixed scan to compare with."""
        run, parameters = self._registration.result, self._parameters
        if run is None or run.results is None or not run.results.segmentation or parameters is None:
            return None
        there = self._scene.GetNodeByID(run.results.segmentation)
        return there if parameters.fixedSegmentation is not None else None

    def _on_align(self, _checked: bool = False) -> None:
        parameters = self._parameters
        if parameters is None or self._registration.running:
            return
        with NodeModify(parameters):
            parameters.recipe = RECIPE
        self._press()

    def _on_show(self, _checked: bool = False) -> None:
        parameters, carried = self._parameters, self._carried()
        if parameters is None or carried is None or parameters.fixedVolume is None:
            return
        self._registration.show_error(None)
        try:
            grid = image_from_volume(current_volume(parameters.fixedVolume), copy=False).geometry
            add_changes(self._scene, grid, parameters.fixedSegmentation, carried)
        except DeepRegError as error:
            self._registration.show_error(error)
