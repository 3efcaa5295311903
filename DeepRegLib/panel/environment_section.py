"""Environment: which Python computes, PyTorch in it, the self-test and the engine's log."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.self_test import LARGEST_ERROR_MM, SHIFT_MM, example_pair, example_recipe
from DeepRegLib.panel.settings import PYTHON, SLICER, SSH, EngineSettings, Store, load_settings, save_settings
from DeepRegLib.panel.torch_setup import install_torch, install_torch_offline, safetensors_version, torch_version
from DeepRegLib.request import Request
from DeepRegLib.result import Registration


class EnvironmentSection:
    """Where the engine runs.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    engine
        What it sets up.
    store
        Slicer's settings.
    changed
        Called when something changed that other parts of the panel show.
    """

    def __init__(self, ui: SimpleNamespace, engine: Engine, store: Store, changed: Callable[[], None]) -> None:
        self._ui = ui
        self._engine = engine
        self._store = store
        self._changed = changed
        self._status = ""
        self._versions: dict[str, str] = {}  # of packages in Slicer's Python; looked up anew when empty
        settings = load_settings(store)
        for kind, text in (
            (SLICER, _("Slicer's Python")),
            (PYTHON, _("Another Python")),
            (SSH, _("Another computer (ssh)")),
        ):
            ui.engineSelector.addItem(text, kind)
        ui.engineSelector.setCurrentIndex(ui.engineSelector.findData(settings.kind))
        ui.pythonEdit.currentPath = settings.python
        ui.hostEdit.text = settings.host
        ui.remotePythonEdit.text = settings.remote_python
        ui.wheelFolderEdit.currentPath = settings.wheel_folder
        self._connect()
        for line in engine.log:
            ui.logView.appendPlainText(line)
        engine.listen(self._show_line)
        self.refresh()

    def close(self) -> None:
        """Leave the engine, which outlives the panel."""
        self._engine.ignore(self._show_line)

    def problem(self) -> DeepRegError | None:
        """Return why the engine cannot run as it is set, or None; opens the section then."""
        self._versions = {}
        missing = self._missing() if load_settings(self._store).kind == SLICER else ""
        if not missing:
            return None
        self._ui.environmentButton.collapsed = False
        return DeepRegError(
            _("{package} is not installed in Slicer's Python.").format(package=missing),
            _("Press Install PyTorch under Environment, or choose another Python there."),
        )

    def look_again(self) -> None:
        """Look which packages there are, which takes too long for each change of the panel."""
        self._versions = {}
        self.refresh()

    def refresh(self) -> None:
        """Show the controls of the chosen kind, and the engine's state."""
        kind = load_settings(self._store).kind
        for names, shown in (
            (("installTorchButton", "wheelFolderLabel", "wheelFolderEdit", "installOfflineButton"), kind == SLICER),
            (("pythonLabel", "pythonEdit"), kind == PYTHON),
            (("hostLabel", "hostEdit", "remotePythonLabel", "remotePythonEdit"), kind == SSH),
        ):
            for name in names:
                getattr(self._ui, name).visible = shown
        self._ui.environmentStatusLabel.text = self._status or self._describe()

    def _show_line(self, line: str) -> None:
        self._ui.logView.appendPlainText(line)

    def _connect(self) -> None:
        ui = self._ui
        ui.engineSelector.connect("currentIndexChanged(int)", self._on_settings_changed)
        ui.pythonEdit.connect("currentPathChanged(QString)", self._on_settings_changed)
        ui.hostEdit.connect("editingFinished()", self._on_settings_changed)
        ui.remotePythonEdit.connect("editingFinished()", self._on_settings_changed)
        ui.wheelFolderEdit.connect("currentPathChanged(QString)", self._on_settings_changed)
        ui.installTorchButton.connect("clicked(bool)", self._on_install)
        ui.installOfflineButton.connect("clicked(bool)", self._on_install_offline)
        ui.selfTestButton.connect("clicked(bool)", self._on_self_test)
        ui.copyLogButton.connect("clicked(bool)", self._on_copy_log)

    def _describe(self) -> str:
        worker = self._engine.worker
        if worker is not None:
            return _("The engine runs: PyTorch {torch}, {devices}, Python {python}.").format(
                torch=worker.versions.get("torch", "?"),
                devices=", ".join(worker.devices),
                python=worker.versions.get("python", "?"),
            )
        if load_settings(self._store).kind != SLICER:
            return _("The engine starts with the first registration.")
        missing = self._missing()
        if missing:
            return _("{package} is not installed in Slicer's Python.").format(package=missing)
        return _("PyTorch {version} is installed. The engine starts with the first registration.").format(
            version=self._installed()["PyTorch"]
        )

    def _missing(self) -> str:
        """Return the first of the packages that Slicer's Python lacks; empty if none is missing."""
        return next((name for name, version in self._installed().items() if not version), "")

    def _installed(self) -> dict[str, str]:
        """Return the version by name of each package that the engine needs, empty where it is missing."""
        if not self._versions:
            self._versions = {"PyTorch": torch_version(), "safetensors": safetensors_version()}
        return self._versions

    def _on_settings_changed(self, _value: object = None) -> None:
        ui = self._ui
        settings = EngineSettings(
            kind=str(ui.engineSelector.itemData(ui.engineSelector.currentIndex)),
            python=str(ui.pythonEdit.currentPath),
            host=str(ui.hostEdit.text),
            remote_python=str(ui.remotePythonEdit.text),
            wheel_folder=str(ui.wheelFolderEdit.currentPath),
        )
        if settings == load_settings(self._store):
            return
        save_settings(self._store, settings)
        self._engine.restart()
        self._show_status("")

    def _on_install(self, _checked: bool = False) -> None:
        self._install(install_torch)

    def _on_install_offline(self, _checked: bool = False) -> None:
        self._install(lambda: install_torch_offline(load_settings(self._store).wheel_folder))

    def _install(self, step: Callable[[], None]) -> None:
        self._show_status(_("Installing PyTorch…"))
        slicer.app.processEvents()
        try:
            step()
        except DeepRegError as error:
            self._show_status(str(error))
        else:
            self._engine.restart()
            self._show_status("")

    def _on_self_test(self, _checked: bool = False) -> None:
        problem = self.problem()
        if problem is not None or self._engine.busy:
            self._show_status(str(problem) if problem is not None else _("The engine is busy with a registration."))
            return
        fixed, moving = example_pair()
        clock = qt.QElapsedTimer()
        clock.start()
        self._ui.selfTestButton.enabled = False
        self._show_status(_("Self-test: starting the engine…"))

        def done(result: Registration) -> None:
            self._finish_self_test(_judged(result, clock.elapsed() / 1000))

        self._engine.submit(
            REGISTER,
            Request(fixed, moving, example_recipe()),
            on_progress=lambda *_progress: None,
            on_result=done,
            on_error=lambda error: self._finish_self_test(_("Self-test failed: {error}").format(error=error)),
        )

    def _finish_self_test(self, text: str) -> None:
        self._ui.selfTestButton.enabled = True
        self._show_status(f"{text} {self._describe()}")

    def _show_status(self, text: str) -> None:
        self._status = text
        self.look_again()
        self._changed()

    def _on_copy_log(self, _checked: bool = False) -> None:
        qt.QApplication.clipboard().setText("\n".join(self._engine.log))


def _judged(result: Registration, seconds: float) -> str:
    corners = result.fixed.geometry.corners() * 0.5 + result.fixed.geometry.centre * 0.5
    error = float(np.max(np.linalg.norm(result.transform.apply_to_points(corners) - corners - SHIFT_MM, axis=-1)))
    if error > LARGEST_ERROR_MM:
        return _("Self-test failed: the result is {error:.1f} mm off.").format(error=error)
    device = str(result.provenance.get("device", "?"))
    return _("Self-test passed in {seconds:.1f} s on {device}, {error:.2f} mm off.").format(
        seconds=seconds, device=device, error=error
    )
