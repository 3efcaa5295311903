"""Improve by hand: a drawn line corrects the result, and Undo brings the former one back, all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from numpy.typing import NDArray

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.improvement import IMPROVE
from DeepRegLib.panel.self_test import example_pair
from DeepRegLib.result import Verdict, start_measures
from DeepRegLib.transforms import LinearTransform
from Testing.panel.nodes import markups_node, segmentation
from Testing.panel.opened import OpenedPanel, to_moving
from Testing.panel.played import SOON, PlayedEngine
from Testing.scene.results import registration_of

RAS = np.array([-1.0, -1.0, 1.0])
START = example_pair()[0].geometry.centre * RAS
END = START + np.array([6.0, 0.0, 0.0])


def draw(opened: OpenedPanel, *points: NDArray[np.float64]) -> Any:
    """Click on Draw, and place points in a view, which the markups module adds to the active list."""
    if opened.ui.repairButton.collapsed:
        opened.desktop.click(opened.ui.repairButton)
    opened.desktop.click(opened.ui.drawLineButton)
    line = opened.ui.repairMarkupsSelector.currentNode()
    assert slicer.modules.markups.logic().GetActiveListID() == line.GetID()
    for point in points:
        line.AddControlPoint(vtk.vtkVector3d(*point))
    return line


def result_state(opened: OpenedPanel) -> dict[str, Any]:
    """Return what the result's nodes and the panel hold."""
    nodes = {name: slicer.mrmlScene.GetNodeByID(i) for name, i in opened.results.ids.items()}
    probes = START + np.array([[0, 0, 0], [12, -8, 5], [-20, 10, 0]])
    state = {name: to_moving(nodes[name], probes) for name in nodes.keys() & {"transform", "inverse"}}
    state["warped"] = slicer.util.arrayFromVolume(nodes["warped"]).copy()
    state["ids"] = dict(opened.results.ids)
    state["verdict"] = (opened.parameters.verdictLevel, list(opened.parameters.verdictReasons))
    if "segmentation" in nodes:
        shapes = nodes["segmentation"].GetSegmentation()
        state["segments"] = [
            slicer.util.arrayFromSegmentBinaryLabelmap(nodes["segmentation"], shapes.GetNthSegmentID(n)).copy()
            for n in range(shapes.GetNumberOfSegments())
        ]
    return state


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        if isinstance(one[name], (dict, tuple)):
            assert one[name] == other[name]
        else:
            np.testing.assert_array_equal(one[name], other[name])


def answer_improvement(opened: OpenedPanel, played: PlayedEngine, level: str = "check") -> Any:
    """Answer what was asked for with another shift, and return what was asked for."""
    order = played.orders[-1]
    asked = IMPROVE.request_of(order)
    there = np.eye(4)
    there[:3, 3] = (1.0, 2.0, 3.0)
    request = asked.request
    result = registration_of(
        LinearTransform(there),
        LinearTransform(np.linalg.inv(there)),
        request.fixed,
        request.moving,
        request.extras.moving_layers,
    )
    result = replace(result, verdict=Verdict(level, ("A corrected reason.",)), recipe=request.recipe, jacobian=None)
    played.worker.say(IMPROVE.result_message(result, order.id))
    opened.wait_for_end(SOON)
    opened.desktop.process_events()
    return asked


def test_nothing_can_be_improved_before_a_result(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.click(opened.ui.repairButton)
    for button in (opened.ui.drawLineButton, opened.ui.improveButton, opened.ui.undoImproveButton):
        assert not button.isEnabled()
    played.run()
    assert opened.ui.drawLineButton.isEnabled()
    assert not opened.ui.improveButton.isEnabled()
    draw(opened)
    assert opened.ui.improveButton.isEnabled()
    assert not opened.ui.undoImproveButton.isEnabled()


def test_a_line_asks_for_its_start_to_be_pulled_to_its_end(opened: OpenedPanel, played: PlayedEngine) -> None:
    earlier = played.run()
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    assert opened.ui.registerButton.text == "Cancel"
    asked = answer_improvement(opened, played)
    np.testing.assert_allclose(asked.correction.shown, [START * RAS])
    np.testing.assert_allclose(asked.correction.wanted, [END * RAS])
    probe = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(
        asked.transform.apply_to_points(probe), earlier.transform.apply_to_points(probe), atol=1e-9
    )
    assert asked.request.recipe == earlier.recipe


def test_the_improved_result_is_in_the_same_nodes_and_undo_brings_all_of_the_former_back(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.movingSegmentation = segmentation()
    opened.parameters.wantInverse = True
    played.run()
    former = result_state(opened)
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    answer_improvement(opened, played)
    improved = result_state(opened)
    assert improved["ids"] == former["ids"]
    assert improved["verdict"] == ("check", ["A corrected reason."])
    assert not np.allclose(improved["transform"], former["transform"])
    assert not np.array_equal(improved["warped"], former["warped"])
    opened.desktop.click(opened.ui.undoImproveButton)
    assert_same(result_state(opened), former)
    assert not opened.ui.undoImproveButton.isEnabled()
    assert opened.ui.improveButton.isEnabled()


def test_each_improvement_starts_from_the_one_before_and_is_undone_alone(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    first = answer_improvement(opened, played)
    once = result_state(opened)
    opened.desktop.click(opened.ui.improveButton)
    second = answer_improvement(opened, played, level="ok")
    assert first.made == ()
    np.testing.assert_allclose(second.made[0].wanted, [END * RAS])
    np.testing.assert_allclose(second.transform.apply_to_points([[0.0, 0.0, 0.0]]), [[1.0, 2.0, 3.0]])
    opened.desktop.click(opened.ui.undoImproveButton)
    assert_same(result_state(opened), once)
    assert opened.ui.undoImproveButton.isEnabled()


@pytest.mark.parametrize("edited", [False, True])
def test_the_linear_part_is_measured_again_only_if_a_scan_was_edited(
    opened: OpenedPanel, played: PlayedEngine, edited: bool
) -> None:
    earlier = played.run()
    if edited:
        slicer.util.arrayFromVolume(opened.parameters.movingVolume)[5:9] += 7
        slicer.util.arrayFromVolumeModified(opened.parameters.movingVolume)
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    asked = answer_improvement(opened, played)
    assert asked.at_start == (None if edited else start_measures(earlier.measures))


def test_pairs_of_points_drag_too(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    points = np.array([START, END, START + 9.0, END + 9.0])
    opened.parameters.repairMarkups = markups_node(slicer.mrmlScene, points * RAS)
    opened.desktop.click(opened.ui.repairButton)
    opened.desktop.click(opened.ui.improveButton)
    asked = answer_improvement(opened, played)
    np.testing.assert_allclose(asked.correction.wanted, points[[1, 3]] * RAS)


def test_an_unfinished_line_is_explained(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    draw(opened, START)
    opened.desktop.click(opened.ui.improveButton)
    assert "has 1 placed points, which are no pairs" in opened.message
    assert opened.ui.improveButton.isEnabled()
    assert not opened.ui.undoImproveButton.isEnabled()


def test_a_cancelled_improvement_leaves_the_result_and_what_can_be_undone(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    former = result_state(opened)
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    run = opened.widget.panel.registration.run
    opened.press()
    assert opened.desktop.wait_until(lambda: run.finished, SOON)
    opened.desktop.process_events()
    assert opened.widget.panel.registration.result.results.ids == former["ids"]
    assert not opened.ui.undoImproveButton.isEnabled()
    assert opened.ui.improveButton.isEnabled()


@pytest.mark.parametrize("gone", ["transform", "results", "scene"])
def test_without_its_result_nothing_can_be_improved(opened: OpenedPanel, played: PlayedEngine, gone: str) -> None:
    played.run()
    draw(opened, START, END)
    if gone == "transform":
        slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetNodeByID(opened.results.transform))
    elif gone == "results":
        opened.desktop.click(opened.ui.removeResultsButton)
    else:
        slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    for button in (opened.ui.drawLineButton, opened.ui.improveButton, opened.ui.undoImproveButton):
        assert not button.isEnabled()


@pytest.mark.slow
def test_a_result_is_improved_where_a_line_was_drawn(opened: OpenedPanel, tmp_path: Path) -> None:
    opened.load_pair()
    opened.use_quick_recipe(tmp_path)
    opened.press()
    opened.wait_for_end()
    former = result_state(opened)
    (belongs,) = to_moving(slicer.mrmlScene.GetNodeByID(opened.results.transform), START[None])
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    opened.wait_for_end()
    assert opened.message == ""
    transform = slicer.mrmlScene.GetNodeByID(opened.results.transform)
    (reached,) = to_moving(transform, END[None])
    assert np.linalg.norm(reached - belongs) < 0.5 * np.linalg.norm(END - START)
    opened.desktop.click(opened.ui.undoImproveButton)
    assert_same(result_state(opened), former)
