"""Outputs: what comes into the scene, under which names, and what stays as it was."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.image import Image
from DeepRegLib.panel.self_test import SHIFT_MM
from DeepRegLib.scene.outputs import Outputs
from DeepRegLib.scene.whole_segments import FRACTIONAL, shares_of
from DeepRegLib.segmentation.fractional import Fractions
from DeepRegLib.segments import Segment
from Testing.panel.nodes import BALLS, GRID, RADIUS_MM, all_ids, ball, linear_node, segmentation
from Testing.panel.opened import OpenedPanel, to_moving
from Testing.panel.played import PlayedEngine
from Testing.scene.fractional import fractional_node

RAS_SHIFT = np.asarray(SHIFT_MM) * (-1, -1, 1)
POINT = np.array([[-60.0, -60.0, 60.0]])
NAMES = {
    "transform": "self-test moving transform",
    "inverse": "self-test moving inverse transform",
    "warped": "self-test moving registered",
    "segmentation": "self-test moving segmentation",
    "jacobian": "self-test moving Jacobian",
    "uncertainty": "self-test moving model uncertainty",
    "explanation": "self-test moving model explanation",
    "table": "self-test moving measures",
}


def node(identifier: str) -> Any:
    return slicer.mrmlScene.GetNodeByID(identifier)


def made(opened: OpenedPanel) -> dict[str, str]:
    """Return the names of the nodes of the latest result, by output."""
    return {name: node(identifier).GetName() for name, identifier in opened.results.ids.items()}


def test_all_outputs_are_made_and_named_after_the_moving_volume(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingSegmentation = segmentation()
    opened.ui.outputsButton.collapsed = False
    opened.desktop.process_events()
    opened.parameters.model = "tiny"
    opened.desktop.click(opened.ui.wantInverseCheckBox)
    opened.desktop.click(opened.ui.wantJacobianCheckBox)
    opened.desktop.click(opened.ui.wantUncertaintyCheckBox)
    opened.desktop.click(opened.ui.wantExplanationCheckBox)
    request = played.request()
    assert request.extras.jacobian
    assert request.recipe.model.uncertainty
    played.deliver()
    assert made(opened) == NAMES


def test_a_fractional_segmentation_that_is_chosen_comes_back_fractional(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    away = [np.linalg.norm(GRID.points() - centre, axis=-1).reshape(GRID.shape) for centre in BALLS.values()]
    shares = [Image(np.clip((RADIUS_MM - each) / 4 + 0.5, 0, 1).astype(np.float32), GRID) for each in away]
    known = (Segment(1, "liver", (0.8, 0.4, 0.2)), Segment(2, "spleen", (0.2, 0.4, 0.8)))
    given = Fractions(tuple(shares), known)
    fractional_node(slicer.mrmlScene, given, "soft plan")
    opened.ui.outputsButton.collapsed = False
    opened.desktop.choose(opened.ui.movingSegmentationSelector, "soft plan")
    assert len(played.request().extras.moving_fractions) == 2
    played.deliver()
    result = node(opened.results.ids["segmentation"]).GetSegmentation()
    assert result.GetSourceRepresentationName() == FRACTIONAL
    found = dict(shares_of(result))
    for number, (image, segment) in enumerate(zip(shares, known, strict=True)):
        assert result.GetNthSegment(number).GetName() == segment.name
        carried = found[result.GetNthSegmentID(number)].array
        inside = carried[carried > 0]
        assert np.mean((inside > 0.05) & (inside < 0.95)) > 0.2  # it is no label map
        assert carried.sum() == pytest.approx(image.array.sum(), rel=0.02)


@pytest.mark.parametrize("output", NAMES)
def test_an_unchecked_output_is_not_made(opened: OpenedPanel, played: PlayedEngine, output: str) -> None:
    opened.parameters.movingSegmentation = segmentation()
    opened.parameters.wantInverse = opened.parameters.wantJacobian = True
    opened.parameters.wantUncertainty = opened.parameters.wantExplanation = True
    opened.parameters.model = "tiny"
    opened.ui.outputsButton.collapsed = False
    opened.desktop.process_events()
    opened.desktop.click(getattr(opened.ui, f"want{output.capitalize()}CheckBox"))
    played.run()
    assert made(opened) == {name: title for name, title in NAMES.items() if name != output}
    folder = slicer.mrmlScene.GetSubjectHierarchyNode()
    assert folder.GetItemName(opened.results.folder) == "self-test moving registration"


def test_nothing_wanted_is_a_verdict_alone(opened: OpenedPanel, played: PlayedEngine) -> None:
    before = all_ids(slicer.mrmlScene)
    for field in fields(Outputs):
        setattr(opened.parameters, f"want{field.name.capitalize()}", False)
    played.run()
    assert all_ids(slicer.mrmlScene) == before
    assert "Looks right" in opened.verdict
    assert not opened.ui.compareSelector.isEnabled()


def test_a_volume_that_was_edited_in_mid_run_is_reported(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    moving = opened.parameters.movingVolume
    slicer.util.arrayFromVolume(moving)[:] = 0
    slicer.util.arrayFromVolumeModified(moving)
    played.deliver()
    assert any("self-test moving was edited" in reason for reason in opened.parameters.verdictReasons)


def test_names_begin_as_the_user_wants(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.ui.outputsButton.collapsed = False
    opened.ui.namePrefixEdit.text = " Monday "
    played.run()
    assert set(made(opened).values()) == {
        "Monday transform",
        "Monday registered",
        "Monday measures",
    }


def test_a_second_result_does_not_touch_the_first(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    first = opened.results
    played.run()
    assert not set(first.ids.values()) & set(opened.results.ids.values())
    assert all(node(identifier) is not None for identifier in first.ids.values())


def test_chosen_nodes_are_overwritten_and_keep_their_names(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingSegmentation = segmentation()
    opened.parameters.wantInverse = True
    scene = slicer.mrmlScene
    mine = {
        "transform": scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "my transform"),
        "inverse": scene.AddNewNodeByClass("vtkMRMLTransformNode", "my inverse"),
        "warped": scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my volume"),
        "segmentation": scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "my segments"),
    }
    for output, each in mine.items():
        opened.desktop.choose(getattr(opened.ui, f"{output}OutputSelector"), each.GetName())
    for _again in range(2):
        result = played.run()
        ids = opened.results.ids
        assert {output: ids[output] for output in mine} == {output: each.GetID() for output, each in mine.items()}
        assert [each.GetName() for each in mine.values()] == ["my transform", "my inverse", "my volume", "my segments"]
    np.testing.assert_allclose(to_moving(mine["transform"], POINT), POINT + RAS_SHIFT, atol=1e-6)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(mine["warped"]), result.warped.array)
    assert mine["segmentation"].GetSegmentation().GetNumberOfSegments() == len(BALLS)

    opened.desktop.click(opened.ui.removeResultsButton)
    assert all(each.GetScene() is scene for each in mine.values())


def test_the_moving_volume_is_put_under_the_transform(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.alignMoving, opened.parameters.wantTransform = True, False
    played.run()
    moving = opened.parameters.movingVolume
    assert moving.GetTransformNodeID() == opened.results.transform
    opened.desktop.click(opened.ui.removeResultsButton)
    assert moving.GetTransformNodeID() is None


@pytest.mark.parametrize("reused", [False, True])
def test_an_aligned_volume_is_registered_from_where_it_was(
    opened: OpenedPanel, played: PlayedEngine, reused: bool
) -> None:
    opened.parameters.alignMoving = True
    moving = opened.parameters.movingVolume
    moving.SetAndObserveTransformNodeID(linear_node(slicer.mrmlScene, np.diag([1.0, 1, 1, 1]), "own").GetID())
    first = played.request()
    played.deliver()
    own = moving.GetParentTransformNode()
    before = opened.results.transform
    assert own.GetTransformNodeID() == before
    if reused:
        opened.parameters.transformOutput = node(before)
    second = played.request()
    assert second.moving.geometry.is_close(first.moving.geometry)
    assert own.GetTransformNodeID() == before  # nothing moves while it runs
    played.deliver()
    assert moving.GetParentTransformNode() is own
    assert own.GetTransformNodeID() == opened.results.transform
    assert (opened.results.transform == before) == reused


def test_a_cancelled_run_leaves_an_aligned_volume_aligned(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.alignMoving = True
    played.run()
    aligned = opened.parameters.movingVolume.GetTransformNodeID()
    played.request()
    opened.press()
    opened.wait_for_end(10)
    assert opened.parameters.movingVolume.GetTransformNodeID() == aligned


def test_an_aligned_volume_is_taken_out_when_it_is_no_longer_wanted(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.alignMoving = True
    played.run()
    opened.parameters.alignMoving = False
    played.run()
    assert opened.parameters.movingVolume.GetTransformNodeID() is None


def test_what_cannot_be_aligned_is_said_with_the_verdict(opened: OpenedPanel, played: PlayedEngine) -> None:
    both = linear_node(slicer.mrmlScene, np.diag([1.0, 1, 1, 1]), "scanner")
    for volume in (opened.parameters.fixedVolume, opened.parameters.movingVolume):
        volume.SetAndObserveTransformNodeID(both.GetID())
    opened.parameters.alignMoving = True
    played.run()
    assert "hang under the same transform, scanner" in opened.verdict


def test_the_segmentation_lands_where_the_transform_says(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingSegmentation = segmentation()
    result = played.run()
    brought = node(opened.results.segmentation)
    own = opened.parameters.movingSegmentation.GetSegmentation()
    for name, centre in BALLS.items():
        identifier = brought.GetSegmentation().GetSegmentIdBySegmentName(name)
        array = slicer.util.arrayFromSegmentBinaryLabelmap(brought, identifier, opened.parameters.fixedVolume)
        there = np.argwhere(array)[:, ::-1].mean(axis=0) * result.fixed.geometry.spacing
        np.testing.assert_allclose(there, np.asarray(centre) - SHIFT_MM, atol=0.5)
        assert np.count_nonzero(array) == np.count_nonzero(ball(centre).array)
        colours = [each.GetSegment(f"id {name}").GetColor() for each in (brought.GetSegmentation(), own)]
        assert colours[0] == colours[1]


def test_the_jacobian_of_a_shift_is_one(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.wantJacobian = True
    played.run()
    volume = node(opened.results.jacobian)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(volume), 1.0, atol=1e-5)
    assert volume.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeRainbow"


def test_the_table_can_be_read(opened: OpenedPanel, played: PlayedEngine) -> None:
    result = played.run()
    table = node(opened.results.table).GetTable()
    header = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
    rows = [
        [table.GetValue(row, column).ToString() for column in range(table.GetNumberOfColumns())]
        for row in range(table.GetNumberOfRows())
    ]
    assert header == ["Measure", "Before", "After", "Unit", "Limit", "Grade"]
    assert rows[0] == ["Verdict", "", "ok", "", "", ""]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["Cross correlation"] == [
        f"{result.measures.ncc_before:.4g}",
        f"{result.measures.ncc_after:.4g}",
        "-1 to 1",
        "",
        "",
    ]
    assert by_name["Folds"] == ["", "0", "voxels", "", ""]


def test_of_the_segmentation_and_the_one_made_of_it_one_is_seen(opened: OpenedPanel, played: PlayedEngine) -> None:
    plan = segmentation("plan")
    plan.CreateDefaultDisplayNodes()
    opened.parameters.movingSegmentation = plan
    played.run()
    carried = slicer.mrmlScene.GetNodeByID(opened.results.segmentation)
    assert [node.GetDisplayNode().GetVisibility() for node in (plan, carried)] == [0, 1]
    opened.desktop.click(opened.ui.removeResultsButton)
    assert plan.GetDisplayNode().GetVisibility()
