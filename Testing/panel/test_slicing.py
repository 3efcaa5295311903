"""Long work is done a little at a time: a large segmentation is read while the window lives, and can be cancelled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.scene import steps
from Testing.panel.nodes import BALLS, ball, segmentation
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine
from Testing.scene.nodes import all_ids


@pytest.fixture
def patient(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step be a few voxels, and a slice of time one step."""
    monkeypatch.setattr(steps, "STEP_VOXELS", 5000)
    monkeypatch.setattr("DeepRegLib.panel.slicing.SLICE_SECONDS", 0.0)


@pytest.fixture
def reading(opened: OpenedPanel, played: PlayedEngine, patient: None) -> PlayedEngine:
    """Press Register with segmentations and a mask chosen, while they take long to read."""
    opened.parameters.movingSegmentation = segmentation("plan")
    opened.parameters.fixedSegmentation = segmentation("truth")
    opened.parameters.fixedMask = segmentation("organs")
    opened.press()
    assert played.orders == []
    assert opened.ui.registerButton.text == "Cancel"
    return played


def send(opened: OpenedPanel, played: PlayedEngine) -> None:
    """Let the reading come to its end."""
    assert opened.desktop.wait_until(lambda: bool(played.orders) or bool(opened.message), 20)


def test_what_is_read_in_steps_is_what_is_read_at_once(
    opened: OpenedPanel, reading: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(opened, reading)
    sliced = REGISTER.request_of(reading.orders[-1])
    reading.deliver()
    monkeypatch.undo()
    at_once = reading.request()
    both = ball(BALLS["liver"]).array | ball(BALLS["spleen"]).array
    np.testing.assert_array_equal(sliced.drivers.fixed_mask.array, both.astype(bool))
    pairs = (
        (sliced.drivers.fixed_mask, at_once.drivers.fixed_mask),
        *zip(sliced.extras.moving_layers, at_once.extras.moving_layers, strict=True),
        (sliced.extras.compared_fixed_labels, at_once.extras.compared_fixed_labels),
    )
    for one, other in pairs:
        np.testing.assert_array_equal(one.array, other.array)
        assert one.geometry.is_close(other.geometry)


def test_the_window_lives_while_a_segmentation_is_read(opened: OpenedPanel, reading: PlayedEngine) -> None:
    import qt

    heard: list[bool] = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: heard.append(bool(reading.orders)))
    timer.start(0)
    send(opened, reading)
    timer.stop()
    assert heard.count(False) > 10


def test_cancel_while_a_segmentation_is_read(opened: OpenedPanel, reading: PlayedEngine) -> None:
    before = all_ids(slicer.mrmlScene)
    opened.press()
    assert opened.ui.registerButton.text == "Register"
    opened.desktop.wait_until(lambda: bool(reading.orders), 0.3)
    assert reading.orders == []
    assert opened.message == ""
    assert all_ids(slicer.mrmlScene) == before


def test_closing_the_scene_while_a_segmentation_is_read(opened: OpenedPanel, reading: PlayedEngine) -> None:
    slicer.mrmlScene.Clear(0)
    opened.desktop.wait_until(lambda: bool(reading.orders), 0.3)
    assert reading.orders == []
    assert opened.ui.registerButton.text == "Register"


def test_drawing_in_a_segmentation_while_it_is_read_is_told(opened: OpenedPanel, reading: PlayedEngine) -> None:
    plan = opened.parameters.movingSegmentation
    plan.GetSegmentation().GetNthSegment(1).GetRepresentation("Binary labelmap").Modified()
    send(opened, reading)
    assert reading.orders == []
    assert "The segmentation plan was edited while it was read." in opened.message
    assert opened.ui.registerButton.text == "Register"


def test_a_segmentation_deleted_while_it_is_read_does_not_matter(opened: OpenedPanel, reading: PlayedEngine) -> None:
    slicer.mrmlScene.RemoveNode(opened.parameters.movingSegmentation)
    send(opened, reading)
    reading.deliver()
    assert opened.message == ""
    assert opened.results.segmentation


def test_undo_brings_a_result_back_a_little_at_a_time(opened: OpenedPanel, played: PlayedEngine, patient: None) -> None:
    opened.parameters.movingSegmentation = segmentation("plan")
    first = improved(opened, played)
    opened.desktop.click(opened.ui.undoImproveButton)
    assert opened.ui.registerButton.text == "Cancel"
    assert opened.ui.progressLabel.text == "Bringing the former result back"
    opened.wait_for_end(20)
    assert opened.ui.registerButton.text == "Register"
    assert opened.widget.panel.registration.result.registration is first.registration
    assert not opened.ui.undoImproveButton.isEnabled()


def test_undo_can_be_cancelled_and_asked_for_again(opened: OpenedPanel, played: PlayedEngine, patient: None) -> None:
    improved(opened, played)
    better = opened.widget.panel.registration.result
    opened.desktop.click(opened.ui.undoImproveButton)
    opened.press()
    opened.desktop.process_events()
    assert opened.widget.panel.registration.result is better
    assert opened.message == ""
    assert opened.ui.undoImproveButton.isEnabled()


def improved(opened: OpenedPanel, played: PlayedEngine) -> Any:
    """Register and improve by hand; return the run that was improved."""
    from Testing.panel.test_repair import END, START, answer_improvement, draw

    played.request()
    played.answer()
    opened.wait_for_end(20)
    first = opened.widget.panel.registration.result
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 2, 20)
    answer_improvement(opened, played)
    return first


def test_a_checkerboard_is_made_a_little_at_a_time(opened: OpenedPanel, played: PlayedEngine, patient: None) -> None:
    from Testing.panel.test_compare_panel import choose, layers, views

    played.run()
    blended = layers(views()[0])
    choose(opened, "Checkerboard")
    assert opened.desktop.wait_until(lambda: layers(views()[0]) != blended and layers(views()[0])[0] is not None, 20)
    name = slicer.mrmlScene.GetNodeByID(layers(views()[0])[0]).GetName()
    assert opened.desktop.wait_until(lambda: "Checkerboard" in shown_name(), 20), name
    choose(opened, "Blend")
    assert layers(views()[0]) == blended


def shown_name() -> str:
    from Testing.panel.test_compare_panel import layers, views

    return str(slicer.mrmlScene.GetNodeByID(layers(views()[0])[0]).GetName())


def test_steps_of_voxels_cover_an_array_once() -> None:
    found = np.zeros((7, 30, 40), int)
    for slab in steps.slabs(found.shape):
        found[slab] += 1
    assert (found == 1).all()
    assert list(steps.slabs((3, 1 << 20, 8))) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_work_is_left_when_it_is_stopped(opened: OpenedPanel, patient: None) -> None:
    from DeepRegLib.panel.slicing import Sliced

    done: list[Any] = []

    def work() -> Iterator[None]:
        for number in range(1000):
            done.append(number)
            time.sleep(0)
            yield

    sliced = Sliced(work(), done.append, done.append)
    sliced.start()
    assert sliced.stop()
    count = len(done)
    opened.desktop.process_events()
    assert len(done) == count
    assert not sliced.stop()
