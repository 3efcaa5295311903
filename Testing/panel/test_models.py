"""Models in the panel: what is listed, what is told, how one is added, and what the engine is asked for."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.recipes import load_recipe, recipe_to_toml, with_model
from Testing.models.tiny import own_folder, tiny_bundle
from Testing.panel.nodes import all_ids
from Testing.panel.opened import OpenedPanel, tip_of
from Testing.panel.played import PlayedEngine

__all__ = ["own_folder"]

NO_MODEL = "No model"


@pytest.fixture
def bundles(own_folder: Path, tmp_path: Path) -> Path:
    """Put one model beside the library, and three into the user's folder, of which one can register; return that."""
    tiny_bundle(tmp_path / "shipped" / "brain", name="brain", version="3.0", intended_use="Heads.")
    tiny_bundle(own_folder / "tiny")
    tiny_bundle(own_folder / "cut", name="cut").weights.unlink()
    tiny_bundle(own_folder / "looks", name="looks", task="features")
    return own_folder


def reopen(opened: OpenedPanel) -> None:
    """Leave the module and come back."""
    opened.window.exit()
    opened.window.enter()
    opened.desktop.process_events()


def rows(opened: OpenedPanel) -> list[str]:
    selector = opened.ui.modelSelector
    return [selector.itemText(row) for row in range(selector.count)]


def recipes_own() -> str:
    return f"{load_recipe('auto').model.name or 'no model'} (by recipe)"


def note(opened: OpenedPanel) -> str:
    label = opened.ui.modelNoteLabel
    return str(label.text) if label.isVisible() else ""


def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return where message boxes leave their text."""
    texts: list[str] = []
    monkeypatch.setattr(slicer.util, "infoDisplay", lambda text, **_options: texts.append(text))
    return texts


def answer(monkeypatch: pytest.MonkeyPatch, folder: object) -> None:
    """Let the next question for a folder be answered."""
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_arguments: str(folder))


# --- what is listed


def test_models_that_can_register_are_listed_after_what_the_recipe_says(bundles: Path, opened: OpenedPanel) -> None:
    import qt

    assert rows(opened) == [recipes_own(), NO_MODEL, "brain", "tiny"]
    tips = [opened.ui.modelSelector.itemData(row, qt.Qt.ToolTipRole) for row in (2, 3)]
    megabytes = sum(path.stat().st_size for path in (bundles / "tiny").iterdir()) / 1e6
    described = [f"version {version} · for registration · CC0 · {megabytes:.1f} MB" for version in ("3.0", "1.2")]
    assert tips == [f"<p>{text}</p>" for text in described]


def test_a_model_that_cannot_be_used_is_told_and_not_listed(bundles: Path, opened: OpenedPanel) -> None:
    assert "The model cut cannot be used. There is no weights.safetensors in" in note(opened)
    assert "The model looks cannot" not in note(opened)
    (bundles / "brain").mkdir()
    (bundles / "brain" / "model.json").write_text("{", encoding="utf-8")
    reopen(opened)
    assert rows(opened)[2:] == ["brain", "tiny"]
    assert "is not JSON" in note(opened)


def test_a_computer_without_models_offers_none(own_folder: Path, opened: OpenedPanel) -> None:
    assert rows(opened) == [recipes_own(), NO_MODEL]
    opened.desktop.choose(opened.ui.modelSelector, NO_MODEL)
    assert note(opened) == ""
    assert not opened.ui.modelInfoButton.isEnabled()


def test_a_model_that_appears_meanwhile_is_listed_when_the_panel_is_opened_again(
    bundles: Path, opened: OpenedPanel
) -> None:
    opened.desktop.choose(opened.ui.modelSelector, "tiny")
    tiny_bundle(bundles / "another", name="another")
    reopen(opened)
    assert rows(opened)[2:] == ["brain", "another", "tiny"]
    assert opened.ui.modelSelector.currentText == "tiny"


# --- what is asked for


@pytest.mark.parametrize(("row", "name"), [("brain", "brain"), ("tiny", "tiny"), (NO_MODEL, "")])
def test_the_engine_is_asked_for_the_chosen_model(
    bundles: Path, opened: OpenedPanel, played: PlayedEngine, row: str, name: str
) -> None:
    opened.desktop.choose(opened.ui.modelSelector, row)
    model = played.request().recipe.model
    assert (model.name, model.uncertainty) == (name, False)


def test_a_recipe_s_own_model_is_asked_unless_another_or_none_is_chosen(
    bundles: Path, opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(recipe_to_toml(with_model(load_recipe("fast"), "tiny", uncertainty=True)), encoding="utf-8")
    opened.parameters.recipe = str(path)
    opened.desktop.process_events()
    assert opened.ui.modelSelector.currentText == "tiny (by recipe)"
    assert tip_of(opened.ui.modelSelector) == "Tests."
    for row, asked in (
        ("tiny (by recipe)", ("tiny", True)),
        ("brain", ("brain", True)),
        (NO_MODEL, ("", False)),
    ):
        opened.desktop.choose(opened.ui.modelSelector, row)
        model = played.request().recipe.model
        assert (model.name, model.uncertainty) == asked
        played.deliver()


def test_a_recipe_that_does_not_deform_asks_no_model_and_says_so(
    bundles: Path, opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.desktop.choose(opened.ui.modelSelector, "tiny")
    assert tip_of(opened.ui.modelSelector) == "Tests."
    opened.desktop.choose(opened.ui.recipeSelector, "rigid")
    assert not opened.ui.modelSelector.isEnabled()
    assert not opened.ui.wantUncertaintyCheckBox.isEnabled()
    assert "This recipe does not deform, so no model is asked." in note(opened)
    assert played.request().recipe.model.name == ""


def test_the_choice_goes_into_a_saved_recipe(bundles: Path, opened: OpenedPanel, tmp_path: Path) -> None:
    opened.desktop.choose(opened.ui.modelSelector, "tiny")
    opened.widget.panel.advanced.save_recipe(str(tmp_path / "mine.toml"))
    assert load_recipe(tmp_path / "mine.toml").model.name == "tiny"


def test_a_script_names_a_model(bundles: Path, opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.engine.registration import REGISTER
    from DeepRegLib.scene.outputs import Outputs

    run = opened.logic.register(
        opened.parameters.fixedVolume,
        opened.parameters.movingVolume,
        model="tiny",
        outputs=Outputs(uncertainty=True),
        wait=False,
    )
    assert opened.desktop.wait_until(lambda: bool(played.orders), 10)
    model = REGISTER.request_of(played.orders[-1]).recipe.model
    assert (model.name, model.uncertainty) == ("tiny", True)
    run.cancel()
    assert opened.desktop.wait_until(lambda: run.finished, 10)


# --- uncertainty


def test_uncertainty_and_explanation_need_a_model(bundles: Path, opened: OpenedPanel, played: PlayedEngine) -> None:
    boxes = opened.ui.wantUncertaintyCheckBox, opened.ui.wantExplanationCheckBox
    opened.ui.outputsButton.collapsed = False
    opened.desktop.choose(opened.ui.modelSelector, NO_MODEL)
    assert not any(box.isEnabled() for box in boxes)
    opened.desktop.choose(opened.ui.modelSelector, "tiny")
    for box in boxes:
        opened.desktop.click(box)
    assert played.request().recipe.model.maps == ("uncertainty", "explanation")
    played.deliver()
    opened.desktop.choose(opened.ui.modelSelector, NO_MODEL)
    assert played.request().recipe.model.maps == ()
    played.deliver()
    assert (opened.results.uncertainty, opened.results.explanation) == (None, None)
    assert opened.parameters.wantUncertainty
    assert opened.parameters.wantExplanation


def test_the_uncertainty_is_told_shown_on_demand_and_removed(
    bundles: Path, opened: OpenedPanel, played: PlayedEngine
) -> None:
    before = all_ids(slicer.mrmlScene)
    opened.parameters.model, opened.parameters.wantUncertainty = "tiny", True
    result = played.run()
    volume = slicer.mrmlScene.GetNodeByID(opened.results.uncertainty)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), result.uncertainty.array)
    median, high = np.percentile(result.uncertainty.array, (50, 95))
    assert "Model: tiny 1.2" in opened.verdict
    assert f"differ by {median:.2f} mm, 95 % by less than {high:.2f} mm" in opened.verdict

    shown = {
        identifier
        for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        for identifier in (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID())
    }
    assert shown == {opened.parameters.fixedVolume.GetID(), opened.results.warped}

    opened.desktop.click(opened.ui.removeResultsButton)
    assert all_ids(slicer.mrmlScene) == before


# --- what a model says of itself


def test_the_button_tells_all_that_the_model_says(
    bundles: Path, opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = told(monkeypatch)
    opened.desktop.choose(opened.ui.modelSelector, "brain")
    opened.desktop.click(opened.ui.modelInfoButton)
    (shown,) = texts
    said = dict(re.findall("<th[^>]*>([^<]+)</th><td>([^<]+)</td>", shown.replace("&nbsp;", "")))
    assert said["Name"] == "brain 3.0"
    assert said["Intended use"] == "Heads."
    assert said["Limits"] == "All but tests."
    assert said["Trained on"] == "nothing"
    assert said["Licence"] == "CC0"
    assert said["Images"] == "voxels of 3 mm"
    assert said["Network"] == "shift, 3 parameters"
    assert said["Folder"].endswith("brain")
    assert said["Size"] == "0.0 MB"


# --- adding


def test_a_model_is_added_from_a_folder_and_chosen(
    bundles: Path, opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, tiny_bundle(tmp_path / "download", name="liver").folder)
    opened.desktop.click(opened.ui.addModelButton)
    assert opened.message == ""
    assert opened.ui.modelSelector.currentText == opened.parameters.model == "liver"
    assert sorted(path.name for path in (bundles / "liver").iterdir()) == ["model.json", "weights.safetensors"]
    assert rows(opened)[2:] == ["brain", "liver", "tiny"]


def test_adding_looks_at_no_network_for_that_needs_torch(
    bundles: Path, opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, tiny_bundle(tmp_path / "download", name="liver").folder)
    monkeypatch.setitem(sys.modules, "DeepRegLib.networks", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    opened.desktop.click(opened.ui.addModelButton)
    assert opened.parameters.model == "liver"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"cut"), "their SHA-256 differs"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "has no weights.safetensors"),
        (lambda folder: (folder / "model.json").unlink(), "Give the folder of a model bundle."),
    ],
)
def test_a_bad_folder_is_refused_in_words(
    bundles: Path, opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoil: Any, words: str
) -> None:
    folder = tiny_bundle(tmp_path / "download", name="liver").folder
    spoil(folder)
    answer(monkeypatch, folder)
    opened.desktop.click(opened.ui.addModelButton)
    assert words in opened.message
    assert not (bundles / "liver").exists()
    assert opened.ui.modelSelector.currentText == recipes_own()


def test_a_model_for_another_task_and_one_that_is_there_are_refused(
    bundles: Path, opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, tiny_bundle(tmp_path / "download", name="liver", task="features").folder)
    opened.desktop.click(opened.ui.addModelButton)
    assert "for the task features, not for registration" in opened.message
    assert not (bundles / "liver").exists()
    answer(monkeypatch, tiny_bundle(tmp_path / "again").folder)
    opened.desktop.click(opened.ui.addModelButton)
    assert "There is a user model named tiny already. " in opened.message


def test_no_folder_is_no_complaint(bundles: Path, opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "")
    opened.desktop.click(opened.ui.addModelButton)
    assert opened.message == ""
    assert rows(opened)[2:] == ["brain", "tiny"]


# --- saved scenes


def test_a_saved_scene_whose_model_is_gone_says_so_and_another_can_be_chosen(
    bundles: Path, opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    opened.desktop.choose(opened.ui.modelSelector, "tiny")
    assert slicer.util.saveScene(str(tmp_path / "saved.mrb"))
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    assert opened.ui.modelSelector.currentText == recipes_own()
    (bundles / "tiny").rename(tmp_path / "moved away")
    slicer.util.loadScene(str(tmp_path / "saved.mrb"))
    opened.desktop.process_events()

    assert opened.ui.modelSelector.currentText == opened.parameters.model == "tiny"
    assert "The model tiny cannot be used. There is no model named 'tiny'" in note(opened)
    assert not opened.ui.modelInfoButton.isEnabled()

    opened.desktop.choose(opened.ui.modelSelector, "brain")
    assert "tiny" not in note(opened)
    assert rows(opened) == [recipes_own(), NO_MODEL, "brain"]
    assert played.request().recipe.model.name == "brain"


def test_a_model_in_a_folder_of_its_own_is_shown_by_its_last_name(
    bundles: Path, opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    folder = tiny_bundle(tmp_path / "elsewhere", intended_use="Knees.").folder
    opened.parameters.model = str(folder)
    opened.desktop.process_events()
    assert opened.ui.modelSelector.currentText == "elsewhere"
    assert tip_of(opened.ui.modelSelector) == "Knees."
    assert played.request().recipe.model.name == str(folder)
