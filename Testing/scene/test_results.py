from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.scene.alignment import apply_to_moving
from DeepRegLib.scene.chosen_outputs import check_existing, foreign_outputs
from DeepRegLib.scene.filling import result_data_steps
from DeepRegLib.scene.outputs import NODE_OF, Outputs, Results, inputs_of
from DeepRegLib.scene.results import add_results, remove_results
from DeepRegLib.scene.segmentations import SegmentLayers, layers_from_node, segment_names
from DeepRegLib.scene.steps import STEP_VOXELS
from DeepRegLib.scene.tables import add_measures_table
from DeepRegLib.scene.volumes import image_from_volume
from Testing.scene.nodes import all_ids, from_world, linear_node, segmentation_node, volume_node
from Testing.scene.results import FIXED_GRID, made_registration
from Testing.synthetic import blobs, geometry_in, label_map, points_in, random_linear

ALL = Outputs(jacobian=True, uncertainty=True, trust=True)
NAMES = [{2: "liver", 7: "kidney", 250: "tumour"}, {1: "vessel"}]


class Case:
    """A fixed and a moving volume and a plan in a scene, and the registration of them."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.registration = made_registration()
        self.fixed = volume_node(scene, self.registration.fixed, "fixed")
        self.moving = volume_node(scene, self.registration.moving, "moving")
        moving_grid = self.registration.moving.geometry
        images = [label_map(moving_grid), label_map(moving_grid, seed=5, labels=(1,))]
        self.plan = segmentation_node(scene, images, NAMES, "plan")
        self.inputs = inputs_of(self.fixed, self.moving, self.plan)
        self.layers: SegmentLayers = layers_from_node(self.plan)

    def add(
        self, outputs: Outputs = ALL, overwrite: frozenset[str] = frozenset(), **existing: slicer.vtkMRMLNode
    ) -> Results:
        ids = {name: node.GetID() for name, node in existing.items()}
        return add_results(
            self.scene,
            self.registration,
            self.inputs,
            outputs,
            layers=self.layers,
            existing=ids,
            overwrite=overwrite,
        )

    def node(self, results: Results, name: str) -> slicer.vtkMRMLNode:
        return self.scene.GetNodeByID(results.ids[name])


@pytest.fixture
def case(scene: slicer.vtkMRMLScene) -> Case:
    return Case(scene)


def test_what_takes_long_is_made_in_small_steps_before_and_only_handed_to_the_nodes(case: Case) -> None:
    result = replace(case.registration, warped=Image(np.zeros((8, 512, 513), np.int16), Geometry((513, 512, 8))))
    steps, count = result_data_steps(result, ALL, case.layers), 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            data = stop.value
            break
        count += 1
    assert count >= 8 * 512 * 513 / STEP_VOXELS
    results = add_results(case.scene, result, case.inputs, ALL, layers=case.layers, data=data)
    assert case.node(results, "warped").GetImageData() is data.volumes["warped"]
    assert case.node(results, "transform").GetTransformFromParent() is data.transforms["transform"]


def hierarchy_of(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def test_every_output_is_there_by_name(case: Case) -> None:
    results = case.add()
    assert {name: case.node(results, name).GetName() for name in results.ids} == {
        "transform": "moving transform",
        "inverse": "moving inverse transform",
        "warped": "moving registered",
        "segmentation": "moving segmentation",
        "jacobian": "moving Jacobian",
        "uncertainty": "moving model uncertainty",
        "trust": "moving expected error",
        "table": "moving measures",
    }
    warped = image_from_volume(case.node(results, "warped"))
    np.testing.assert_array_equal(warped.array, case.registration.warped.array)
    assert warped.geometry.is_close(FIXED_GRID)
    jacobian = case.node(results, "jacobian")
    np.testing.assert_array_equal(image_from_volume(jacobian).array, case.registration.jacobian.array)
    assert jacobian.GetDisplayNode().GetLevel() == 1
    uncertainty = image_from_volume(case.node(results, "uncertainty"))
    np.testing.assert_array_equal(uncertainty.array, case.registration.uncertainty.array)
    assert uncertainty.geometry.is_close(FIXED_GRID)
    assert segment_names(case.node(results, "segmentation")) == segment_names(case.plan)


def test_the_uncertainty_is_shown_from_0_mm_upwards_as_what_it_is(case: Case) -> None:
    node = case.node(case.add(), "uncertainty")
    display = node.GetDisplayNode()
    assert display.GetColorNode().GetName() == "Iron"
    assert not display.GetAutoWindowLevel()
    assert display.GetWindowLevelMin() == 0
    assert display.GetWindowLevelMax() == pytest.approx(
        np.percentile(case.registration.uncertainty.array, 99), rel=0.02
    )
    assert node.GetVoxelValueUnits().GetCodeValue() == "mm"
    assert node.GetVoxelValueUnits().GetCodingSchemeDesignator() == "UCUM"


def test_a_model_that_is_sure_everywhere_looks_so(case: Case) -> None:
    sure = case.registration.uncertainty.with_array(case.registration.uncertainty.array / 1000)
    case.registration = replace(case.registration, uncertainty=sure)
    assert case.node(case.add(), "uncertainty").GetDisplayNode().GetWindowLevelMax() == 1


def test_the_uncertainty_does_not_come_before_the_views(case: Case) -> None:
    view = case.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", "Red")
    view.SetBackgroundVolumeID(case.fixed.GetID())
    case.add()
    assert view.GetBackgroundVolumeID() == case.fixed.GetID()
    assert view.GetForegroundVolumeID() is None


def test_only_what_is_wanted_is_made(case: Case) -> None:
    nothing = Outputs(**{field.name: False for field in fields(Outputs)})
    before = all_ids(case.scene)
    assert case.add(nothing) == Results()
    assert all_ids(case.scene) == before
    results = case.add(replace(nothing, warped=True))
    assert set(results.ids) == {"warped"}


def test_an_output_the_registration_lacks_is_left_out(case: Case) -> None:
    case.registration = replace(case.registration, jacobian=None, uncertainty=None, trust=None, warped_layers=())
    assert set(case.add().ids) == {"transform", "inverse", "warped", "table"}


def test_the_transform_says_what_was_registered_and_how_well(case: Case) -> None:
    results = case.add()
    node = case.node(results, "transform")
    assert node.GetAttribute("DeepReg.Verdict") == "check"
    assert node.GetNodeReferenceID("spatialRegistrationFixed") == case.fixed.GetID()
    assert node.GetNodeReferenceID("spatialRegistrationMoving") == case.moving.GetID()
    inverse = case.node(results, "inverse")
    assert inverse.GetNodeReferenceID("spatialRegistrationFixed") == case.moving.GetID()
    assert inverse.GetNodeReferenceID("spatialRegistrationMoving") == case.fixed.GetID()


def test_everything_lies_in_one_folder_beside_the_fixed_volume(case: Case) -> None:
    hierarchy = hierarchy_of(case.scene)
    study = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, case.fixed)
    results = case.add()
    assert hierarchy.GetItemParent(results.folder) == study
    assert hierarchy.GetItemName(results.folder) == "moving registration"
    for identifier in results.ids.values():
        item = hierarchy.GetItemByDataNode(case.scene.GetNodeByID(identifier))
        assert hierarchy.GetItemParent(item) == results.folder
    again = case.add()
    assert again.folder != results.folder
    assert hierarchy.GetItemName(again.folder) != "moving registration"


def test_items_that_the_application_made_are_moved_not_doubled(case: Case) -> None:
    hierarchy = hierarchy_of(case.scene)

    def make_item(scene: object, event: object) -> None:
        for number in range(case.scene.GetNumberOfNodes()):
            node = case.scene.GetNthNode(number)
            if node.IsA("vtkMRMLDisplayableNode") and not hierarchy.GetItemByDataNode(node):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    tag = case.scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, make_item)
    try:
        results = case.add()
    finally:
        case.scene.RemoveObserver(tag)
    item = hierarchy.GetItemByDataNode(case.node(results, "warped"))
    assert hierarchy.GetItemParent(item) == results.folder


def test_selectors_hear_of_it_once(case: Case) -> None:
    heard = []
    tag = case.scene.AddObserver(slicer.vtkMRMLScene.EndBatchProcessEvent, lambda *_: heard.append(1))
    case.add()
    case.scene.RemoveObserver(tag)
    assert len(heard) == 1


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


def test_a_sequence_moves_by_the_volume_that_shows_it(case: Case) -> None:
    scene = case.scene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    sequence.SetDataNodeAtValue(case.moving, "0")
    inputs = inputs_of(case.fixed, sequence)
    results = add_results(scene, case.registration, inputs, Outputs())
    assert case.node(results, "warped").GetName() == "cine frame 1 of 1 registered"
    with pytest.raises(InputError, match="No volume shows the current frame of cine"):
        apply_to_moving(results, sequence)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    apply_to_moving(results, sequence)
    assert browser.GetProxyNode(sequence).GetTransformNodeID() == results.transform


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


def test_without_new_nodes_there_is_no_folder(case: Case) -> None:
    outputs = Outputs(transform=True, inverse=False, warped=False, segmentation=False, table=False)
    results = case.add(outputs, transform=linear_node(case.scene, np.eye(4)))
    assert results.folder is None


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


@pytest.mark.parametrize("shown", [True, False])
def test_the_segmentation_that_was_brought_along_hides_and_shows_again(case: Case, shown: bool) -> None:
    case.plan.CreateDefaultDisplayNodes()
    display = case.plan.GetDisplayNode()
    display.SetVisibility(shown)
    case.add()
    results = case.add()
    assert not display.GetVisibility()
    assert case.node(results, "segmentation").GetDisplayNode().GetVisibility()
    remove_results(case.scene)
    assert display.GetVisibility() == shown


def test_a_failure_in_the_middle_leaves_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    before = all_ids(case.scene)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("DeepRegLib.scene.filling.set_measures", fail)
    with pytest.raises(MemoryError):
        case.add()
    assert all_ids(case.scene) == before
    assert not case.scene.IsBatchProcessing()


def test_outputs_are_called_after_a_chosen_prefix(case: Case) -> None:
    case.inputs = inputs_of(case.fixed, case.moving, case.plan, "Smith")
    results = case.add()
    assert case.node(results, "warped").GetName() == "Smith registered"


def test_names_that_are_taken_get_a_number(case: Case) -> None:
    first, second = case.add(), case.add()
    assert case.node(first, "warped").GetName() != case.node(second, "warped").GetName()


def test_a_saved_and_reread_scene_has_names_roles_and_folder(case: Case, tmp_path: Path) -> None:
    case.add()
    assert case.scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    case.scene.Clear(False)
    assert case.scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    scene = case.scene
    transform = scene.GetFirstNodeByName("moving transform")
    assert transform.GetNodeReference("spatialRegistrationFixed").GetName() == "fixed"
    assert transform.GetNodeReference("spatialRegistrationMoving").GetName() == "moving"
    assert transform.GetAttribute("DeepReg.Verdict") == "check"
    segments = scene.GetFirstNodeByName("moving segmentation")
    assert [name for _, name in segment_names(segments)] == ["liver", "kidney", "tumour", "vessel"]
    warped = image_from_volume(scene.GetFirstNodeByName("moving registered"))
    # Reading turns the axes of a left-handed grid around, so voxels are compared by where they lie.
    placed = resample(warped, FIXED_GRID, interpolation="nearest")
    np.testing.assert_array_equal(placed.array, made_registration().warped.array)
    hierarchy = hierarchy_of(scene)
    item = hierarchy.GetItemByDataNode(transform)
    assert hierarchy.GetItemName(hierarchy.GetItemParent(item)) == "moving registration"
    remove_results(scene)
    assert scene.GetFirstNodeByName("moving transform") is None
    assert scene.GetFirstNodeByName("fixed") is not None
    assert hierarchy.GetItemByName("moving registration") == 0


def test_the_table_names_measures_and_labels_in_words(scene: slicer.vtkMRMLScene) -> None:
    node = add_measures_table(scene, made_registration(), "measures", {1: "liver"})
    table = node.GetTable()
    titles = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    assert titles == ["Measure", "Before", "After", "Unit", "Limit", "Grade"]
    graded = {
        node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (2, 4, 5)] for n in range(node.GetNumberOfRows())
    }
    assert graded["Quality: folded voxels"] == ["0", "0", "pass"]
    assert graded["Verdict"][1:] == ["", ""]
    rows = {node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (1, 2, 3)] for n in range(node.GetNumberOfRows())}
    assert rows["Verdict"] == ["", "check", ""]
    assert rows["Dice of liver"] == ["0.4", "0.9", "0 apart, 1 identical"]
    assert rows["Dice of label 2"] == ["0.5", "0.95", "0 apart, 1 identical"]
    assert rows["Folds"] == ["", "0", "voxels"]
    assert rows["Fixed anatomy covered"] == ["", "97", "%"]
    assert rows["Cross correlation"][:2] == ["0.3", "0.92"]
    assert "Landmark distance, mean" not in rows


def test_the_table_tells_the_uncertainty_inside_the_foreground(scene: slicer.vtkMRMLScene) -> None:
    registration = made_registration()
    inside = np.zeros(FIXED_GRID.shape, dtype=np.bool_)
    inside[4:20, 10:30, 8:25] = True
    told = replace(registration, fixed_foreground=Image(inside, FIXED_GRID))
    node = add_measures_table(scene, told, "measures")
    rows = {node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (1, 2, 3)] for n in range(node.GetNumberOfRows())}
    median, high = np.percentile(registration.uncertainty.array[inside], (50, 95))
    assert rows["Model uncertainty, median"] == ["", f"{median:.4g}", "mm"]
    assert rows["Model uncertainty, 95 % below"] == ["", f"{high:.4g}", "mm"]
    silent = add_measures_table(scene, replace(registration, uncertainty=None), "measures")
    assert "Model uncertainty" not in "".join(silent.GetCellText(n, 0) for n in range(silent.GetNumberOfRows()))


def test_the_table_shows_landmarks_and_leaves_out_what_is_not_known(scene: slicer.vtkMRMLScene) -> None:
    registration = made_registration()
    measures = replace(registration.measures, tre_before=8.25, tre_after=1.5, ncc_before=float("nan"))
    node = add_measures_table(scene, replace(registration, measures=measures), "measures")
    rows = {node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (1, 2, 3)] for n in range(node.GetNumberOfRows())}
    assert rows["Landmark distance, mean"] == ["8.25", "1.5", "mm"]
    assert rows["Cross correlation"][0] == ""
