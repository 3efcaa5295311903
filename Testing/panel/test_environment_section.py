"""Environment: where it is computed, how PyTorch comes there, and what the engine reports."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.transport import WORKER, ssh_command
from DeepRegLib.panel.settings import EngineSettings, load_settings
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine

CONTROLS = {
    "Slicer's Python": {"installTorchButton", "wheelFolderLabel", "wheelFolderEdit", "installOfflineButton"},
    "Another Python": {"pythonLabel", "pythonEdit"},
    "Another computer (ssh)": {"hostLabel", "hostEdit", "remotePythonLabel", "remotePythonEdit"},
}
ALL_CONTROLS = set().union(*CONTROLS.values())


@pytest.fixture(autouse=True)
def environment_open(opened: OpenedPanel) -> None:
    opened.ui.environmentButton.collapsed = False
    opened.desktop.process_events()


def settings() -> EngineSettings:
    import qt

    return load_settings(qt.QSettings())


def status(opened: OpenedPanel) -> str:
    return str(opened.ui.environmentStatusLabel.text)


# --- the choice


@pytest.mark.parametrize("kind", list(CONTROLS))
def test_each_kind_shows_its_own_controls(opened: OpenedPanel, kind: str) -> None:
    opened.desktop.choose(opened.ui.engineSelector, kind)
    assert {name for name in ALL_CONTROLS if getattr(opened.ui, name).isVisible()} == CONTROLS[kind]


def test_the_choice_is_kept_for_the_next_time(opened: OpenedPanel, tmp_path: Path) -> None:
    opened.desktop.choose(opened.ui.engineSelector, "Another computer (ssh)")
    for widget, text in ((opened.ui.hostEdit, "me@cluster"), (opened.ui.remotePythonEdit, "~/env/bin/python")):
        widget.setText(text)
        widget.editingFinished.emit()
    opened.ui.pythonEdit.currentPath = str(tmp_path / "python")
    opened.ui.wheelFolderEdit.currentPath = str(tmp_path)
    expected = EngineSettings("ssh", str(tmp_path / "python"), "me@cluster", "~/env/bin/python", str(tmp_path))
    assert settings() == expected

    opened.window.reload()
    ui = opened.loaded.widget.ui
    assert ui.engineSelector.currentText == "Another computer (ssh)"
    assert (ui.hostEdit.text, ui.remotePythonEdit.text) == ("me@cluster", "~/env/bin/python")
    assert (ui.pythonEdit.currentPath, ui.wheelFolderEdit.currentPath) == (str(tmp_path / "python"), str(tmp_path))


def test_an_unknown_kind_in_the_settings_is_slicer_s_python(opened: OpenedPanel) -> None:
    slicer.app.settings().setValue("DeepReg/kind", "cloud")
    assert settings().kind == "slicer"


def test_another_choice_ends_the_worker_and_the_next_run_starts_another(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    assert "The engine runs" in status(opened)
    opened.desktop.choose(opened.ui.engineSelector, "Another computer (ssh)")
    assert not played.workers[0].running
    assert status(opened) == "The engine starts with the first registration."
    played.run()
    assert len(played.workers) == 2


def test_another_choice_in_mid_run_gives_the_panel_back(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    opened.desktop.choose(opened.ui.engineSelector, "Another computer (ssh)")
    assert opened.ui.registerButton.text == "Register"
    assert not opened.ui.progressBar.isVisible()
    assert len(played.workers) == 1
    played.run()
    assert len(played.workers) == 2


def test_editing_without_a_change_leaves_the_worker(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.ui.hostEdit.editingFinished.emit()
    assert played.worker.running


def test_another_choice_takes_an_old_complaint_away(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.choose(opened.ui.engineSelector, "Another Python")
    opened.engine.client._make_transport = opened.engine._make_transport
    opened.press()
    assert "There is no Python at (nothing chosen)." in opened.message
    opened.desktop.choose(opened.ui.engineSelector, "Slicer's Python")
    assert opened.message == ""


# --- the command


def test_slicer_s_own_python_runs_the_worker(opened: OpenedPanel) -> None:
    from DeepRegLib.panel.commands import worker_command, worker_environment

    assert worker_command(EngineSettings()) == [sys.executable, str(WORKER)]
    assert worker_environment(EngineSettings()) is None


def test_inside_slicer_the_launcher_beside_it_runs_the_worker(
    opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from DeepRegLib.panel.commands import slicer_python

    monkeypatch.setattr(sys, "executable", str(tmp_path / "SlicerApp-real"))
    monkeypatch.setattr(type(slicer.app), "slicerHome", str(tmp_path), raising=False)
    assert Path(slicer_python()).parent == tmp_path / "bin"
    assert "PythonSlicer" in slicer_python()


def test_another_python_runs_the_worker_without_slicer_s_variables(
    opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DeepRegLib.panel.commands import worker_command, worker_environment

    monkeypatch.setenv("PYTHONHOME", "/slicer/lib/Python")
    monkeypatch.setenv("PYTHONPATH", "/slicer/bin")
    chosen = EngineSettings("python", python=sys.executable)
    assert worker_command(chosen) == [sys.executable, str(WORKER)]
    environment = worker_environment(chosen)
    assert not {"PYTHONHOME", "PYTHONPATH"} & set(environment)
    assert environment["PATH"] == os.environ["PATH"]


def test_ssh_runs_the_worker_elsewhere(opened: OpenedPanel) -> None:
    from DeepRegLib.panel.commands import worker_command

    assert worker_command(EngineSettings("ssh", host=" me@cluster ")) == ssh_command("me@cluster", "python3")
    chosen = EngineSettings("ssh", host="cluster", remote_python="/opt/python")
    assert worker_command(chosen) == ssh_command("cluster", "/opt/python")


# --- PyTorch


def pretend_pytorch_utils(monkeypatch: pytest.MonkeyPatch, install: Callable[..., Any]) -> list[dict[str, Any]]:
    """Put an extension in place whose logic installs as given; return what it is asked for."""
    asked: list[dict[str, Any]] = []

    class PyTorchUtilsLogic:
        def installTorch(self, **options: Any) -> Any:  # noqa: N802 - the extension's name
            asked.append(options)
            return install()

    module = ModuleType("PyTorchUtils")
    module.__spec__ = importlib.machinery.ModuleSpec("PyTorchUtils", None)
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return asked


def without_torch(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Take PyTorch away; return what brings it back."""
    versions = [""]
    monkeypatch.setattr("DeepRegLib.panel.environment_section.torch_version", lambda: versions[0])

    def install() -> None:
        versions[0] = "9.9"

    return install


def test_the_version_of_pytorch_is_told_without_importing_it(opened: OpenedPanel) -> None:
    assert f"PyTorch {importlib.metadata.version('torch')} is installed." in status(opened)


def test_a_left_over_folder_is_no_pytorch(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from DeepRegLib.panel.torch_setup import torch_version

    (tmp_path / "torch").mkdir()
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert torch_version() == ""


def test_pytorch_is_installed_by_its_extension(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = without_torch(monkeypatch)
    asked = pretend_pytorch_utils(monkeypatch, lambda: (install(), "torch")[1])
    opened.press()
    assert "PyTorch is not installed" in opened.message
    opened.desktop.click(opened.ui.installTorchButton)
    assert asked == [{"askConfirmation": True}]
    assert status(opened) == "PyTorch 9.9 is installed. The engine starts with the first registration."
    assert opened.message == ""
    played.run()


def test_the_worker_is_restarted_for_another_pytorch(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.run()
    pretend_pytorch_utils(monkeypatch, lambda: "torch")
    opened.desktop.click(opened.ui.installTorchButton)
    assert not played.worker.running


def test_what_reads_models_is_installed_with_pytorch_where_it_is_missing(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[str] = []
    for module in ("environment_section", "torch_setup"):
        monkeypatch.setattr(f"DeepRegLib.panel.{module}.safetensors_version", lambda: "".join(there))
    asked: list[list[str]] = []

    def pip_install(arguments: list[str]) -> None:
        asked.append(arguments)
        if len(asked) == 1:
            raise RuntimeError("no network")
        there.append("0.5")

    monkeypatch.setattr(slicer.util, "pip_install", pip_install, raising=False)
    pretend_pytorch_utils(monkeypatch, lambda: "torch")
    opened.press()
    assert "safetensors is not installed" in opened.message
    opened.desktop.click(opened.ui.installTorchButton)
    assert "safetensors could not be installed: no network" in status(opened)
    opened.desktop.click(opened.ui.installTorchButton)
    assert "is installed. The engine starts" in status(opened)
    assert [arguments[-1] for arguments in asked] == ["safetensors"] * 2
    played.run()


def test_a_refused_installation_is_told(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_pytorch_utils(monkeypatch, lambda: None)
    opened.desktop.click(opened.ui.installTorchButton)
    assert "PyTorch was not installed." in status(opened)


def test_a_failed_installation_is_told(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("pip said a lot\nNo matching distribution found for torch")

    pretend_pytorch_utils(monkeypatch, fail)
    opened.desktop.click(opened.ui.installTorchButton)
    assert "PyTorch could not be installed: No matching distribution found for torch" in status(opened)


def test_the_missing_extension_is_told(opened: OpenedPanel) -> None:
    opened.desktop.click(opened.ui.installTorchButton)
    assert "The PyTorch extension is not installed in Slicer." in status(opened)
    assert "Extensions Manager" in status(opened)


def test_a_folder_without_wheels_is_told(opened: OpenedPanel, tmp_path: Path) -> None:
    opened.desktop.click(opened.ui.installOfflineButton)
    assert "There is no wheel of PyTorch in (no folder chosen)." in status(opened)
    opened.ui.wheelFolderEdit.currentPath = str(tmp_path)
    opened.desktop.click(opened.ui.installOfflineButton)
    assert f"There is no wheel of PyTorch in {tmp_path}." in status(opened)
    (tmp_path / "torch-2.9.0-cp311-cp311-linux_x86_64.whl").touch()
    opened.desktop.click(opened.ui.installOfflineButton)
    assert f"There is no wheel of safetensors in {tmp_path}." in status(opened)


def test_pip_uses_the_folder_alone_and_keeps_slicer_s_packages(
    opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[list[str], str]] = []

    def pip_install(arguments: list[str]) -> None:
        constraints = Path(arguments[arguments.index("--constraint") + 1])
        calls.append((arguments, constraints.read_text(encoding="utf-8")))

    monkeypatch.setattr(slicer.util, "pip_install", pip_install, raising=False)
    (tmp_path / "torch-2.9.0-cp311-cp311-linux_x86_64.whl").touch()
    (tmp_path / "safetensors-0.5.0-cp38-abi3-linux_x86_64.whl").touch()
    opened.ui.wheelFolderEdit.currentPath = str(tmp_path)
    opened.desktop.click(opened.ui.installOfflineButton)
    ((arguments, constraints),) = calls
    assert "--no-index" in arguments
    assert arguments[arguments.index("--find-links") + 1] == str(tmp_path)
    assert arguments[-2:] == ["safetensors", "torch"]
    for name in ("numpy", "SimpleITK", "vtk"):
        assert f"{name}=={importlib.metadata.version(name)}" in constraints.splitlines()
    assert "is installed" in status(opened)


def test_a_failing_pip_is_told(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pip_install(_arguments: list[str]) -> None:
        raise RuntimeError("ResolutionImpossible")

    monkeypatch.setattr(slicer.util, "pip_install", pip_install, raising=False)
    (tmp_path / "torch-2.9.0-cp39-cp39-win32.whl").touch()
    (tmp_path / "safetensors-0.5.0-cp38-abi3-win32.whl").touch()
    opened.ui.wheelFolderEdit.currentPath = str(tmp_path)
    opened.desktop.click(opened.ui.installOfflineButton)
    assert f"PyTorch could not be installed from {tmp_path}: ResolutionImpossible" in status(opened)


# --- self-test and log


def test_the_self_test_judges_the_shift(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.click(opened.ui.selfTestButton)
    assert not opened.ui.selfTestButton.isEnabled()
    assert opened.desktop.wait_until(lambda: bool(played.orders), 10)
    played.answer()
    assert opened.desktop.wait_until(lambda: "Self-test passed in" in status(opened), 10)
    assert "0.00 mm off" in status(opened)
    assert opened.ui.selfTestButton.isEnabled()


def test_the_self_test_says_what_fails(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.click(opened.ui.selfTestButton)
    assert opened.desktop.wait_until(lambda: bool(played.orders), 10)
    played.worker.log("Segmentation fault\n")
    played.worker.die(-11)
    assert opened.desktop.wait_until(lambda: "Self-test failed: The engine ended" in status(opened), 10)
    assert opened.ui.selfTestButton.isEnabled()
    played.run()


def test_the_self_test_without_pytorch_says_so(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_torch(monkeypatch)
    opened.desktop.click(opened.ui.selfTestButton)
    assert "PyTorch is not installed in Slicer's Python." in status(opened)
    assert played.workers == []


def test_the_self_test_waits_for_no_registration(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    opened.desktop.click(opened.ui.selfTestButton)
    assert status(opened) == "The engine is busy with a registration."
    assert len(played.orders) == 1
    played.deliver()


def test_the_log_is_shown_and_copied(opened: OpenedPanel, played: PlayedEngine) -> None:
    import qt

    opened.engine.log.clear()
    played.request()
    played.worker.log("first line\nsecond ")
    played.worker.log("line\n")
    assert opened.desktop.wait_until(lambda: "second line" in opened.ui.logView.toPlainText(), 10)
    assert opened.ui.logView.toPlainText().splitlines()[-2:] == ["first line", "second line"]
    opened.desktop.click(opened.ui.copyLogButton)
    assert qt.QApplication.clipboard().text() == "first line\nsecond line"
    played.deliver()


def test_what_is_installed_is_looked_up_when_the_panel_is_opened_not_at_each_change(
    opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr("DeepRegLib.panel.environment_section.torch_version", lambda: looked.append("9.9") or "9.9")
    for seed in range(3):
        opened.parameters.seed = seed + 1
        opened.desktop.process_events()
    assert looked == []
    opened.window.exit()
    opened.window.enter()
    assert looked == ["9.9"]
    assert "PyTorch 9.9 is installed" in status(opened)
