"""Removing results leaves what was there before, and what is the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.scene.alignment import apply_to_moving
from DeepRegLib.scene.outputs import NODE_OF, Outputs
from DeepRegLib.scene.results import remove_results
from DeepRegLib.scene.segmentations import segment_names
from DeepRegLib.scene.world import voxels_of
from Testing.scene.case import Case, hierarchy_of
from Testing.scene.nodes import all_ids, volume_node
from Testing.synthetic import blobs, geometry_in


def test_removing_leaves_exactly_what_was_there_before(case: Case) -> None:
    hierarchy = hierarchy_of(case.scene)
    before, items = all_ids(case.scene), hierarchy.GetNumberOfItems()
    results = case.add()
    apply_to_moving(results, case.moving, case.plan)
    assert all_ids(case.scene) > before
    remove_results(case.scene)
    assert all_ids(case.scene) == before
    assert hierarchy.GetNumberOfItems() == items
    assert case.moving.GetParentTransformNode() is None
    assert case.plan.GetParentTransformNode() is None
    assert case.moving.GetNodeReferenceID("DeepReg.Applied") is None


def test_removing_one_result_leaves_the_other(case: Case) -> None:
    first = case.add()
    between = all_ids(case.scene)
    second = case.add()
    apply_to_moving(first, case.moving)
    remove_results(case.scene, second)
    assert all_ids(case.scene) == between
    assert case.moving.GetTransformNodeID() == first.transform
    remove_results(case.scene, first)
    assert case.moving.GetParentTransformNode() is None


def test_removing_a_result_without_a_transform_leaves_the_others_applied(case: Case) -> None:
    first = case.add()
    second = case.add(Outputs(transform=False))
    apply_to_moving(first, case.moving)
    remove_results(case.scene, second)
    assert case.moving.GetTransformNodeID() == first.transform


def test_the_users_own_nodes_in_the_folder_stay(case: Case) -> None:
    results = case.add()
    mine = volume_node(case.scene, blobs(geometry_in("LPS", (4, 4, 4))), "mine")
    hierarchy = hierarchy_of(case.scene)
    item = hierarchy.CreateItem(results.folder, mine)
    remove_results(case.scene)
    assert case.scene.GetFirstNodeByName("mine") is mine
    assert hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID()


def test_saved_results_are_removed_with_their_files_storage(case: Case, tmp_path: Path) -> None:
    before = all_ids(case.scene)
    results = case.add()
    for identifier in results.ids.values():
        case.scene.GetNodeByID(identifier).AddDefaultStorageNode()
    remove_results(case.scene)
    assert all_ids(case.scene) == before


def test_results_survive_that_a_node_of_them_was_deleted(case: Case) -> None:
    before = all_ids(case.scene)
    results = case.add()
    case.scene.RemoveNode(case.node(results, "transform"))
    case.scene.RemoveNode(case.node(results, "warped"))
    remove_results(case.scene, results)
    left = all_ids(case.scene) - before
    assert all("DisplayNode" in identifier for identifier in left)


def test_inputs_deleted_meanwhile_are_done_without(case: Case) -> None:
    for node in (case.fixed, case.moving, case.plan):
        case.scene.RemoveNode(node)
    before = all_ids(case.scene)
    results = case.add()
    assert set(results.ids) == set(NODE_OF)
    assert case.node(results, "transform").GetNodeReferenceID("spatialRegistrationFixed") is None
    remove_results(case.scene)
    assert all_ids(case.scene) == before


@pytest.mark.parametrize("way", ["removed", "overwritten"])
def test_segments_that_go_are_not_erased_voxel_by_voxel(case: Case, way: str) -> None:
    node = case.node(case.add(), "segmentation")
    labelmap = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    before = voxels_of(labelmap).copy()
    if way == "removed":
        remove_results(case.scene)
    else:
        case.add(segmentation=node)
        assert segment_names(node) == segment_names(case.plan)
    np.testing.assert_array_equal(voxels_of(labelmap), before)
    assert before.any()
