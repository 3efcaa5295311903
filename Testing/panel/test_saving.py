"""Open report and Save results: the files that the command line writes, from two clicks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.errors import pack_error
from DeepRegLib.engine.files import FILES, files_of
from DeepRegLib.errors import DeepRegError
from DeepRegLib.image import read_image
from DeepRegLib.transforms import read_transform
from DeepRegLib.viewer import viewer_is_installed
from Testing.panel.nodes import segmentation
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import SOON, PlayedEngine


def make_files(opened: OpenedPanel, played: PlayedEngine) -> None:
    """Make the files that were asked for as the worker does, and wait until the panel has them."""
    order = played.orders[-1]
    played.worker.say(FILES.result_message(files_of(FILES.request_of(order)), order.id))
    wait(opened)


def wait(opened: OpenedPanel) -> None:
    saving = opened.widget.panel.saving
    assert opened.desktop.wait_until(lambda: not saving.working, SOON)
    opened.desktop.process_events()


def choose_folder(monkeypatch: pytest.MonkeyPatch, folder: Path | str) -> None:
    import qt  # a stand-in, which the harness puts there when it starts

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(folder))


def answer(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, yes: bool) -> list[str]:
    """Answer the panel's questions, and return a list that collects them."""
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return yes

    monkeypatch.setattr(opened.widget.panel.saving, "_ask", ask)
    return asked


def test_a_result_is_saved_as_the_command_line_saves_it(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened.parameters.movingSegmentation = segmentation()
    result = played.run()
    choose_folder(monkeypatch, tmp_path)
    opened.desktop.click(opened.ui.saveResultsButton)
    assert "Writing" in opened.ui.progressLabel.text
    assert not opened.ui.saveResultsButton.isEnabled()
    make_files(opened, played)
    names = {path.name for path in tmp_path.iterdir()}
    wanted = {"transform.h5", "inverse.h5", "warped.nii.gz", "warped_layer_1.nii.gz", "result.json"}
    assert wanted <= names
    assert str(tmp_path) in opened.ui.progressLabel.text
    assert opened.ui.saveResultsButton.isEnabled()
    np.testing.assert_array_equal(read_image(tmp_path / "warped.nii.gz").array, result.warped.array)
    point = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(
        read_transform(tmp_path / "transform.h5").apply_to_points(point), result.transform.apply_to_points(point)
    )
    table = json.loads((tmp_path / "result.json").read_text())
    assert table["verdict"]["level"] == "ok"
    assert set(table["files"].values()) == names


def test_an_earlier_result_is_replaced_only_after_a_question(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played.run()
    (tmp_path / "result.json").write_text('{"files": {}}')
    (tmp_path / "notes.txt").write_text("mine")
    choose_folder(monkeypatch, tmp_path)
    asked = answer(opened, monkeypatch, yes=False)
    count = len(played.orders)
    opened.desktop.click(opened.ui.saveResultsButton)
    assert len(played.orders) == count
    assert str(tmp_path) in asked[0]
    assert (tmp_path / "result.json").read_text() == '{"files": {}}'
    answer(opened, monkeypatch, yes=True)
    opened.desktop.click(opened.ui.saveResultsButton)
    make_files(opened, played)
    assert (tmp_path / "transform.h5").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_dialog_that_is_closed_saves_nothing(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.run()
    choose_folder(monkeypatch, "")
    count = len(played.orders)
    opened.desktop.click(opened.ui.saveResultsButton)
    assert len(played.orders) == count


def test_a_folder_that_cannot_be_written_is_told(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played.run()
    (tmp_path / "file").write_text("")
    choose_folder(monkeypatch, tmp_path / "file")
    opened.desktop.click(opened.ui.saveResultsButton)
    make_files(opened, played)
    assert "is a file, not a folder" in opened.message
    assert opened.ui.saveResultsButton.isEnabled()


def test_a_report_opens_from_a_temporary_folder(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("PIL")
    import qt

    pages: list[Path] = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: pages.append(Path(str(url.toLocalFile()))))
    played.run()
    opened.desktop.click(opened.ui.openReportButton)
    make_files(opened, played)
    page = pages[0]
    assert [each.name for each in pages] == ["report.html", "viewer.html"][: 1 + viewer_is_installed()]
    assert Path(slicer.app.temporaryPath) in page.parents
    assert "<html" in page.read_text(encoding="utf-8")


def test_an_engine_that_cannot_draw_reports_says_what_it_lacks(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.desktop.click(opened.ui.openReportButton)
    error = DeepRegError("The report needs Pillow.", "Install it.")
    played.worker.say(pack_error(error, played.orders[-1].id))
    wait(opened)
    assert "The report needs Pillow." in opened.message
    assert opened.ui.openReportButton.isEnabled()


def test_a_folder_without_a_report_says_why(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lacking(*_arguments: object) -> None:
        raise DeepRegError("Pillow is not installed.", "Install it.")

    monkeypatch.setattr("DeepRegLib.report.write_report", lacking)
    played.run()
    choose_folder(monkeypatch, tmp_path)
    opened.desktop.click(opened.ui.saveResultsButton)
    make_files(opened, played)
    assert "lacks jinja2 or Pillow" in opened.ui.progressLabel.text
    assert (tmp_path / "result.json").exists()


def test_the_buttons_wait_while_something_runs_and_are_off_without_a_result(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    assert opened.ui.openReportButton.isEnabled()
    played.request()
    assert not opened.ui.openReportButton.isVisible() or not opened.ui.openReportButton.isEnabled()
    played.deliver()
    assert opened.ui.openReportButton.isEnabled()
    opened.desktop.click(opened.ui.removeResultsButton)
    assert not opened.ui.saveResultsButton.isEnabled()


def test_a_closed_scene_ends_the_writing(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played.run()
    choose_folder(monkeypatch, tmp_path)
    opened.desktop.click(opened.ui.saveResultsButton)
    slicer.mrmlScene.Clear(0)
    wait(opened)
    assert list(tmp_path.iterdir()) == []
    assert opened.message == ""
