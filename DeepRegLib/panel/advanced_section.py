"""Advanced: the device, and recipes to and from files. Sliders and seed are bound by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
from slicer.i18n import tr as _

from DeepRegLib.engine.worker_info import WorkerInfo
from DeepRegLib.errors import DeepRegError
from DeepRegLib.files import write_text
from DeepRegLib.panel.parameters import Parameters, recipe_of
from DeepRegLib.panel.selectors import show_value
from DeepRegLib.panel.sources import Sources
from DeepRegLib.recipes import load_recipe, recipe_to_toml

DEVICE_NAMES = {"cuda": "CUDA", "mps": "Metal"}


class AdvancedSection:
    """The device list and the recipe files.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    sources
        Which recipe files may be read.
    worker
        Returns what the running worker says of itself, or None.
    show_error
        Shows an error in the panel; None takes it away.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        sources: Sources,
        worker: Callable[[], WorkerInfo | None],
        show_error: Callable[[DeepRegError | None], None],
    ) -> None:
        self._ui = ui
        self._sources = sources
        self._worker = worker
        self._show_error = show_error
        self._parameters: Parameters | None = None
        self._devices: list[str] = []
        self._fill_devices(["", "cpu"])
        ui.deviceSelector.connect("currentIndexChanged(int)", self._on_device_chosen)
        ui.saveRecipeButton.connect("clicked(bool)", self._on_save)
        ui.openRecipeButton.connect("clicked(bool)", self._on_open)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters

    def refresh(self) -> None:
        """Show what the parameters and the engine say."""
        parameters = self._parameters
        if parameters is None:
            return
        worker = self._worker()
        known = ["", *(worker.devices if worker is not None else ["cpu"])]
        if parameters.device not in known:
            known.append(parameters.device)
        if known != self._devices:
            self._fill_devices(known)
        show_value(self._ui.deviceSelector, parameters.device)
        deforms = self._deforms(parameters.recipe)
        self._ui.resolutionSlider.enabled = deforms
        self._ui.smoothnessSlider.enabled = deforms

    def _fill_devices(self, devices: list[str]) -> None:
        blocked = self._ui.deviceSelector.blockSignals(True)
        self._ui.deviceSelector.clear()
        for device in devices:
            self._ui.deviceSelector.addItem(_device_text(device), device)
        self._ui.deviceSelector.blockSignals(blocked)
        self._devices = devices

    def _on_device_chosen(self, index: int) -> None:
        if self._parameters is not None and index >= 0:
            self._parameters.device = str(self._ui.deviceSelector.itemData(index) or "")

    def _on_save(self, _checked: bool = False) -> None:
        path = qt.QFileDialog.getSaveFileName(None, _("Save recipe"), "recipe.toml", _("Recipes (*.toml)"))
        if path:
            self.save_recipe(str(path))

    def _on_open(self, _checked: bool = False) -> None:
        path = qt.QFileDialog.getOpenFileName(None, _("Open recipe"), "", _("Recipes (*.toml)"))
        if path:
            self.open_recipe(str(path))

    def save_recipe(self, path: str) -> None:
        """Write the recipe with the panel's changes to a file."""
        parameters = self._parameters
        if parameters is None or not path:
            return
        try:
            write_text(Path(path), recipe_to_toml(recipe_of(parameters, self._sources.load)))
        except DeepRegError as error:
            self._show_error(error)
        else:
            self._show_error(None)

    def open_recipe(self, path: str) -> None:
        """Use a recipe from a file."""
        if self._parameters is None or not path:
            return
        try:
            load_recipe(path)
        except DeepRegError as error:
            self._show_error(error)
        else:
            self._show_error(None)
            self._sources.allow(path)
            self._parameters.recipe = path

    def _deforms(self, recipe: str) -> bool:
        try:
            return self._sources.load(recipe).deformable.enabled
        except DeepRegError:
            return False


def _device_text(device: str) -> str:
    if not device:
        return _("Fastest available")
    if device == "cpu":
        return _("Processor")
    kind, _colon, number = device.partition(":")
    return f"{DEVICE_NAMES.get(kind, kind)} {number}".strip()
