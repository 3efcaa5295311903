"""A scene that someone else made: what it names is not read, and what it says is not believed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from Testing.panel.opened import OpenedPanel, answer, tip_of
from Testing.panel.played import PlayedEngine


@pytest.fixture
def stranger(opened: OpenedPanel, played: PlayedEngine, tmp_path: Path) -> Path:
    """Return a scene that names a recipe and a model by paths, with the panel empty again."""
    from DeepRegLib.panel.self_test import example_recipe
    from DeepRegLib.recipes import recipe_to_toml

    recipe = tmp_path / "of a stranger.toml"
    recipe.write_text(recipe_to_toml(example_recipe()), encoding="utf-8")
    opened.parameters.recipe, opened.parameters.model = str(recipe), str(tmp_path / "model <b>of</b> a stranger")
    opened.parameters.verdictLevel, opened.parameters.compareMode = "splendid", "upside down"
    assert slicer.util.saveScene(str(tmp_path / "stranger.mrb"))
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    return tmp_path / "stranger.mrb"


def test_opening_a_scene_reads_no_file_that_it_names(
    opened: OpenedPanel, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[str] = []
    for name in ("is_file", "is_dir", "exists", "stat", "open"):
        real = getattr(Path, name)

        def watched(self: Path, *arguments: Any, _real: Any = real, **options: Any) -> Any:
            if "of a stranger" in str(self):
                touched.append(str(self))
            return _real(self, *arguments, **options)

        monkeypatch.setattr(Path, name, watched)
    slicer.util.loadScene(str(stranger))
    opened.desktop.process_events()
    opened.window.exit()
    opened.window.enter()
    opened.parameters.seed = 3
    opened.desktop.process_events()
    assert touched == []
    assert "of a stranger.toml, which has not been read" in tip_of(opened.ui.recipeSelector)
    assert opened.ui.registerButton.isEnabled()


def test_files_that_a_scene_names_are_asked_about_first(
    opened: OpenedPanel, stranger: Path, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slicer.util.loadScene(str(stranger))
    opened.desktop.process_events()
    asked = answer(opened, monkeypatch, False)
    opened.press()
    assert len(asked) == 1
    assert "of a stranger.toml" in asked[0]
    assert played.orders == []
    asked = answer(opened, monkeypatch, True)
    opened.press()
    assert ["of a stranger.toml" in question for question in asked] == [True]  # this recipe asks no model
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, 10)
    played.deliver()
    opened.desktop.choose(opened.ui.recipeSelector, "fast")
    asked = answer(opened, monkeypatch, True)
    assert "has not been read" in opened.ui.modelNoteLabel.text
    opened.press()
    assert ["model &lt;b&gt;of&lt;/b&gt; a stranger" in question for question in asked] == [True]


def test_a_verdict_and_a_mode_that_nobody_knows_do_no_harm(opened: OpenedPanel, stranger: Path) -> None:
    slicer.util.loadScene(str(stranger))
    opened.desktop.process_events()
    opened.parameters.seed = 4
    opened.desktop.process_events()
    assert "Looks right" not in opened.ui.verdictLabel.text
    assert opened.ui.compareSelector.currentText == "Views as they were"


def test_a_name_in_a_tooltip_is_no_markup(opened: OpenedPanel, played: PlayedEngine) -> None:
    name = '<img src="//server/share.png"> & <b>scan</b>'
    opened.parameters.movingVolume.SetName(name)
    opened.parameters.fixedVolume = opened.parameters.movingVolume
    opened.desktop.process_events()
    assert name in tip_of(opened.ui.registerButton)


@pytest.mark.parametrize("key", ["denoise", "translate", "features"])
def test_a_strangers_recipe_leads_to_no_folder_of_a_model_without_a_question(
    key: str, opened: OpenedPanel, stranger: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from DeepRegLib.panel.self_test import example_recipe
    from DeepRegLib.recipes import Translate, recipe_to_toml

    recipe, folder = example_recipe(), str(tmp_path / "folder of a stranger")
    changed = {
        "denoise": lambda: replace(recipe, prepare=replace(recipe.prepare, denoise=folder)),
        "translate": lambda: replace(recipe, translate=Translate(folder)),
        "features": lambda: replace(
            recipe, deformable=replace(recipe.deformable, similarity="features", features=folder)
        ),
    }[key]()
    (tmp_path / "of a stranger.toml").write_text(recipe_to_toml(changed), encoding="utf-8")
    slicer.util.loadScene(str(stranger))
    opened.desktop.process_events()
    asked = answer(opened, monkeypatch, True)
    opened.press()
    assert ["of a stranger.toml" in asked[0], "folder of a stranger" in asked[1], len(asked)] == [True, True, 2]


def test_what_cannot_be_read_of_a_scenes_parameters_is_forgotten_and_the_rest_kept(opened: OpenedPanel) -> None:
    from DeepRegLib.panel.parameters import parameters_of

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    damaged = {
        "seed": "None",
        "blend": "[",
        "resolution": "9e99",
        "verdictReasons.len": "x",
        "verdictPlaces.len": "9" * 9,
    }
    for name, text in {**damaged, "namePrefix": "mine", "modelPasses": "3"}.items():
        node.SetParameter(name, text)
    found = parameters_of(node)
    assert (found.seed, found.blend, found.resolution) == (0, 0.5, 1.0)
    assert (list(found.verdictReasons), list(found.verdictPlaces)) == ([], [])
    assert (found.namePrefix, found.modelPasses) == ("mine", 3)
    assert parameters_of(node).seed == 0


def test_every_tooltip_that_code_gives_goes_through_the_one_function_that_knows_no_markup() -> None:
    from DeepRegLib.panel import words

    given = re.compile(r"\.toolTip = (.*)|setToolTip\((.*)|^.*(setItemData\(.*ToolTipRole.*)", re.MULTILINE)
    panel = Path(words.__file__).parent
    found = [match.group(0) for path in panel.glob("*.py") for match in given.finditer(path.read_text("utf-8"))]
    assert len(found) >= 8
    assert [line for line in found if "tooltip(" not in line] == []
