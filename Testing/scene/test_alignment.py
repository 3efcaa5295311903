"""What a result does in the scene agrees with what it says: volumes, segments and points land where they should."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import dice
from DeepRegLib.image import Image
from DeepRegLib.result import Registration
from DeepRegLib.scene.alignment import apply_to_moving
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with
from DeepRegLib.scene.outputs import Outputs, Results, inputs_of
from DeepRegLib.scene.results import add_results, remove_results
from DeepRegLib.scene.segmentations import layers_from_node
from DeepRegLib.scene.transforms import restore_interpolation
from DeepRegLib.transforms import Transform, compose, invert
from Testing.scene.nodes import (
    from_world,
    linear_node,
    markups_node,
    segmentation_node,
    volume_node,
    world_points,
)
from Testing.scene.results import FIXED_GRID, MOVING_GRID, made_registration, registration_of
from Testing.synthetic import CENTRE, blobs, geometry_in, interior, points_in, random_linear, smooth_field


def resampled_by_vtk(moving: slicer.vtkMRMLScalarVolumeNode, fixed: slicer.vtkMRMLScalarVolumeNode) -> NDArray:
    """Resample a volume onto another one's grid through its parent transforms, as Slicer does it."""
    to_ras, to_ijk = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    fixed.GetIJKToRASMatrix(to_ras)
    moving.GetRASToIJKMatrix(to_ijk)
    chain = vtk.vtkGeneralTransform()
    chain.PostMultiply()
    chain.Concatenate(to_ras)
    if moving.GetParentTransformNode() is not None:
        from_world = vtk.vtkGeneralTransform()
        moving.GetParentTransformNode().GetTransformFromWorld(from_world)
        chain.Concatenate(from_world)
    chain.Concatenate(to_ijk)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(moving.GetImageData())
    reslice.SetResliceTransform(chain)
    reslice.SetInterpolationModeToLinear()
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(fixed.GetImageData().GetExtent())
    reslice.Update()
    output = reslice.GetOutput()
    return vtk_to_numpy(output.GetPointData().GetScalars()).reshape(output.GetDimensions()[::-1])


def compared(registration: Registration) -> NDArray[np.bool_]:
    """Mark the voxels whose whole neighbourhood was scanned, away from the border of the fixed grid."""
    scanned = sitk.GetImageFromArray(registration.field_of_view.array.astype(np.uint8))
    inner = np.zeros(registration.fixed.geometry.shape, dtype=np.bool_)
    inner[interior(registration.fixed.geometry.shape)] = True
    return inner & (sitk.GetArrayFromImage(sitk.BinaryErode(scanned, (2, 2, 2))) > 0)


def linear_registration() -> Registration:
    linear = random_linear(2, angle=8.0, shift=5.0, scale=0.05)
    return registration_of(linear, linear.inverse(), blobs(FIXED_GRID), blobs(MOVING_GRID))


def added(
    scene: slicer.vtkMRMLScene, registration: Registration
) -> tuple[Results, slicer.vtkMRMLNode, slicer.vtkMRMLNode]:
    fixed = volume_node(scene, registration.fixed, "fixed")
    moving = volume_node(scene, registration.moving, "moving")
    return add_results(scene, registration, inputs_of(fixed, moving), Outputs(inverse=True)), fixed, moving


@pytest.mark.parametrize("make", [made_registration, linear_registration])
def test_slicers_own_resampling_gives_the_delivered_volume(scene: slicer.vtkMRMLScene, make) -> None:
    registration = make()
    results, fixed, moving = added(scene, registration)
    apply_to_moving(results, moving)
    resliced = resampled_by_vtk(moving, fixed)
    delivered = registration.warped.array
    within = compared(registration)
    assert within.mean() > 0.3
    assert np.abs(resliced - delivered)[within].max() < 1e-3 * np.ptp(delivered)


def test_the_hardened_volume_is_the_delivered_one(scene: slicer.vtkMRMLScene) -> None:
    registration = made_registration()
    results, fixed, moving = added(scene, registration)
    apply_to_moving(results, moving)
    moving.HardenTransform()
    assert moving.GetParentTransformNode() is None
    # Hardening samples on the moving grid, enlarged: what is compared has been interpolated twice, so only roughly.
    twice = resampled_by_vtk(moving, fixed)
    within = compared(registration)
    assert np.corrcoef(twice[within], registration.warped.array[within])[0, 1] > 0.99


def test_markups_end_at_the_fixed_points(scene: slicer.vtkMRMLScene) -> None:
    registration = made_registration()
    results, _, _ = added(scene, registration)
    fixed_points = points_in(FIXED_GRID, 300)
    moving_points = registration.transform.apply_to_points(fixed_points)
    markups = markups_node(scene, moving_points)
    markups.SetAndObserveTransformNodeID(results.transform)
    errors = np.linalg.norm(world_points(markups) - fixed_points, axis=1)
    assert errors.mean() < 0.05
    assert errors.max() < 0.1


def test_the_inverse_node_takes_fixed_points_to_the_moving_ones(scene: slicer.vtkMRMLScene) -> None:
    registration = made_registration()
    results, _, _ = added(scene, registration)
    fixed_points = points_in(FIXED_GRID, 300)
    markups = markups_node(scene, fixed_points)
    markups.SetAndObserveTransformNodeID(results.inverse)
    errors = np.linalg.norm(world_points(markups) - registration.transform.apply_to_points(fixed_points), axis=1)
    assert errors.mean() < 0.05


@pytest.mark.slow
def test_hardened_and_propagated_segments_are_the_same(scene: slicer.vtkMRMLScene) -> None:
    # Not oblique: on such a grid Slicer's hardening cuts off a part of a bent segment.
    grid = geometry_in("RAS", (84, 84, 84), 0.8)
    field = smooth_field(geometry_in("oblique", (28, 28, 28), 3.0), 3.0)
    transform = compose(field, random_linear(1, angle=5.0, shift=2.0))
    offset = grid.points() - CENTRE
    masks = [np.linalg.norm(offset, axis=-1) < 24, np.linalg.norm(offset - [4, 4, 0], axis=-1) < 22]
    organs = tuple(Image(mask.astype(np.uint8), grid) for mask in masks)
    registration = registration_of(transform, invert(transform), blobs(grid), blobs(grid), organs)
    fixed, moving = volume_node(scene, registration.fixed, "fixed"), volume_node(scene, registration.moving, "moving")
    plan = segmentation_node(scene, organs, [{1: "near"}, {1: "far"}], "plan")
    layers = layers_from_node(plan)
    results = add_results(scene, registration, inputs_of(fixed, moving, plan), Outputs(inverse=True), layers=layers)
    propagated = scene.GetNodeByID(results.segmentation)
    apply_to_moving(results, moving, plan)
    plan.HardenTransform()
    for name in ("near", "far"):
        hardened, carried = (
            slicer.util.arrayFromSegmentBinaryLabelmap(node, f"id {name}", fixed) for node in (plan, propagated)
        )
        scores = dice(Image((hardened > 0).astype(np.uint8), grid), Image((carried > 0).astype(np.uint8), grid))
        assert scores[1] > 0.99


def test_a_moving_volume_with_transforms_of_its_own_lands_right(scene: slicer.vtkMRMLScene) -> None:
    low, high = random_linear(5, angle=30.0, shift=40.0), random_linear(6, angle=20.0, shift=30.0)
    world = high.after(low)
    # The same registration as ever in the moving volume's own frame, seen from the world it is moved to.
    own = made_registration()
    registration = registration_of(
        compose(own.transform, world), compose(world.inverse(), own.inverse), own.fixed, own.moving
    )
    fixed, moving = volume_node(scene, own.fixed, "fixed"), volume_node(scene, own.moving, "moving")
    parent, grandparent = linear_node(scene, low.matrix, "low"), linear_node(scene, high.matrix, "high")
    moving.SetAndObserveTransformNodeID(parent.GetID())
    parent.SetAndObserveTransformNodeID(grandparent.GetID())
    results = add_results(scene, registration, inputs_of(fixed, moving), Outputs(inverse=True))
    apply_to_moving(results, moving)
    resliced = resampled_by_vtk(moving, fixed)
    within = compared(own)
    assert np.abs(resliced - own.warped.array)[within].max() < 1e-3 * np.ptp(own.warped.array)
    # Doing it twice changes nothing, and undoing it brings the volume's own chain back.
    apply_to_moving(results, moving)
    np.testing.assert_array_equal(resampled_by_vtk(moving, fixed), resliced)
    remove_results(scene, results)
    assert moving.GetParentTransformNode() is parent
    assert parent.GetParentTransformNode() is grandparent
    assert grandparent.GetParentTransformNode() is None


def test_a_segmentation_elsewhere_in_the_tree_moves_along(scene: slicer.vtkMRMLScene) -> None:
    registration = linear_registration()
    results, _, moving = added(scene, registration)
    plan = segmentation_node(scene, [Image(np.ones((4, 4, 4), np.uint8), geometry_in("LPS", (4, 4, 4)))], [{1: "x"}])
    parent = linear_node(scene, random_linear(3).matrix)
    plan.SetAndObserveTransformNodeID(parent.GetID())
    apply_to_moving(results, moving, plan)
    assert moving.GetTransformNodeID() == results.transform
    assert parent.GetTransformNodeID() == results.transform
    remove_results(scene)
    assert plan.GetParentTransformNode() is parent
    assert parent.GetParentTransformNode() is None
    assert moving.GetParentTransformNode() is None


def test_a_transform_shared_with_the_fixed_volume_is_not_moved(scene: slicer.vtkMRMLScene) -> None:
    results, fixed, moving = added(scene, linear_registration())
    shared = linear_node(scene, np.eye(4), "table")
    fixed.SetAndObserveTransformNodeID(shared.GetID())
    moving.SetAndObserveTransformNodeID(shared.GetID())
    with pytest.raises(InputError, match="moving and fixed hang under the same transform, table"):
        apply_to_moving(results, moving)
    assert shared.GetParentTransformNode() is None


def test_a_result_without_its_transform_cannot_be_applied(scene: slicer.vtkMRMLScene) -> None:
    results, _, moving = added(scene, linear_registration())
    scene.RemoveNode(scene.GetNodeByID(results.transform))
    with pytest.raises(InputError, match="The result has no transform in this scene"):
        apply_to_moving(results, moving)
    with pytest.raises(InputError, match="The result has no transform in this scene"):
        apply_to_moving(Results(), moving)


@pytest.mark.parametrize("name", ["transform", "inverse"])
def test_a_saved_and_reread_scene_moves_points_the_same(scene: slicer.vtkMRMLScene, name: str, tmp_path) -> None:
    registration = made_registration()
    results, _, _ = added(scene, registration)
    wanted: Transform = getattr(registration, name)
    points = (
        registration.transform.apply_to_points(points_in(FIXED_GRID, 200))
        if name == "inverse"
        else points_in(FIXED_GRID, 200)
    )
    identifier = results.ids[name]
    before = from_world(scene.GetNodeByID(identifier), points)
    np.testing.assert_allclose(before, wanted.apply_to_points(points), atol=1e-4)
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(False)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    restore_interpolation(scene)
    np.testing.assert_allclose(from_world(scene.GetNodeByID(identifier), points), before, atol=1e-4)


def test_a_reread_result_still_comes_off(scene: slicer.vtkMRMLScene, tmp_path) -> None:
    results, _, moving = added(scene, linear_registration())
    apply_to_moving(results, moving)
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(False)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    reread = scene.GetFirstNodeByName("moving")
    assert reread.GetParentTransformNode() is not None
    remove_results(scene)
    assert reread.GetParentTransformNode() is None
    assert nodes_with(scene, RESULT_ATTRIBUTE) == []
