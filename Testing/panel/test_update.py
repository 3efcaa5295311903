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
