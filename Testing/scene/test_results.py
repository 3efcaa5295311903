"""What is put into the scene of a registration: nodes, their names, roles and folder."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

import vtk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.scene.alignment import apply_to_moving
from DeepRegLib.scene.filling import result_data_steps
from DeepRegLib.scene.outputs import Outputs, Results, inputs_of
from DeepRegLib.scene.results import add_results, remove_results
from DeepRegLib.scene.segmentations import segment_names
from DeepRegLib.scene.steps import STEP_VOXELS
from DeepRegLib.scene.volumes import image_from_volume
from Testing.scene.case import ALL, Case, hierarchy_of
from Testing.scene.nodes import all_ids, linear_node
from Testing.scene.results import FIXED_GRID, made_registration
from Testing.synthetic import points_in


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


def test_every_output_is_there_by_name(case: Case) -> None:
    results = case.add()
    assert {name: case.node(results, name).GetName() for name in results.ids} == {
        "transform": "moving transform",
        "inverse": "moving inverse transform",
        "warped": "moving registered",
        "segmentation": "moving segmentation",
        "jacobian": "moving Jacobian",
        "uncertainty": "moving model uncertainty",
        "explanation": "moving model explanation",
        "trust": "moving expected error",
        "synthetic": "moving synthetic, made by a network",
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


@pytest.mark.parametrize("name", ["uncertainty", "explanation"])
def test_a_map_of_a_model_is_shown_from_0_mm_upwards_as_what_it_is(case: Case, name: str) -> None:
    node = case.node(case.add(), name)
    display = node.GetDisplayNode()
    assert display.GetColorNode().GetName() == "Iron"
    assert not display.GetAutoWindowLevel()
    assert display.GetWindowLevelMin() == 0
    assert display.GetWindowLevelMax() == pytest.approx(
        np.percentile(getattr(case.registration, name).array, 99), rel=0.02
    )
    assert node.GetVoxelValueUnits().GetCodeValue() == "mm"
    assert node.GetVoxelValueUnits().GetCodingSchemeDesignator() == "UCUM"


def test_a_synthetic_scan_lies_where_the_scan_lies_and_looks_like_no_scan(case: Case) -> None:
    node = case.node(case.add(), "synthetic")
    assert image_from_volume(node).geometry.is_close(case.registration.moving.geometry)
    assert node.GetDisplayNode().GetColorNode().GetName() == "Ocean"


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
    case.registration = replace(
        case.registration,
        jacobian=None,
        uncertainty=None,
        explanation=None,
        trust=None,
        synthetic=None,
        warped_layers=(),
    )
    assert set(case.add().ids) == {"transform", "inverse", "warped", "table"}


def test_a_field_lies_in_the_scene_once_and_its_transform_leads_both_ways(case: Case) -> None:
    results = case.add(Outputs())
    assert results.inverse is None
    node, back = case.node(results, "transform"), vtk.vtkGeneralTransform()
    node.GetTransformToWorld(back)
    points = points_in(FIXED_GRID, 20, margin=6.0)
    there = case.registration.transform.apply_to_points(points)
    found = [np.array(back.TransformPoint((point * (-1, -1, 1)).tolist())) * (-1, -1, 1) for point in there]
    np.testing.assert_allclose(found, points, atol=0.01)


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


def test_without_new_nodes_there_is_no_folder(case: Case) -> None:
    outputs = Outputs(inverse=False, warped=False, segmentation=False, synthetic=False, table=False)
    results = case.add(outputs, transform=linear_node(case.scene, np.eye(4)))
    assert results.folder is None


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
