"""Compare: what the slice views show of a result, and that they are put back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.scene.nodes import HELPER_ATTRIBUTE, nodes_with
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine

MODES = ["Views as they were", "Blend", "Flicker", "Checkerboard", "Red / cyan"]
ALPHA, ADD = slicer.vtkMRMLSliceCompositeNode.Alpha, slicer.vtkMRMLSliceCompositeNode.Add


def views() -> list[Any]:
    """Return the composite nodes of Red, Yellow and Green."""
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def layers(view: Any) -> tuple[str | None, str | None, float, int]:
    """Return what a view shows: background, foreground, its opacity, and how they are put together."""
    return (
        view.GetBackgroundVolumeID(),
        view.GetForegroundVolumeID(),
        round(view.GetForegroundOpacity(), 6),
        view.GetCompositing(),
    )


def everything() -> list[tuple[Any, ...]]:
    """Return all that a comparison may change: the views, and how volumes are displayed."""
    linked = [(view.GetLinkedControl(), view.GetHotLinkedControl()) for view in views()]
    displays = [
        (node.GetID(), node.GetColorNodeID(), node.GetWindow(), node.GetLevel(), node.GetAutoWindowLevel())
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeDisplayNode")
    ]
    return [*map(layers, views()), *linked, *displays]


def choose(opened: OpenedPanel, mode: str) -> None:
    opened.desktop.choose(opened.ui.compareSelector, mode)
    if mode == "Checkerboard":
        wait_for_helper(opened)


def wait_for_helper(opened: OpenedPanel) -> None:
    """Wait until what a comparison needs is made, which a busy machine does not do at once."""
    assert opened.desktop.wait_until(lambda: bool(nodes_with(slicer.mrmlScene, HELPER_ATTRIBUTE)), 20)


def test_there_is_nothing_to_compare_before_a_result(opened: OpenedPanel, played: PlayedEngine) -> None:
    assert not opened.ui.compareSelector.isEnabled()
    assert not opened.ui.blendSlider.isEnabled()
    assert [opened.ui.compareSelector.itemText(row) for row in range(opened.ui.compareSelector.count)] == MODES


def test_a_result_is_shown_blended_and_linked(opened: OpenedPanel, played: PlayedEngine) -> None:
    fixed = opened.parameters.fixedVolume.GetID()
    played.run()
    assert opened.ui.compareSelector.currentText == "Blend"
    assert opened.ui.blendSlider.isEnabled()
    assert [layers(view) for view in views()] == [(fixed, opened.results.warped, 0.5, ALPHA)] * 3
    assert all(view.GetLinkedControl() and view.GetHotLinkedControl() for view in views())


def test_the_slider_blends(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.ui.blendSlider.value = 0.8
    opened.desktop.process_events()
    assert {round(view.GetForegroundOpacity(), 6) for view in views()} == {0.8}


def test_a_hand_in_the_views_is_not_overruled(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    for view in views():
        view.SetForegroundOpacity(0.1)
    opened.parameters.seed = 5
    assert {view.GetForegroundOpacity() for view in views()} == {0.1}


def test_flicker_shows_one_after_the_other(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    choose(opened, "Flicker")
    assert not opened.ui.blendSlider.isEnabled()
    opened.widget.panel.compare._comparison._timer.setInterval(20)
    seen: list[float] = []

    def changed() -> bool:
        opacity = views()[0].GetForegroundOpacity()
        if not seen or seen[-1] != opacity:
            seen.append(opacity)
        return len(seen) >= 4

    assert opened.desktop.wait_until(changed, 10)
    assert seen in ([1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0])
    choose(opened, "Blend")
    assert not opened.widget.panel.compare._comparison._timer.isActive()
    assert views()[0].GetForegroundOpacity() == 0.5


def test_red_and_cyan_make_grey(opened: OpenedPanel, played: PlayedEngine) -> None:
    fixed = opened.parameters.fixedVolume
    played.run()
    choose(opened, "Red / cyan")
    warped = slicer.mrmlScene.GetNodeByID(opened.results.warped)
    red, cyan = (slicer.mrmlScene.GetNodeByID(identifier) for identifier in layers(views()[0])[:2])
    assert [layers(view) for view in views()] == [(red.GetID(), cyan.GetID(), 1.0, ADD)] * 3
    assert [node.GetName() for node in (red, cyan)] == [node.GetName() for node in (fixed, warped)]
    colours = [list(node.GetDisplayNode().GetColorNode().GetLookupTable().GetTableValue(255)) for node in (red, cyan)]
    np.testing.assert_allclose(np.sum(colours, axis=0)[:3], 1.0, atol=0.01)


def test_the_checkerboard_holds_both(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    choose(opened, "Checkerboard")
    (board,) = nodes_with(slicer.mrmlScene, HELPER_ATTRIBUTE)
    assert {layers(view)[0] for view in views()} == {board.GetID()}
    assert opened.ui.fixedSelector.currentNode().GetName() == "self-test fixed"
    offered = [opened.ui.fixedSelector.nodeFromIndex(n) for n in range(opened.ui.fixedSelector.nodeCount())]
    assert board not in offered


@pytest.mark.parametrize("mode", MODES[1:])
def test_the_views_are_put_back(opened: OpenedPanel, played: PlayedEngine, mode: str) -> None:
    views()[0].SetBackgroundVolumeID(opened.parameters.movingVolume.GetID())
    views()[1].SetForegroundVolumeID(opened.parameters.fixedVolume.GetID())
    views()[1].SetForegroundOpacity(0.3)
    played.run()
    choose(opened, "Views as they were")
    before = everything()
    for each in (mode, "Blend", mode):
        choose(opened, each)
        assert everything() != before
    choose(opened, "Views as they were")
    assert everything() == before
    assert nodes_with(slicer.mrmlScene, HELPER_ATTRIBUTE) == []


def test_removing_the_results_ends_the_comparison(opened: OpenedPanel, played: PlayedEngine) -> None:
    before = everything()
    played.run()
    choose(opened, "Checkerboard")
    opened.desktop.click(opened.ui.removeResultsButton)
    assert everything() == before
    assert opened.ui.compareSelector.currentText == "Views as they were"
    assert not opened.ui.compareSelector.isEnabled()
    assert nodes_with(slicer.mrmlScene, HELPER_ATTRIBUTE) == []


@pytest.mark.parametrize("mode", ["Flicker", "Red / cyan"])
def test_deleting_the_warped_volume_ends_the_comparison(opened: OpenedPanel, played: PlayedEngine, mode: str) -> None:
    before = everything()
    played.run()
    choose(opened, mode)
    slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(opened.results.warped))
    opened.desktop.process_events()
    assert everything()[: len(before)] == before
    assert not opened.ui.compareSelector.isEnabled()
    assert not opened.widget.panel.compare._comparison._timer.isActive()


def test_unlinked_views_stay_unlinked(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.desktop.click(opened.ui.linkedCheckBox)
    assert not any(view.GetLinkedControl() or view.GetHotLinkedControl() for view in views())
    opened.desktop.click(opened.ui.linkedCheckBox)
    assert all(view.GetLinkedControl() and view.GetHotLinkedControl() for view in views())


def test_the_chosen_way_stays_for_the_next_result(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    choose(opened, "Red / cyan")
    played.run()
    assert opened.ui.compareSelector.currentText == "Red / cyan"
    (shown,) = {layers(view)[1] for view in views()}
    warped = slicer.mrmlScene.GetNodeByID(opened.results.warped)
    assert slicer.mrmlScene.GetNodeByID(shown).GetImageData() is warped.GetImageData()


def test_an_overwritten_result_is_shown_anew(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    warped = slicer.mrmlScene.GetNodeByID(opened.results.warped)
    opened.parameters.warpedOutput = warped
    slicer.util.arrayFromVolume(warped)[:] = 0
    choose(opened, "Checkerboard")
    board = slicer.util.arrayFromVolume(nodes_with(slicer.mrmlScene, HELPER_ATTRIBUTE)[0]).copy()
    played.run()
    assert opened.results.warped == warped.GetID()
    (again,) = nodes_with(slicer.mrmlScene, HELPER_ATTRIBUTE)
    assert (slicer.util.arrayFromVolume(again) != board).any()


def test_a_closed_scene_stops_the_flicker(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    choose(opened, "Flicker")
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    assert not opened.widget.panel.compare._comparison._timer.isActive()


def test_an_unloaded_module_stops_the_flicker(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    choose(opened, "Flicker")
    comparison = opened.widget.panel.compare._comparison
    opened.widget.cleanup()
    assert not comparison._timer.isActive()
