"""Nodes chosen to take an output: filled where they may be, refused and spared where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.scene.alignment import apply_to_moving
from DeepRegLib.scene.chosen_outputs import check_existing, foreign_outputs
from DeepRegLib.scene.results import add_results, remove_results
from DeepRegLib.scene.segmentations import segment_names
from DeepRegLib.scene.volumes import image_from_volume
from Testing.scene.case import ALL, NAMES, Case
from Testing.scene.nodes import from_world, linear_node, segmentation_node, volume_node
from Testing.scene.results import FIXED_GRID
from Testing.synthetic import blobs, geometry_in, label_map, points_in, random_linear


def test_chosen_nodes_take_the_outputs_keep_their_names_and_stay(case: Case) -> None:
    scene = case.scene
    chosen = {
        "transform": linear_node(scene, random_linear(3).matrix, "my transform"),
        "inverse": linear_node(scene, np.eye(4), "my inverse"),
        "warped": volume_node(scene, blobs(geometry_in("LPS", (4, 4, 4))), "my volume"),
        "segmentation": segmentation_node(scene, [label_map(FIXED_GRID)], [NAMES[0]], "my segments"),
        "table": scene.AddNewNodeByClass("vtkMRMLTableNode", "my table"),
    }
    results = case.add(overwrite=frozenset(chosen), **chosen)
    assert results.chosen == chosen.keys()
    for name, node in chosen.items():
        assert results.ids[name] == node.GetID()
        assert node.GetName().startswith("my ")
    points = points_in(FIXED_GRID, 50)
    np.testing.assert_allclose(
        from_world(chosen["transform"], points), case.registration.transform.apply_to_points(points), atol=1e-4
    )
    np.testing.assert_array_equal(image_from_volume(chosen["warped"]).array, case.registration.warped.array)
    assert segment_names(chosen["segmentation"]) == segment_names(case.plan)
    apply_to_moving(results, case.moving)
    remove_results(scene)
    assert all(scene.GetNodeByID(node.GetID()) is node for node in chosen.values())
    assert case.moving.GetParentTransformNode() is None


def test_a_chosen_node_that_is_gone_is_made_anew(case: Case) -> None:
    gone = linear_node(case.scene, np.eye(4), "gone")
    identifier = gone.GetID()
    case.scene.RemoveNode(gone)
    results = add_results(
        case.scene, case.registration, case.inputs, ALL, layers=case.layers, existing={"transform": identifier}
    )
    assert case.node(results, "transform").GetName() == "moving transform"
    assert not results.chosen


def moves_the_moving_volume(case: Case) -> dict[str, str]:
    node = linear_node(case.scene, np.eye(4), "mover")
    case.moving.SetAndObserveTransformNodeID(node.GetID())
    return {"transform": node.GetID()}


def chosen_twice(case: Case) -> dict[str, str]:
    node = linear_node(case.scene, np.eye(4), "both")
    return {"transform": node.GetID(), "inverse": node.GetID()}


def a_plan_of_the_users(case: Case) -> dict[str, str]:
    node = segmentation_node(case.scene, [label_map(FIXED_GRID)], [NAMES[0]], "my tumour")
    return {"segmentation": node.GetID()}


def a_scan_of_the_users(case: Case) -> dict[str, str]:
    return {"warped": volume_node(case.scene, blobs(FIXED_GRID), "my scan").GetID()}


def a_transform_of_the_users(case: Case) -> dict[str, str]:
    return {"transform": linear_node(case.scene, random_linear(3).matrix, "my pose").GetID()}


def a_carrier_of_the_users(case: Case) -> dict[str, str]:
    carrier = linear_node(case.scene, np.eye(4), "carrier")
    volume_node(case.scene, blobs(FIXED_GRID), "carried").SetAndObserveTransformNodeID(carrier.GetID())
    return {"inverse": carrier.GetID()}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda case: {"warped": case.moving.GetID()},
            "The output 'warped' would overwrite moving, which is registered.",
        ),
        (lambda case: {"segmentation": case.plan.GetID()}, "The output 'segmentation' would overwrite plan"),
        (lambda case: {"transform": case.moving.GetID()}, "moving is no node for the output 'transform'."),
        (moves_the_moving_volume, "The transform mover moves moving, so overwriting it would move the input."),
        (chosen_twice, "both is chosen for two outputs."),
        (a_plan_of_the_users, "my tumour holds something that DeepReg did not make, which would be lost."),
        (a_scan_of_the_users, "my scan holds something that DeepReg did not make, which would be lost."),
        (a_transform_of_the_users, "my pose holds something that DeepReg did not make, which would be lost."),
        (a_carrier_of_the_users, "carrier holds something that DeepReg did not make, which would be lost."),
    ],
)
def test_a_node_that_cannot_take_an_output_is_refused_before_and_spared_after(case: Case, make, sentence: str) -> None:
    existing = make(case)
    with pytest.raises(InputError) as refusal:
        check_existing(case.scene, case.inputs, existing)
    assert refusal.value.message.startswith(sentence)
    assert refusal.value.hint
    # After a long run the result is worth more than the choice.
    moving = image_from_volume(case.moving)
    results = add_results(case.scene, case.registration, case.inputs, ALL, layers=case.layers, existing=existing)
    assert not results.chosen
    assert not set(existing.values()) & set(results.ids.values())
    np.testing.assert_array_equal(image_from_volume(case.moving).array, moving.array)


def test_proper_choices_pass(case: Case) -> None:
    check_existing(case.scene, case.inputs, {"transform": linear_node(case.scene, np.eye(4)).GetID(), "warped": "gone"})


def test_a_result_may_be_overwritten_but_not_a_segment_that_was_added_to_it(case: Case) -> None:
    ids = {name: identifier for name, identifier in case.add().ids.items() if name in ("transform", "segmentation")}
    check_existing(case.scene, case.inputs, ids)
    assert foreign_outputs(case.scene, ids) == {}
    carried = case.scene.GetNodeByID(ids["segmentation"])
    carried.GetSegmentation().AddEmptySegment("by hand", "by hand", (1, 0, 0))
    with pytest.raises(InputError, match="would be lost"):
        check_existing(case.scene, case.inputs, ids)
    check_existing(case.scene, case.inputs, ids, frozenset({"segmentation"}))
    assert foreign_outputs(case.scene, ids) == {"segmentation": carried}


def test_what_was_put_into_a_node_of_the_users_may_be_overwritten(case: Case, tmp_path: Path) -> None:
    mine = {
        "warped": case.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my volume"),
        "transform": linear_node(case.scene, np.eye(4), "my transform"),
    }
    case.add(**mine)
    check_existing(case.scene, case.inputs, {name: node.GetID() for name, node in mine.items()})
