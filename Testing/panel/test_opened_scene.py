"""A result of a scene that was saved and opened again can be saved and improved, after it was judged anew."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.files import FILES, ResultFiles
from DeepRegLib.engine.restoring import RESTORE
from DeepRegLib.record import Restoring
from DeepRegLib.result import Registration, Verdict
from DeepRegLib.scene.nodes import RECORD_ATTRIBUTE
from Testing.panel.nodes import segmentation
from Testing.panel.opened import OpenedPanel, to_moving
from Testing.panel.played import SOON, PlayedEngine, shifted
from Testing.panel.test_repair import END, RAS, START, answer_improvement, draw
from Testing.panel.test_saving import choose_folder

PROBE = START + np.array([[0.0, 0.0, 0.0], [12.0, -8.0, 5.0]])


@pytest.fixture
def reopened(opened: OpenedPanel, played: PlayedEngine, tmp_path: Path) -> Registration:
    """Save a scene with a result, close it and open it again; return the result."""
    opened.parameters.movingSegmentation = segmentation("plan")
    opened.parameters.wantInverse = True
    result = played.run()
    assert slicer.util.saveScene(str(tmp_path / "case.mrb"))
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    slicer.util.loadScene(str(tmp_path / "case.mrb"))
    opened.desktop.process_events()
    return result


def transform() -> Any:
    return slicer.mrmlScene.GetFirstNodeByName("self-test moving transform")


def judge_anew(opened: OpenedPanel, played: PlayedEngine) -> Restoring:
    """Answer what was asked for as the engine does, and return what was asked for."""
    order, run = played.orders[-1], opened.widget.panel.registration.run
    asked = RESTORE.request_of(order)
    result = replace(
        shifted(asked.request), transform=asked.transform, verdict=Verdict("check", ("Judged anew.",)), jacobian=None
    )
    played.worker.say(RESTORE.result_message(result, order.id))
    assert opened.desktop.wait_until(lambda: run.finished, SOON)
    return asked


def save(opened: OpenedPanel, played: PlayedEngine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose_folder(monkeypatch, folder)
    count = len(played.orders)
    opened.desktop.click(opened.ui.saveResultsButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) > count, SOON), opened.message


def test_it_can_be_saved_after_the_engine_has_judged_it_anew(
    opened: OpenedPanel, played: PlayedEngine, reopened: Registration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "As saved with the scene" in opened.verdict
    before = opened.ui.compareSelector.currentText
    save(opened, played, tmp_path / "out", monkeypatch)
    asked = judge_anew(opened, played)
    assert asked.record.provenance == reopened.provenance
    assert (asked.request.recipe, asked.request.device) == (reopened.recipe, None)
    points = asked.request.fixed.geometry.corners()
    for name in ("transform", "inverse"):
        expected = getattr(reopened, name).apply_to_points(points)
        np.testing.assert_allclose(getattr(asked, name).apply_to_points(points), expected, atol=1e-4)
    assert len(asked.request.extras.moving_layers) == len(reopened.warped_layers)
    assert opened.desktop.wait_until(lambda: played.orders[-1].content["task"] == "files", SOON)
    assert "Judged anew." in opened.verdict
    assert "As saved with the scene" not in opened.verdict
    assert opened.ui.compareSelector.currentText == before
    order = played.orders[-1]
    assert FILES.request_of(order).registration.verdict.reasons == ("Judged anew.",)
    files = ResultFiles(("result.json",), (np.frombuffer(b"{}", dtype=np.uint8),))
    played.worker.say(FILES.result_message(files, order.id))
    assert opened.desktop.wait_until(lambda: (tmp_path / "out" / "result.json").is_file(), SOON)


def test_it_can_be_improved_in_its_nodes_and_that_undone(
    opened: OpenedPanel, played: PlayedEngine, reopened: Registration
) -> None:
    line = draw(opened, START, END)
    assert line is opened.parameters.repairMarkups
    count = len(played.orders)
    opened.desktop.click(opened.ui.improveButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) > count, SOON), opened.message
    judge_anew(opened, played)
    assert opened.desktop.wait_until(lambda: played.orders[-1].content["task"] == "improve", SOON), opened.message
    former = opened.widget.panel.registration.result.results.ids
    assert set(former) == {"transform", "inverse", "warped", "segmentation", "table"}
    before = to_moving(transform(), PROBE)
    asked = answer_improvement(opened, played)
    np.testing.assert_allclose(asked.correction.wanted, [END * RAS], atol=1e-6)
    assert asked.decisions == reopened.decisions
    assert opened.results.ids == former
    assert not np.allclose(to_moving(transform(), PROBE), before)
    opened.desktop.click(opened.ui.undoImproveButton)
    assert opened.results.ids == former
    np.testing.assert_allclose(to_moving(transform(), PROBE), before, atol=1e-6)
    assert opened.parameters.verdictReasons[0] == "Judged anew."


def test_an_inverse_that_is_not_in_the_scene_is_left_to_the_engine(
    opened: OpenedPanel, played: PlayedEngine, reopened: Registration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByName("self-test moving inverse transform"))
    save(opened, played, tmp_path / "out", monkeypatch)
    assert RESTORE.request_of(played.orders[-1]).inverse is None


def missing_record(_opened: OpenedPanel) -> str:
    transform().SetAttribute(RECORD_ATTRIBUTE, None)
    return "The scene does not say how the result self-test moving transform was made"


def damaged_record(_opened: OpenedPanel) -> str:
    transform().SetAttribute(RECORD_ATTRIBUTE, '{"recipe": 3}')
    return "What the scene says of the result self-test moving transform is damaged"


def other_scans(opened: OpenedPanel) -> str:
    parameters = opened.parameters
    parameters.fixedVolume, parameters.movingVolume = parameters.movingVolume, parameters.fixedVolume
    return "Choose self-test fixed as fixed and self-test moving as moving volume."


@pytest.mark.parametrize("spoil", [missing_record, damaged_record, other_scans])
def test_what_is_missing_is_said(
    spoil: Any,
    opened: OpenedPanel,
    played: PlayedEngine,
    reopened: Registration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = spoil(opened)
    opened.desktop.process_events()
    count = len(played.orders)
    choose_folder(monkeypatch, tmp_path / "out")
    opened.desktop.click(opened.ui.saveResultsButton)
    assert words in opened.message
    assert len(played.orders) == count
    assert not (tmp_path / "out").exists()


def test_the_record_that_a_scene_keeps_names_no_folder(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingVolume.SetName("/clinic/Smith John/moving")
    played.run()
    (node,) = [n for n in slicer.util.getNodesByClass("vtkMRMLTransformNode") if n.GetAttribute(RECORD_ATTRIBUTE)][:1]
    assert "clinic" not in node.GetAttribute(RECORD_ATTRIBUTE)
    assert json.loads(node.GetAttribute(RECORD_ATTRIBUTE))["recipe"]["name"]
