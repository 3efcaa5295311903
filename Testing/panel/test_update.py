"""Update: the moving volume as it is now is registered from the present result, into the same nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import vtk

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.tracking import TRACK
from DeepRegLib.result import Verdict
from DeepRegLib.tracking import Following
from DeepRegLib.tracking.request import FOLLOWED, SCORES
from DeepRegLib.transforms import LinearTransform
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import SOON, PlayedEngine
from Testing.scene.nodes import markups_node
from Testing.scene.results import registration_of


def answer(played: PlayedEngine, shift: float) -> Following:
    """Answer the update that was asked for with another shift, and return what was asked for."""
    order = played.orders[-1]
    asked = TRACK.request_of(order)
    there = np.eye(4)
    there[0, 3] = shift
    scans = asked.request.fixed, asked.request.moving
    pair = LinearTransform(there), LinearTransform(np.linalg.inv(there))
    result = registration_of(*pair, *scans, asked.request.extras.moving_layers)
    result = replace(result, verdict=Verdict("ok", ()), jacobian=None, provenance={FOLLOWED: True})
    played.worker.say(TRACK.result_message(result, order.id))
    return asked


def answer_to_the_end(opened: OpenedPanel, played: PlayedEngine, shift: float) -> Following:
    """Answer it, and wait until the result is in the scene."""
    asked = answer(played, shift)
    opened.wait_for_end(SOON)
    opened.desktop.process_events()
    return asked


def change(node: Any, value: int) -> None:
    slicer.util.arrayFromVolume(node)[:] += value
    slicer.util.arrayFromVolumeModified(node)


def test_there_is_nothing_to_update_before_a_result_and_of_another_fixed_volume(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    assert not opened.ui.updateRow.isVisible()
    played.run()
    assert opened.ui.updateRow.isVisible()
    assert opened.ui.updateButton.isEnabled()
    opened.parameters.fixedVolume, opened.parameters.movingVolume = (
        opened.parameters.movingVolume,
        opened.parameters.fixedVolume,
    )
    opened.desktop.process_events()
    assert not opened.ui.updateRow.isVisible()


def test_the_volume_as_it_is_now_is_registered_from_the_result_and_a_plan_under_the_inverse_goes_along(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.wantInverse = True
    first = played.run()
    ids = dict(opened.results.ids)
    plan = markups_node(slicer.mrmlScene, [[0.0, 0.0, 0.0]])
    plan.SetAndObserveTransformNodeID(ids["inverse"])
    change(opened.parameters.movingVolume, 7)
    opened.desktop.click(opened.ui.updateButton)
    asked = answer_to_the_end(opened, played, 4.0)
    probe = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(asked.last.transform.apply_to_points(probe), first.transform.apply_to_points(probe))
    assert asked.last.searched == first.measures
    np.testing.assert_array_equal(
        asked.request.moving.array, slicer.util.arrayFromVolume(opened.parameters.movingVolume)
    )
    assert dict(opened.results.ids) == ids
    world = vtk.vtkVector3d()
    plan.GetNthControlPointPositionWorld(0, world)
    # A plan's point of the fixed scan lies 4 mm further to the left (LPS) in the moving one.
    assert abs(abs(world[0]) - 4.0) < 1e-6

    opened.desktop.click(opened.ui.updateButton)
    again = answer_to_the_end(opened, played, 5.0)
    assert again.last.searched == first.measures, "the latest search is what following is compared with"
    assert again.last.transform.apply_to_points(probe)[0, 0] == pytest.approx(5.0)


def test_nothing_can_be_updated_while_something_runs(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    for button in (opened.ui.updateButton, opened.ui.saveResultsButton, opened.ui.openReportButton):
        assert button.isEnabled()
    played.request()
    for button in (opened.ui.updateButton, opened.ui.saveResultsButton, opened.ui.openReportButton):
        assert not button.isEnabled()
    opened.press()
    opened.wait_for_end(SOON)
    for button in (opened.ui.updateButton, opened.ui.saveResultsButton, opened.ui.openReportButton):
        assert button.isEnabled()


def test_each_change_of_the_voxels_updates_and_of_those_during_a_run_the_latest_counts(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    opened.desktop.click(opened.ui.autoUpdateCheckBox)
    change(opened.parameters.movingVolume, 1)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 2, SOON)
    for _ in range(3):
        change(opened.parameters.movingVolume, 1)
        opened.desktop.process_events()
    assert len(played.orders) == 2
    answer(played, 1.0)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 3, SOON)
    answer_to_the_end(opened, played, 2.0)
    assert len(played.orders) == 3
    opened.desktop.click(opened.ui.autoUpdateCheckBox)
    change(opened.parameters.movingVolume, 1)
    opened.desktop.process_events()
    assert len(played.orders) == 3


def test_by_a_series_an_update_is_told_what_motion_was_seen(opened: OpenedPanel, played: PlayedEngine) -> None:
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "fluoroscopy")
    sequence.SetIndexUnit("ms")
    for number in range(3):
        sequence.SetDataNodeAtValue(opened.parameters.movingVolume, f"{400 * number}")
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    opened.parameters.movingVolume = browser.GetProxyNode(sequence)
    played.run()
    opened.ui.updateMotionSelector.setCurrentIndex(2)
    opened.desktop.click(opened.ui.updateButton)
    assert "Register a series in the tab Series first" in opened.message
    series = opened.widget.panel.series
    series.motion = (LinearTransform.identity(), LinearTransform(np.diag([1.0, 1.0, 1.1, 1.0])))
    for number in range(3):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        opened.desktop.click(opened.ui.updateButton)
        order = played.orders[-1]
        asked = TRACK.request_of(order)
        motion = asked.motion
        assert motion is not None
        assert (motion.predictor, motion.time, len(motion.transforms)) == ("autoregressive", 0.4 * number, 2)
        assert motion.seen == tuple((0.4 * before, float(before)) for before in range(number))
        still, request = LinearTransform.identity(), asked.request
        made = registration_of(still, still, request.fixed, request.moving, request.extras.moving_layers)
        made = replace(made, jacobian=None, provenance={FOLLOWED: True, SCORES: [float(number)]})
        played.worker.say(TRACK.result_message(made, order.id))
        opened.wait_for_end(SOON)
        opened.desktop.process_events()


def test_each_frame_that_a_client_fills_into_a_sequence_is_followed(opened: OpenedPanel, played: PlayedEngine) -> None:
    """As an OpenIGTLink connector does that records: a frame more, and the browser moves on to it."""
    scene, first = slicer.mrmlScene, opened.parameters.movingVolume
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "ultrasound")
    sequence.SetDataNodeAtValue(first, "0")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "live")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    logic = slicer.modules.sequences.logic()
    logic.UpdateProxyNodesFromSequences(browser)
    opened.parameters.movingVolume = browser.GetProxyNode(sequence)
    played.run()
    opened.desktop.click(opened.ui.autoUpdateCheckBox)
    for number in (1, 2):
        change(first, 5)
        sequence.SetDataNodeAtValue(first, str(number))
        assert len(played.orders) == number
        browser.SetSelectedItemNumber(number)
        logic.UpdateProxyNodesFromSequences(browser)
        assert opened.desktop.wait_until(lambda count=number + 1: len(played.orders) == count, SOON)
        asked = answer_to_the_end(opened, played, float(number))
        np.testing.assert_array_equal(asked.request.moving.array, slicer.util.arrayFromVolume(first))


def test_what_is_unticked_before_an_update_is_taken_away_and_no_node_shows_the_scan_before(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.wantJacobian = True
    played.run()
    first = dict(opened.results.ids)
    assert {"transform", "warped", "jacobian", "table"} <= first.keys()
    opened.parameters.wantJacobian = opened.parameters.wantWarped = False
    opened.desktop.click(opened.ui.updateButton)
    answer_to_the_end(opened, played, 4.0)
    assert dict(opened.results.ids) == {name: first[name] for name in first.keys() - {"warped", "jacobian"}}
    for name in ("warped", "jacobian"):
        assert slicer.mrmlScene.GetNodeByID(first[name]) is None, name
    opened.parameters.wantWarped = True
    opened.desktop.click(opened.ui.updateButton)
    answer_to_the_end(opened, played, 5.0)
    assert slicer.mrmlScene.GetNodeByID(opened.results.warped).GetName().endswith("moving registered")


def test_an_output_that_an_update_cannot_fill_is_taken_away_although_it_is_ticked(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.wantJacobian = True
    played.run()
    jacobian = opened.results.jacobian
    opened.desktop.click(opened.ui.updateButton)
    answer_to_the_end(opened, played, 4.0)  # which measured none
    assert opened.results.jacobian is None
    assert slicer.mrmlScene.GetNodeByID(jacobian) is None


def test_an_unticked_transform_stays_as_long_as_something_is_under_it(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.wantInverse = True
    played.run()
    inverse = opened.results.inverse
    plan = markups_node(slicer.mrmlScene, [[0.0, 0.0, 0.0]])
    plan.SetAndObserveTransformNodeID(inverse)
    opened.parameters.wantInverse = False
    for shift, there in ((4.0, True), (5.0, False)):
        opened.desktop.click(opened.ui.updateButton)
        answer_to_the_end(opened, played, shift)
        assert (opened.results.inverse == inverse) is there
        plan.SetAndObserveTransformNodeID(None)
    assert slicer.mrmlScene.GetNodeByID(inverse) is None


def test_an_unticked_node_of_the_users_stays_and_is_said_to_be_of_the_scan_before(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mine")
    opened.parameters.warpedOutput = mine
    played.run()
    assert opened.results.warped == mine.GetID()
    opened.parameters.wantWarped = False
    opened.desktop.click(opened.ui.updateButton)
    answer_to_the_end(opened, played, 4.0)
    assert mine.GetScene() is slicer.mrmlScene
    assert "mine still holds the result before this one" in opened.verdict
    opened.parameters.wantWarped = True
    opened.desktop.click(opened.ui.updateButton)
    answer_to_the_end(opened, played, 5.0)
    assert opened.results.warped == mine.GetID()
    assert "mine still holds" not in opened.verdict
