"""The tab Series, clicked: the real module and scene, an engine that is played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6", reason="PySide6 is not installed", exc_type=ImportError)

import slicer

from DeepRegLib.engine.errors import pack_error
from DeepRegLib.engine.protocol import Message
from DeepRegLib.engine.series import SERIES
from DeepRegLib.errors import RegistrationError
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with
from DeepRegLib.scene.transforms import transform_from_node
from DeepRegLib.series.request import SeriesRequest
from Testing.panel.opened import OpenedPanel, plain
from Testing.panel.played import PlayedEngine
from Testing.scene.nodes import segmentation_node, volume_node
from Testing.series.results import result_for, shift_of
from Testing.synthetic import blobs, geometry_in

SOON = 10.0
GRID = geometry_in("LPS", (16, 15, 14), 4.0)


@pytest.fixture
def browser(played: PlayedEngine, opened: OpenedPanel) -> slicer.vtkMRMLSequenceBrowserNode:
    """Choose a sequence of three frames in the tab."""
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "breath")
    for number in range(3):
        frame = volume_node(scene, blobs(GRID), "frame")
        sequence.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    node = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "breath browser")
    node.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(node)
    opened.ui.taskTabs.setCurrentIndex(2)
    opened.desktop.choose(opened.ui.seriesBrowserSelector, "breath browser")
    opened.desktop.process_events()
    return node


def order(played: PlayedEngine, opened: OpenedPanel) -> tuple[Message, SeriesRequest]:
    """Press the button and return what the engine is asked for."""
    count = len(played.orders)
    opened.desktop.click(opened.ui.seriesButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) > count, SOON), plain(opened.ui.seriesMessageLabel)
    message = played.orders[-1]
    assert message.content["task"] == "series"
    return message, SERIES.request_of(message)


def test_a_sequence_and_a_click_bring_sequences_that_play_with_it(
    played: PlayedEngine, opened: OpenedPanel, browser: slicer.vtkMRMLSequenceBrowserNode, tmp_path: Path
) -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[3:6, 3:6, 3:6] = 1
    segmentation_node(slicer.mrmlScene, [blobs(GRID).with_array(labels)], [{1: "liver"}], "drawn")
    opened.desktop.choose(opened.ui.seriesContoursSelector, "drawn")
    opened.ui.seriesReferenceSelector.setCurrentIndex(1)
    message, request = order(played, opened)
    assert (len(request.frames), request.reference, len(request.layers), request.drawn_on) == (3, "0", 1, 0)
    assert opened.ui.seriesButton.text == "Cancel"
    progress = {"stage": "frame 2 of 3", "fraction": 0.5, "similarity": None, "seconds_left": 30}
    played.worker.say(Message("progress", message.id, progress))
    assert opened.desktop.wait_until(lambda: "frame 2 of 3" in opened.ui.seriesProgressLabel.text, SOON)
    played.worker.say(SERIES.result_message(result_for(request), message.id))
    section = opened.widget.panel.series
    assert opened.desktop.wait_until(lambda: not section.running, SOON)

    told = plain(opened.ui.seriesMessageLabel)
    assert "Something is unusual" in told
    assert "frame 2" in told
    browser.SetSelectedItemNumber(2)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    shown = browser.GetProxyNode(slicer.mrmlScene.GetNodeByID(section.results.transforms))
    moved = transform_from_node(shown).apply_to_points(GRID.centre) - GRID.centre
    np.testing.assert_allclose(moved, [0, 0, shift_of(2)], atol=1e-4)
    opened.desktop.grab(opened.area, tmp_path / "series.png")
    assert (tmp_path / "series.png").stat().st_size > 10_000

    opened.ui.taskTabs.setCurrentIndex(0)
    opened.widget.panel.refresh()
    opened.desktop.click(opened.ui.removeResultsButton)
    assert nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE) == []


def test_cancel_leaves_the_scene_and_says_that_frames_are_kept(
    played: PlayedEngine, opened: OpenedPanel, browser: slicer.vtkMRMLSequenceBrowserNode
) -> None:
    order(played, opened)
    opened.desktop.click(opened.ui.seriesButton)
    assert opened.desktop.wait_until(lambda: not opened.widget.panel.series.running, SOON)
    assert "go on from them" in plain(opened.ui.seriesMessageLabel)
    assert opened.ui.seriesButton.text == "Register series"
    assert nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE) == []


def test_a_double_click_starts_and_does_not_cancel(
    played: PlayedEngine, opened: OpenedPanel, browser: slicer.vtkMRMLSequenceBrowserNode
) -> None:
    opened.desktop.double_click(opened.ui.seriesButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, SOON)
    opened.desktop.process_events()
    assert "cancel" not in played.worker.types()
    assert opened.ui.seriesButton.text == "Cancel"
    opened.desktop.click(opened.ui.seriesButton)  # a click of its own does
    assert opened.desktop.wait_until(lambda: not opened.widget.panel.series.running, SOON)


def test_what_went_wrong_is_told_and_without_a_sequence_there_is_no_run(
    played: PlayedEngine, opened: OpenedPanel, browser: slicer.vtkMRMLSequenceBrowserNode
) -> None:
    message, _ = order(played, opened)
    played.worker.say(pack_error(RegistrationError("None of the 3 frames could be registered."), message.id))
    assert opened.desktop.wait_until(lambda: "None of the 3" in plain(opened.ui.seriesMessageLabel), SOON)
    slicer.mrmlScene.RemoveNode(browser)
    opened.desktop.process_events()
    opened.widget.panel.refresh()
    assert not opened.ui.seriesButton.isEnabled()
