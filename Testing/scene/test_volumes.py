from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, to_sitk
from DeepRegLib.scene.volumes import (
    Untouched,
    add_label_volume,
    add_volume,
    geometry_of_volume,
    image_from_volume,
    set_volume,
)
from DeepRegLib.scene.world import voxels_of
from Testing.scene.nodes import TO_RAS, bspline_node, linear_node, sitk_image, volume_node
from Testing.synthetic import ORIENTATIONS, blobs, geometry_in, label_map, points_in, random_linear


def assert_same_place(image: Image, picture: sitk.Image) -> None:
    assert image.geometry.size == picture.GetSize()
    for index in points_in(image.geometry, 20):
        np.testing.assert_allclose(
            image.geometry.to_index(index), picture.TransformPhysicalPointToContinuousIndex(index.tolist()), atol=1e-8
        )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_volume_lies_where_simpleitk_has_it(scene: slicer.vtkMRMLScene, orientation: str) -> None:
    phantom = blobs(geometry_in(orientation, (12, 14, 10)))
    node = volume_node(scene, phantom, "MR head")
    image = image_from_volume(node)
    assert image.name == "MR head"
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array, phantom.array)
    assert_same_place(image, sitk_image(node, np.eye(4)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_linear_parents_count(scene: slicer.vtkMRMLScene, orientation: str) -> None:
    node = volume_node(scene, blobs(geometry_in(orientation, (12, 14, 10))))
    first, second = random_linear(1).matrix, random_linear(2).matrix
    low, high = linear_node(scene, first), linear_node(scene, second)
    node.SetAndObserveTransformNodeID(low.GetID())
    low.SetAndObserveTransformNodeID(high.GetID())
    assert_same_place(image_from_volume(node), sitk_image(node, TO_RAS @ second @ first @ TO_RAS))


def test_editing_the_volume_later_does_not_change_the_image(scene: slicer.vtkMRMLScene) -> None:
    node = volume_node(scene, blobs(geometry_in("LPS", (6, 6, 6))))
    image = image_from_volume(node)
    before = image.array.copy()
    voxels_of(node.GetImageData())[:] = -1
    np.testing.assert_array_equal(image.array, before)


def test_an_image_that_is_no_copy_tells_when_the_voxels_were_edited(scene: slicer.vtkMRMLScene) -> None:
    node = volume_node(scene, blobs(geometry_in("LPS", (6, 6, 6))))
    image, untouched = image_from_volume(node, copy=False), Untouched(node)
    node.GetImageData().GetScalarRange()
    node.SetName("renamed")
    assert untouched
    voxels_of(node.GetImageData())[:] = -1
    node.GetImageData().GetPointData().GetScalars().Modified()
    assert not untouched
    assert image.array.max() == -1


def test_other_voxels_for_a_volume_are_no_edit_of_those_before(scene: slicer.vtkMRMLScene) -> None:
    node = volume_node(scene, blobs(geometry_in("LPS", (6, 6, 6))))
    image, untouched = image_from_volume(node, copy=False), Untouched(node)
    before = image.array.copy()
    set_volume(node, image.with_array(np.zeros_like(image.array)))
    assert untouched
    np.testing.assert_array_equal(image.array, before)


def test_voxels_in_use_outlive_their_volume(scene: slicer.vtkMRMLScene) -> None:
    node = volume_node(scene, blobs(geometry_in("LPS", (6, 6, 6))))
    image = image_from_volume(node, copy=False)
    before = image.array.copy()
    scene.RemoveNode(node)
    del node
    np.testing.assert_array_equal(image.array, before)


def removed(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = volume_node(scene, blobs(geometry_in("LPS", (6, 6, 6))), "Gone")
    scene.RemoveNode(node)
    return node


def without_voxels(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")


def coloured(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    from Testing.scene.nodes import vtk_image

    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    node.SetAndObserveImageData(vtk_image(np.zeros((4, 4, 4, 3), np.uint8)))
    return node


def flat(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    return volume_node(scene, blobs(geometry_in("LPS", (6, 6, 1))), "X-ray")


def bent(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = volume_node(scene, blobs(geometry_in("LPS", (6, 6, 6))), "Bent")
    node.SetAndObserveTransformNodeID(bspline_node(scene, "earlier result").GetID())
    return node


def sheared(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = volume_node(scene, blobs(geometry_in("LPS", (6, 6, 6))), "Tilted")
    matrix = np.eye(4)
    matrix[1, 2] = 0.3
    node.SetAndObserveTransformNodeID(linear_node(scene, matrix).GetID())
    return node


def model(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    return scene.AddNewNodeByClass("vtkMRMLModelNode", "Skin")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda scene: None, "No volume is chosen."),
        (removed, "The volume Gone is no longer in the scene."),
        (without_voxels, "The volume Empty has no voxels."),
        (coloured, "The volume Photo has 3 values a voxel (colours, vectors or tensors)."),
        (flat, "The volume X-ray is a single slice (6 x 6 x 1)."),
        (bent, "The volume Bent is moved by the transform earlier result, which bends space."),
        (sheared, "The volume Tilted does not lie on a regular grid with right angles in the world"),
        (model, "Skin is not a volume."),
    ],
)
def test_a_volume_that_cannot_be_used_is_refused_in_words(scene: slicer.vtkMRMLScene, make, sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        image_from_volume(make(scene))
    assert refusal.value.message.startswith(sentence)
    assert refusal.value.hint.endswith(".")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_added_volume_lies_where_simpleitk_has_it(scene: slicer.vtkMRMLScene, orientation: str) -> None:
    phantom = blobs(geometry_in(orientation, (12, 14, 10)))
    node = add_volume(scene, phantom, "warped")
    picture = sitk_image(node, np.eye(4))
    expected = to_sitk(phantom)
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(picture), phantom.array)
    for index in ((0, 0, 0), (11, 13, 9), (3, 0, 7)):
        np.testing.assert_allclose(
            picture.TransformIndexToPhysicalPoint(index), expected.TransformIndexToPhysicalPoint(index), atol=1e-9
        )
    assert geometry_of_volume(node).is_close(phantom.geometry)


def test_an_added_volume_is_shown_as_the_moving_one(scene: slicer.vtkMRMLScene) -> None:
    phantom = blobs(geometry_in("LPS", (6, 6, 6)))
    moving = volume_node(scene, phantom, "moving")
    moving.CreateDefaultDisplayNodes()
    moving.GetDisplayNode().SetAutoWindowLevel(False)
    moving.GetDisplayNode().SetWindowLevel(350, 40)
    moving.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
    unit = slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    moving.SetVoxelValueUnits(unit)
    node = add_volume(scene, phantom, "warped", like=moving)
    display = node.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (350, 40)
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    assert node.GetVoxelValueUnits().GetCodeMeaning() == "Hounsfield unit"
    assert not display.GetAutoWindowLevel()


def test_a_volume_without_a_pattern_gets_a_window_of_its_own_values(scene: slicer.vtkMRMLScene) -> None:
    phantom = blobs(geometry_in("LPS", (16, 16, 16)))
    display = add_volume(scene, phantom, "warped").GetDisplayNode()
    low, high = np.percentile(phantom.array, (0.1, 99.9))
    assert display.GetWindowLevelMin() == pytest.approx(low, abs=1)
    assert display.GetWindowLevelMax() == pytest.approx(high, rel=0.01)


def test_an_overwritten_volume_keeps_its_name_and_leaves_its_transform(scene: slicer.vtkMRMLScene) -> None:
    node = volume_node(scene, blobs(geometry_in("RAS", (6, 6, 6))), "mine")
    node.SetAndObserveTransformNodeID(linear_node(scene, random_linear(1).matrix).GetID())
    phantom = blobs(geometry_in("oblique", (8, 9, 10)))
    set_volume(node, phantom)
    assert node.GetName() == "mine"
    image = image_from_volume(node)
    assert image.geometry.is_close(phantom.geometry)
    np.testing.assert_array_equal(image.array, phantom.array)


def test_a_label_map_becomes_a_label_map_volume(scene: slicer.vtkMRMLScene) -> None:
    labels = label_map(geometry_in("oblique", (12, 14, 10)))
    node = add_label_volume(scene, labels, "labels")
    assert node.IsA("vtkMRMLLabelMapVolumeNode")
    assert node.GetDisplayNode() is not None
    np.testing.assert_array_equal(image_from_volume(node).array, labels.array)
