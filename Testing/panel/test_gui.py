"""The panel, clicked: the real module, scene, worker and registration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6", reason="PySide6 is not installed", exc_type=ImportError)

import slicer

from DeepRegLib.models import save_bundle
from DeepRegLib.networks import build_network
from DeepRegLib.panel.self_test import SHIFT_MM
from DeepRegLib.recipes import Search, load_recipe
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with
from Testing.desktop.running import Desktop
from Testing.models.tiny import MANIFEST, own_folder, tiny_bundle
from Testing.panel.conftest import MODULE
from Testing.panel.opened import OpenedPanel, to_moving

__all__ = ["own_folder"]
pytestmark = pytest.mark.slow

RAS_SHIFT = np.asarray(SHIFT_MM) * (-1, -1, 1)
CANCELS = 4
FEW_STEPS = replace(load_recipe("fast").deformable, voxels=30_000, shrink=(2, 1), iterations=(5, 5))
CANCEL_SECONDS = 3.0  # the benchmark holds it to one second; this machine may be busy
ROOT = Path(__file__).resolve().parents[2]

FIRST_LOOK = """
import sys, time
from pathlib import Path
from Testing.desktop import boot
desktop = boot()
start = time.process_time()
panel = desktop.load_module(Path("DeepReg/DeepReg.py")).panel
desktop.show(panel, (460, 900))
panel.enter()
print("torch" in sys.modules, time.process_time() - start)
desktop.close()
"""


@pytest.fixture(scope="module", autouse=True)
def one_engine() -> Iterator[None]:
    """Let the tests of this file share a worker, which takes longer to start than what most of them do."""
    yield
    from DeepRegLib.panel.engine import shared_engine

    shared_engine().close()


@pytest.fixture
def opened(desktop: Desktop) -> Iterator[OpenedPanel]:
    """Open the module as a user does, and leave its engine running at the end."""
    panel = OpenedPanel(desktop, MODULE)
    panel.logic.close = lambda: None  # what ends the engine when the module is unloaded
    yield panel
    panel.area.let_go()


def test_opening_the_panel_imports_no_torch_and_takes_no_time() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", FIRST_LOOK], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr
    torch, seconds = finished.stdout.split()[-2:]
    assert torch == "False"
    assert float(seconds) < 3  # of computing, half a second on a quiet machine


def test_two_loaded_volumes_need_one_click(opened: OpenedPanel, tmp_path: Path) -> None:
    fixed, moving = opened.load_pair()
    opened.use_quick_recipe(tmp_path)
    assert opened.parameters.fixedVolume is fixed
    assert opened.parameters.movingVolume is moving
    opened.parameters.wantInverse = True

    opened.press()
    assert opened.ui.registerButton.text == "Cancel"
    opened.wait_for_stage("Aligning")
    opened.wait_for_end()

    assert opened.message == ""
    assert "Looks right" in opened.verdict
    transform = slicer.mrmlScene.GetNodeByID(opened.results.transform)
    points = np.array([[-60.0, -60.0, 60.0], [-40.0, -70.0, 50.0]])
    np.testing.assert_allclose(to_moving(transform, points), points + RAS_SHIFT, atol=0.5)
    inverse = slicer.mrmlScene.GetNodeByID(opened.results.inverse)
    np.testing.assert_allclose(to_moving(inverse, points + RAS_SHIFT), points, atol=0.5)
    warped = slicer.util.arrayFromVolume(slicer.mrmlScene.GetNodeByID(opened.results.warped))
    inner = (slice(6, -6),) * 3
    assert np.corrcoef(warped[inner].ravel(), slicer.util.arrayFromVolume(fixed)[inner].ravel())[0, 1] > 0.97


def test_removing_the_results_leaves_what_was_there(opened: OpenedPanel, tmp_path: Path) -> None:
    opened.load_pair()
    opened.use_quick_recipe(tmp_path)
    opened.parameters.alignMoving = True
    before = node_ids()
    opened.press()
    opened.wait_for_end()
    assert node_ids() > before
    assert opened.parameters.movingVolume.GetParentTransformNode() is not None

    opened.desktop.click(opened.ui.removeResultsButton)

    assert node_ids() == before
    assert opened.parameters.movingVolume.GetParentTransformNode() is None
    assert opened.verdict == ""


def test_cancel_gives_the_panel_back_each_time(opened: OpenedPanel, tmp_path: Path) -> None:
    opened.load_pair()
    before = node_ids()
    seconds = []
    for _ in range(CANCELS):
        opened.press()
        opened.wait_for_stage("Searching")
        start = time.monotonic()
        opened.press()
        opened.wait_for_end(seconds=10)
        seconds.append(time.monotonic() - start)
        assert opened.ui.registerButton.text == "Register"
    assert max(seconds) < CANCEL_SECONDS, seconds
    assert node_ids() == before
    opened.use_quick_recipe(tmp_path)
    opened.press()
    opened.wait_for_end()
    assert opened.results is not None


def test_a_killed_engine_is_an_error_and_the_next_run_works(opened: OpenedPanel, tmp_path: Path) -> None:
    opened.load_pair()
    opened.press()
    opened.wait_for_stage("Searching")
    os.kill(opened.engine.worker.pid, signal.SIGKILL)
    opened.wait_for_end(seconds=10)
    assert "The engine ended unexpectedly" in opened.message
    assert opened.ui.registerButton.text == "Register"

    opened.use_quick_recipe(tmp_path)
    opened.press()
    opened.wait_for_end()
    assert opened.message == ""
    assert opened.results is not None


def test_the_second_run_starts_computing_at_once(opened: OpenedPanel, tmp_path: Path) -> None:
    opened.load_pair()
    opened.use_quick_recipe(tmp_path)
    opened.press()
    opened.wait_for_end()
    start = time.monotonic()
    opened.press()
    opened.wait_for_stage("Preparing", seconds=10)
    assert time.monotonic() - start < 1  # 0.2 s on a quiet machine; this one may be busy
    opened.wait_for_end()


def test_closing_the_scene_stops_the_run(opened: OpenedPanel) -> None:
    opened.load_pair()
    opened.press()
    opened.wait_for_stage("Searching")
    slicer.mrmlScene.Clear(0)
    opened.wait_for_end(seconds=10)
    assert nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE) == []
    assert opened.ui.registerButton.text == "Register"
    assert not opened.ui.registerButton.isEnabled()


def test_a_volume_deleted_meanwhile_does_not_matter(opened: OpenedPanel, tmp_path: Path) -> None:
    _fixed, moving = opened.load_pair()
    opened.use_quick_recipe(tmp_path)
    opened.press()
    slicer.mrmlScene.RemoveNode(moving)
    opened.wait_for_end()
    assert opened.message == ""
    assert slicer.mrmlScene.GetNodeByID(opened.results.warped) is not None


def test_the_window_stays_alive(opened: OpenedPanel, tmp_path: Path) -> None:
    from PySide6.QtCore import QTimer

    opened.engine.close()  # starting it must not hold the window up either
    opened.load_pair()
    opened.use_quick_recipe(tmp_path)
    ticks = [time.monotonic()]
    timer = QTimer()
    timer.setInterval(10)
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start()
    opened.press()
    opened.wait_for_end()
    timer.stop()
    gaps = np.diff(ticks)
    assert np.sort(gaps)[-3] < 1, np.sort(gaps)[-5:]  # the benchmark says 0.05 s; this machine may be busy


def test_the_self_test_names_the_device(opened: OpenedPanel) -> None:
    opened.ui.environmentButton.collapsed = False
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.selfTestButton)
    said = lambda: str(opened.ui.environmentStatusLabel.text)  # noqa: E731 - read again and again
    assert opened.desktop.wait_until(lambda: "passed" in said() or "failed" in said(), 120)
    assert "Self-test passed" in said()
    assert "cpu" in said() or "cuda" in said() or "mps" in said()


def test_a_script_waits_for_the_result(opened: OpenedPanel, tmp_path: Path) -> None:
    from DeepRegLib.panel.self_test import example_recipe

    fixed, moving = opened.load_pair()
    stages: list[str] = []
    results = opened.loaded.python.DeepRegLogic().register(
        fixed, moving, recipe=example_recipe(), onProgress=lambda stage, *_rest: stages.append(stage)
    )
    assert slicer.mrmlScene.GetNodeByID(results.transform).IsLinear()
    assert stages[-1] == "judge"


def test_the_engine_finds_the_models_of_the_panel_and_the_uncertainty_comes_back(
    own_folder: Path, opened: OpenedPanel, tmp_path: Path
) -> None:
    arguments = {"channels": [8, 8]}
    network = build_network("pyramid", arguments)
    manifest = replace(MANIFEST, architecture="pyramid", arguments=arguments)
    save_bundle(own_folder / "tiny", manifest, network.state_dict())
    tiny_bundle(own_folder / "unknown", name="unknown")
    opened.engine.close()  # the next one is started where these models are
    opened.load_pair()
    opened.use_recipe(tmp_path, replace(load_recipe("fast"), search=Search(enabled=False), deformable=FEW_STEPS))
    opened.desktop.choose(opened.ui.modelSelector, "unknown")
    opened.press()
    opened.wait_for_end()
    assert "The model unknown cannot be built. There is no network 'shift'." in opened.message

    opened.desktop.choose(opened.ui.modelSelector, "tiny")
    opened.ui.outputsButton.collapsed = False
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.wantUncertaintyCheckBox)
    opened.press()
    opened.wait_for_end()
    assert opened.message == ""
    assert "Model: tiny 1.2" in opened.verdict
    uncertainty = slicer.util.arrayFromVolume(slicer.mrmlScene.GetNodeByID(opened.results.uncertainty))
    assert uncertainty.shape == slicer.util.arrayFromVolume(opened.parameters.fixedVolume).shape
    assert np.all(uncertainty >= 0)
    assert uncertainty.max() > 0
    opened.engine.close()  # it knows folders that are about to go


def node_ids() -> set[str]:
    scene = slicer.mrmlScene
    nodes: list[Any] = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return {node.GetID() for node in nodes if not node.IsA("vtkMRMLSubjectHierarchyNode")}
