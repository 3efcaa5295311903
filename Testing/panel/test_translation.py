"""Comparing a volume as a model shows it in the other's modality: what is offered, and what the engine is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

from DeepRegLib.recipes import Translate
from Testing.desktop.module_panel import too_long
from Testing.models.tiny import own_folder, tiny_bundle
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine

__all__ = ["own_folder"]


@pytest.fixture
def translator(own_folder: Path) -> None:
    """Put two models into the user's folder, of which one can translate."""
    tiny_bundle(own_folder / "t2-as-t1", name="t2-as-t1", task="translate")
    tiny_bundle(own_folder / "tiny")


def test_nothing_is_offered_where_no_model_translates(own_folder: Path, opened: OpenedPanel) -> None:
    assert not opened.ui.translationSelector.isVisible()
    assert not opened.ui.translationLabel.isVisible()


def test_the_engine_is_asked_to_compare_the_chosen_volume_through_the_chosen_model(
    translator: None, opened: OpenedPanel, played: PlayedEngine
) -> None:
    selector = opened.ui.translationSelector
    assert selector.isVisible()
    assert [selector.itemText(row) for row in range(selector.count)] == [
        "Both as they are",
        "Moving as t2-as-t1",
        "Fixed as t2-as-t1",
    ]
    opened.area.resize(330, 500)
    opened.desktop.process_events()
    assert too_long(selector) == []
    assert played.request().recipe.translate == Translate()
    played.deliver()
    opened.desktop.choose(selector, "Fixed as t2-as-t1")
    assert played.request().recipe.translate == Translate("t2-as-t1", "fixed")


def test_what_a_scene_names_is_not_looked_for_unless_it_is_a_model_of_this_computer(
    translator: None, opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.translation = "moving /somewhere/of/a/stranger"
    opened.desktop.process_events()
    assert opened.ui.translationSelector.currentText == "Both as they are"
    assert played.request().recipe.translate == Translate()
