from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import vtk

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.scene.transforms import add_transform, restore_interpolation, set_transform, transform_from_node
from DeepRegLib.transforms import (
    CompositeTransform,
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    parts_of,
    read_transform,
    transform_to_sitk,
)
from Testing.scene.nodes import bspline_node, from_world, linear_node, sitk_points, volume_node
from Testing.synthetic import CENTRE, ORIENTATIONS, blobs, geometry_in, points_in, random_linear, smooth_field

GRID = geometry_in("oblique", (16, 18, 14), 3.0)


def constant_field(orientation: str = "oblique", dtype: type = np.float64) -> DisplacementField:
    """Return a field that does not vanish at its border."""
    grid = geometry_in(orientation, (10, 12, 9), 3.0)
    field = smooth_field(grid, 3.0)
    return DisplacementField((field.array + np.array([2.0, -1.0, 0.5])).astype(dtype), grid)


def transforms() -> dict[str, Transform]:
    field = smooth_field(GRID, 4.0)
    linear = random_linear(1, scale=0.1, shear=0.1)
    return {
        "linear": linear,
        "mirrored": LinearTransform(np.diag([-1.0, 1.0, 1.0, 1.0])),
        "field": field,
        "single precision": DisplacementField(field.array.astype(np.float32), GRID),
        "not zero at the border": constant_field(),
        "field, then linear": compose(field, linear),
        "linear, then field": compose(linear, field),
        "four parts": CompositeTransform((linear, field, random_linear(2), smooth_field(geometry_in("RAS"), 2.0))),
    }


def points_for(transform: Transform) -> np.ndarray:
    """Return points inside the voxel box of a transform's field."""
    if isinstance(transform, DisplacementField):
        return points_in(transform.geometry, 300, margin=0.01)
    return points_in(GRID, 300, margin=2)


@pytest.mark.parametrize("kind", transforms())
def test_a_transform_node_moves_points_as_the_transform_does(scene: slicer.vtkMRMLScene, kind: str) -> None:
    transform = transforms()[kind]
    node = add_transform(scene, transform, "result")
    points = points_for(transform)
    np.testing.assert_allclose(from_world(node, points), transform.apply_to_points(points), atol=1e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_field_on_any_grid_moves_points_as_simpleitk_does(scene: slicer.vtkMRMLScene, orientation: str) -> None:
    field = constant_field(orientation)
    node = add_transform(scene, field, "result")
    # The voxel box: half a voxel past the outer voxel centres.
    points = points_in(field.geometry, 300, margin=0.01)
    np.testing.assert_allclose(from_world(node, points), sitk_points(transform_to_sitk(field), points), atol=1e-4)


@pytest.mark.parametrize("field", [smooth_field(GRID, 4.0), constant_field()], ids=["zero border", "open border"])
def test_far_outside_its_grid_nothing_moves_as_in_simpleitk(
    scene: slicer.vtkMRMLScene, field: DisplacementField
) -> None:
    node = add_transform(scene, field, "result")
    directions = np.random.default_rng(0).normal(size=(60, 3))
    reach = np.linalg.norm(field.geometry.extent)
    points = field.geometry.centre + reach * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    expected = sitk_points(transform_to_sitk(field), points)
    np.testing.assert_allclose(expected, points, atol=1e-12)
    np.testing.assert_allclose(from_world(node, points), expected, atol=1e-4)


def test_a_field_fades_out_without_a_fold(scene: slicer.vtkMRMLScene) -> None:
    field = constant_field()
    node = add_transform(scene, field, "result")
    step = 0.2
    line = field.geometry.to_world(np.stack([np.linspace(-9, 18, 400), np.full(400, 5.0), np.full(400, 4.0)], axis=-1))
    moved = from_world(node, line)
    along = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
    assert np.all(np.diff(moved @ along) > step * np.diff(line @ along))


@pytest.mark.parametrize("kind", transforms())
def test_a_transform_comes_back_from_its_node(scene: slicer.vtkMRMLScene, kind: str) -> None:
    transform = transforms()[kind]
    returned = transform_from_node(add_transform(scene, transform, "result"))
    assert [type(part) for part in parts_of(returned)] == [type(part) for part in parts_of(transform)]
    points = points_for(transform)
    np.testing.assert_allclose(returned.apply_to_points(points), transform.apply_to_points(points), atol=1e-4)


def test_single_precision_stays_single(scene: slicer.vtkMRMLScene) -> None:
    field = constant_field(dtype=np.float32)
    node = add_transform(scene, field, "result")
    assert node.GetTransformFromParent().GetDisplacementGrid().GetScalarType() == vtk.VTK_FLOAT
    returned = transform_from_node(node)
    assert isinstance(returned, DisplacementField)
    assert returned.array.dtype == np.float32


def test_the_whole_chain_of_parents_counts(scene: slicer.vtkMRMLScene) -> None:
    field, low, high = smooth_field(GRID, 4.0), random_linear(1), random_linear(2)
    node = add_transform(scene, field, "field")
    middle, top = linear_node(scene, low.matrix), linear_node(scene, high.matrix)
    node.SetAndObserveTransformNodeID(middle.GetID())
    middle.SetAndObserveTransformNodeID(top.GetID())
    points = high.apply_to_points(low.apply_to_points(points_in(GRID, 200, margin=2)))
    expected = field.apply_to_points(low.inverse().apply_to_points(high.inverse().apply_to_points(points)))
    returned = transform_from_node(node)
    np.testing.assert_allclose(returned.apply_to_points(points), expected, atol=1e-6)
    np.testing.assert_allclose(from_world(node, points), expected, atol=1e-4)


def test_a_linear_node_may_be_stored_either_way_round(scene: slicer.vtkMRMLScene) -> None:
    matrix = random_linear(3)
    node = linear_node(scene, matrix.matrix)
    np.testing.assert_allclose(
        transform_from_node(node).apply_to_points(CENTRE), matrix.inverse().apply_to_points(CENTRE), atol=1e-9
    )
    node.Inverse()
    np.testing.assert_allclose(
        transform_from_node(node).apply_to_points(CENTRE), matrix.apply_to_points(CENTRE), atol=1e-9
    )


def test_a_scaled_grid_of_another_extension_is_read_as_it_acts(scene: slicer.vtkMRMLScene) -> None:
    node = add_transform(scene, smooth_field(GRID, 4.0), "field")
    grid = node.GetTransformFromParent()
    grid.SetDisplacementScale(0.5)
    grid.SetDisplacementShift(0.25)
    points = points_in(GRID, 100, margin=2)
    np.testing.assert_allclose(transform_from_node(node).apply_to_points(points), from_world(node, points), atol=1e-4)


def gone(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = linear_node(scene, np.eye(4), "old")
    scene.RemoveNode(node)
    return node


def to_parent(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = add_transform(scene, smooth_field(GRID, 2.0), "turned")
    node.Inverse()
    return node


def empty_grid(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "hollow")
    node.SetAndObserveTransformFromParent(slicer.vtkOrientedGridTransform())
    return node


def thin_plate(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    spline = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for corner in np.eye(4, 3) * 30:
        points.InsertNextPoint(*corner)
    moved = vtk.vtkPoints()
    for corner in np.eye(4, 3) * 33:
        moved.InsertNextPoint(*corner)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "plate")
    node.SetAndObserveTransformFromParent(spline)
    return node


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda scene: None, "No transform is chosen."),
        (gone, "The transform old is no longer in the scene."),
        (lambda scene: volume_node(scene, blobs(GRID), "scan"), "scan is not a transform."),
        (bspline_node, "The transform bspline is a B-spline transform."),
        (thin_plate, "The transform plate is a thin-plate spline transform."),
        (to_parent, "The transform turned holds a displacement field of the opposite direction (to parent)."),
        (empty_grid, "The transform hollow holds an empty displacement field."),
    ],
)
def test_a_transform_that_cannot_be_used_is_refused_in_words(scene: slicer.vtkMRMLScene, make, sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        transform_from_node(make(scene))
    assert refusal.value.message == sentence
    assert refusal.value.hint.endswith(".")


def test_an_overwritten_node_forgets_its_old_transform_and_parent(scene: slicer.vtkMRMLScene) -> None:
    node = add_transform(scene, transforms()["field, then linear"], "mine")
    node.SetAndObserveTransformNodeID(linear_node(scene, random_linear(4).matrix).GetID())
    linear = random_linear(1)
    set_transform(node, linear)
    assert node.IsLinear()
    assert node.GetParentTransformNode() is None
    np.testing.assert_allclose(from_world(node, CENTRE[None]), linear.apply_to_points(CENTRE[None]), atol=1e-9)


@pytest.mark.parametrize("kind", ["linear", "field", "field, then linear"])
def test_the_file_of_a_node_reads_back_as_the_transform(scene: slicer.vtkMRMLScene, kind: str, tmp_path: Path) -> None:
    transform = transforms()[kind]
    node = add_transform(scene, transform, "result")
    storage = scene.AddNewNodeByClass("vtkMRMLTransformStorageNode")
    storage.SetFileName(str(tmp_path / "result.h5"))
    assert storage.WriteData(node)
    points = points_in(GRID, 200, margin=2)
    returned = read_transform(tmp_path / "result.h5")
    np.testing.assert_allclose(returned.apply_to_points(points), transform.apply_to_points(points), atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "not zero at the border", "field, then linear"])
def test_a_saved_scene_gives_the_same_transform(scene: slicer.vtkMRMLScene, kind: str, tmp_path: Path) -> None:
    transform = transforms()[kind]
    add_transform(scene, transform, "result")
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(False)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    restore_interpolation(scene)
    node = scene.GetFirstNodeByName("result")
    points = points_for(transform)
    np.testing.assert_allclose(from_world(node, points), transform.apply_to_points(points), atol=1e-4)


def test_fields_of_others_keep_their_interpolation(scene: slicer.vtkMRMLScene) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "theirs")
    grid = slicer.vtkOrientedGridTransform()
    grid.SetInterpolationModeToCubic()
    node.SetAndObserveTransformFromParent(grid)
    restore_interpolation(scene)
    assert grid.GetInterpolationModeAsString() == "Cubic"
