"""The verdict belongs to two scans and a result: it names them, is grey for others, and gone with the transform."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.result import WorstPlace
from Testing.panel.nodes import ball, volume_node
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine

PAIR = "self-test moving onto self-test fixed"
OTHER_SCANS = "Of other scans than those chosen above."
SAVED = "As saved with the scene."


def bar(opened: OpenedPanel) -> str:
    """Return the style of the card's bar, which is its colour."""
    return str(opened.ui.verdictBar.styleSheet)


def test_the_verdict_names_its_scans(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    assert opened.verdict.split(" | ")[:2] == ["Looks right", PAIR]


def test_what_likeness_means_is_in_the_tooltip_of_the_measures(opened: OpenedPanel) -> None:
    assert "edges of both scans" in opened.ui.verdictMeasuresLabel.toolTip


@pytest.mark.parametrize("level", ["ok", "check", "failed"])
def test_each_verdict_has_a_colour_and_a_title_of_its_own(
    opened: OpenedPanel, played: PlayedEngine, level: str
) -> None:
    from DeepRegLib.panel.appearance import COLOURS

    played.request()
    played.deliver(level, ("Because.",))
    titles = {"ok": "Looks right", "check": "Check this result", "failed": "Do not use"}
    assert opened.verdict.startswith(f"{titles[level]} | {PAIR} | Because. |")
    assert COLOURS[level] in bar(opened)


def test_another_moving_volume_makes_the_verdict_an_earlier_one(opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.panel.appearance import EARLIER_COLOUR

    played.run()
    green = bar(opened)
    other = volume_node(slicer.mrmlScene, ball((60.0, 60.0, 60.0)), "another")
    opened.desktop.choose(opened.ui.movingSelector, other.GetName())
    assert opened.verdict.split(" | ")[:3] == ["Earlier result: Looks right", PAIR, OTHER_SCANS]
    assert EARLIER_COLOUR in bar(opened)

    opened.desktop.choose(opened.ui.movingSelector, "self-test moving")
    assert opened.verdict.startswith(f"Looks right | {PAIR}")
    assert OTHER_SCANS not in opened.verdict
    assert bar(opened) == green


def test_swapped_scans_are_another_pair(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.desktop.click(opened.ui.swapButton)
    assert opened.verdict.split(" | ")[:3] == ["Earlier result: Looks right", PAIR, OTHER_SCANS]


def test_a_scan_that_was_deleted_is_still_named(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    slicer.mrmlScene.RemoveNode(opened.parameters.movingVolume)
    opened.desktop.process_events()
    assert opened.verdict.split(" | ")[:3] == ["Earlier result: Looks right", PAIR, OTHER_SCANS]


def test_the_verdict_goes_with_its_transform(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(opened.results.warped))
    opened.desktop.process_events()
    assert opened.verdict.startswith("Looks right")
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(opened.results.transform))
    opened.desktop.process_events()
    assert opened.verdict == ""
    assert not opened.ui.verdictCard.isVisible()


def test_without_a_transform_the_verdict_goes_with_what_there_is(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.wantTransform = opened.parameters.wantInverse = False
    played.run()
    assert opened.verdict.startswith("Looks right")
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(opened.results.warped))
    opened.desktop.process_events()
    assert opened.verdict == ""


def test_a_loaded_verdict_is_told_to_be_an_old_one(opened: OpenedPanel, played: PlayedEngine, tmp_path: Path) -> None:
    played.run()
    assert SAVED not in opened.verdict
    assert slicer.util.saveScene(str(tmp_path / "saved.mrb"))
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    assert opened.verdict == ""
    slicer.util.loadScene(str(tmp_path / "saved.mrb"))
    opened.desktop.process_events()
    assert opened.verdict.split(" | ")[:3] == ["Looks right", PAIR, SAVED]
    played.run()
    assert SAVED not in opened.verdict


def test_a_verdict_stays_this_sessions_when_the_module_is_reloaded(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.window.reload()
    opened.widget = opened.loaded.widget
    opened.ui = opened.widget.ui
    opened.window.enter()
    opened.desktop.process_events()
    assert opened.verdict.split(" | ")[:2] == ["Looks right", PAIR]
    assert SAVED not in opened.verdict


def test_remove_results_takes_the_verdict_along(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.desktop.click(opened.ui.removeResultsButton)
    assert opened.verdict == ""
    assert opened.parameters.verdictLevel == ""


def test_results_after_remove_results_are_called_as_the_first_ones(opened: OpenedPanel, played: PlayedEngine) -> None:
    def names() -> list[str]:
        return sorted(slicer.mrmlScene.GetNodeByID(each).GetName() for each in opened.results.ids.values())

    played.run()
    first = names()
    opened.desktop.click(opened.ui.removeResultsButton)
    played.run()
    assert names() == first
    played.run()
    assert names() == [f"{name}_1" for name in first]


def test_red_cyan_says_that_it_is_for_one_modality(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    assert not opened.ui.compareNoteLabel.isVisible()
    opened.desktop.choose(opened.ui.compareSelector, "Red / cyan")
    assert opened.ui.compareNoteLabel.isVisible()
    assert "one modality" in opened.ui.compareNoteLabel.text


def test_the_worst_places_of_a_result_are_links(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    result = replace(played.made(), worst_places=(WorstPlace((60.0, 50.0, 40.0), 4.2, "edges fit about 4 mm apart"),))
    played.deliver_result(result)
    assert opened.verdict.endswith("Look here first: 1. edges fit about 4 mm apart, about 4.2 mm")


def test_a_link_moves_the_views_to_a_bad_place(opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.panel.words import place_text

    played.run()
    assert not opened.ui.verdictPlacesLabel.isVisible()
    opened.parameters.verdictPlaces = [
        place_text((60.0, 50.0, 40.0), "The field folds here"),
        place_text((70.0, 60.0, 80.0), 'Edges <b>differ</b> by 4 mm: "far"'),
    ]
    opened.desktop.process_events()
    assert opened.verdict.endswith('Look here first: 1. The field folds here 2. Edges <b>differ</b> by 4 mm: "far"')

    opened.ui.verdictPlacesLabel.linkActivated.emit("1")
    opened.desktop.process_events()
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        middle = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
        assert middle == pytest.approx([-70.0, -60.0, 80.0], abs=0.01)
    opened.desktop.click(opened.ui.removeResultsButton)
    assert list(opened.parameters.verdictPlaces) == []
