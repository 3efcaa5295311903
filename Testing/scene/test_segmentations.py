from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import vtk

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.scene.segmentations import (
    add_segmentation,
    common_labels,
    layers_from_node,
    mask_from_node,
    segment_names,
)
from DeepRegLib.transforms import LinearTransform, apply_to_labels, transform_to_sitk
from Testing.scene.nodes import (
    BODY_PART,
    bspline_node,
    colour_of,
    linear_node,
    segmentation_node,
    tag_of,
    volume_node,
)
from Testing.scene.results import strong_transform
from Testing.synthetic import ORIENTATIONS, blobs, geometry_in, label_map, random_linear

GRID = geometry_in("oblique", (30, 28, 26), 1.6)
NAMES = {2: "liver", 7: "kidney", 250: "tumour"}


def labels_image() -> Image:
    return label_map(GRID)


def part_of(image: Image, low: tuple[int, int, int], high: tuple[int, int, int]) -> Image:
    """Cut a box of voxels (k, j, i) out of an image."""
    start = image.geometry.to_world(low[::-1])
    array = image.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    size = (array.shape[2], array.shape[1], array.shape[0])
    origin = (float(start[0]), float(start[1]), float(start[2]))
    return Image(np.ascontiguousarray(array), Geometry(size, image.geometry.spacing, origin, image.geometry.direction))


def expected_mask(image: Image, values: list[int], grid: Geometry, to_world: LinearTransform) -> np.ndarray:
    marked = image.with_array(np.isin(image.array, values))
    return resample(marked, grid, interpolation="nearest", transform=transform_to_sitk(to_world.inverse())).array


def test_segments_are_listed_by_id_and_name(scene: slicer.vtkMRMLScene) -> None:
    node = segmentation_node(scene, [labels_image()], [NAMES])
    assert segment_names(node) == [("id liver", "liver"), ("id kidney", "kidney"), ("id tumour", "tumour")]
    assert segment_names(None) == []
    assert segment_names(volume_node(scene, labels_image())) == []


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("extent_start", [(0, 0, 0), (5, -3, 11)])
def test_a_mask_of_chosen_segments_lies_where_simpleitk_has_it(
    scene: slicer.vtkMRMLScene, orientation: str, extent_start: tuple[int, int, int]
) -> None:
    labels = labels_image()
    node = segmentation_node(scene, [labels], [NAMES], extent_start=extent_start)
    parent = random_linear(1, shift=3)
    node.SetAndObserveTransformNodeID(linear_node(scene, parent.matrix).GetID())
    grid = geometry_in(orientation, (24, 26, 22), 1.7)
    mask = mask_from_node(node, ["id liver", "id tumour"], grid)
    assert mask.array.dtype == np.bool_
    expected = expected_mask(labels, [2, 250], grid, parent)
    # A voxel centre that falls between two others may go either way by rounding.
    assert np.count_nonzero(mask.array != expected) <= 2
    assert mask.array.any()


def test_a_mask_of_all_segments_joins_the_layers(scene: slicer.vtkMRMLScene) -> None:
    first, second = labels_image(), label_map(GRID, seed=3, labels=(1,))
    node = segmentation_node(scene, [first, second], [NAMES, {1: "vessel"}])
    mask = mask_from_node(node, None, GRID)
    np.testing.assert_array_equal(mask.array, (first.array > 0) | (second.array > 0))


def test_a_label_map_serves_as_a_mask(scene: slicer.vtkMRMLScene) -> None:
    labels = labels_image()
    node = volume_node(scene, labels, kind="vtkMRMLLabelMapVolumeNode")
    np.testing.assert_array_equal(mask_from_node(node, None, GRID).array, labels.array > 0)


def test_a_segmentation_of_surfaces_serves_as_a_mask_and_stays_as_it_is(scene: slicer.vtkMRMLScene) -> None:
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(15)
    sphere.SetPhiResolution(60)
    sphere.SetThetaResolution(60)
    sphere.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    segment = slicer.vtkSegment()
    segment.SetName("ball")
    segment.AddRepresentation("Closed surface", sphere.GetOutput())
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().AddSegment(segment, "ball")
    grid = Geometry((40, 40, 40), origin=(-20.0, -20.0, -20.0))
    mask = mask_from_node(node, ["ball"], grid)
    assert mask.array.sum() == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.03)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")
    assert len(layers_from_node(node).images) == 1


def nothing_marked(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    empty = labels_image().with_array(np.zeros(GRID.shape, np.uint8))
    return segmentation_node(scene, [empty], [NAMES], "blank")


def elsewhere(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = segmentation_node(scene, [labels_image()], [NAMES], "far")
    away = np.eye(4)
    away[0, 3] = 500
    node.SetAndObserveTransformNodeID(linear_node(scene, away).GetID())
    return node


def removed(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = segmentation_node(scene, [labels_image()], [NAMES], "gone")
    scene.RemoveNode(node)
    return node


def bent(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = segmentation_node(scene, [labels_image()], [NAMES], "bent")
    node.SetAndObserveTransformNodeID(bspline_node(scene, "field").GetID())
    return node


@pytest.mark.parametrize(
    ("make", "segments", "sentence"),
    [
        (lambda scene: None, None, "No segmentation is chosen."),
        (removed, None, "gone is no longer in the scene."),
        (lambda scene: linear_node(scene, np.eye(4)), None, "linear is neither a segmentation nor a label map."),
        (nothing_marked, None, "The mask blank is empty."),
        (elsewhere, None, "The mask far lies outside the volume."),
        (bent, None, "The segmentation bent is moved by the transform field, which bends space."),
        (nothing_marked, ["spleen"], "The segmentation blank has no segment spleen any more."),
        (
            lambda scene: scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "new"),
            None,
            "The segmentation new has no segments.",
        ),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_in_words(
    scene: slicer.vtkMRMLScene, make, segments: list[str] | None, sentence: str
) -> None:
    with pytest.raises(InputError) as refusal:
        mask_from_node(make(scene), segments, GRID)
    assert refusal.value.message == sentence
    assert refusal.value.hint.endswith(".")


def test_an_empty_segmentation_has_no_layers(scene: slicer.vtkMRMLScene) -> None:
    with pytest.raises(InputError, match="The segmentation blank is empty"):
        layers_from_node(nothing_marked(scene))


def segment_voxels(node: slicer.vtkMRMLSegmentationNode, name: str, grid: Geometry) -> np.ndarray:
    """Return a segment's voxels on a grid of its node's frame, read with SimpleITK."""
    data = node.GetSegmentation().GetSegment(f"id {name}").GetRepresentation("Binary labelmap")
    value = node.GetSegmentation().GetSegment(f"id {name}").GetLabelValue()
    matrix = vtk.vtkMatrix4x4()
    data.GetImageToWorldMatrix(matrix)
    own = np.diag([-1, -1, 1, 1]) @ np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    from vtk.util.numpy_support import vtk_to_numpy

    array = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])
    picture = sitk.GetImageFromArray((array == value).astype(np.uint8))
    spacing = np.linalg.norm(own[:3, :3], axis=0)
    picture.SetSpacing(spacing.tolist())
    picture.SetDirection((own[:3, :3] / spacing).ravel().tolist())
    picture.SetOrigin((own @ [*data.GetExtent()[::2], 1])[:3].tolist())
    resampled = sitk.Resample(
        picture, grid.size, sitk.Transform(), sitk.sitkNearestNeighbor, grid.origin, grid.spacing, grid.direction
    )
    return sitk.GetArrayFromImage(resampled) > 0


def test_layers_hold_every_segment_where_it_is_however_it_is_stored(scene: slicer.vtkMRMLScene) -> None:
    labels = labels_image()
    overlapping = label_map(GRID, seed=3, labels=(1,))
    # Its own box of voxels, clear of the others: it can share an image with them.
    corner = np.zeros(GRID.shape, np.uint8)
    corner[1:4, 1:5, 1:6] = 9
    corner[labels.array > 0] = 0
    small = part_of(Image(corner, GRID), (0, 0, 0), (5, 6, 7))
    node = segmentation_node(
        scene, [labels, overlapping, small], [NAMES, {1: "vessel"}, {9: "node"}], extent_start=(0, 0, 0)
    )
    layers = layers_from_node(node)
    assert len(layers.images) == 2
    assert [segment.name for segment in layers.segments] == ["liver", "kidney", "tumour", "vessel", "node"]
    for segment in layers.segments:
        image = layers.images[segment.layer]
        own = image.with_array(image.array == segment.value)
        placed = resample(own, GRID, interpolation="nearest").array
        np.testing.assert_array_equal(placed, segment_voxels(node, segment.name, GRID))


def test_layers_on_other_grids_stay_apart(scene: slicer.vtkMRMLScene) -> None:
    empty = np.zeros(GRID.shape, np.uint8)
    empty[0, 0, 0] = 1
    shifted = Geometry(GRID.size, GRID.spacing, tuple(np.array(GRID.origin) + 0.3), GRID.direction)
    node = segmentation_node(scene, [labels_image(), Image(empty, shifted)], [NAMES, {1: "dot"}])
    assert len(layers_from_node(node).images) == 2


def test_layers_lie_in_the_world_and_are_copies(scene: slicer.vtkMRMLScene) -> None:
    labels = labels_image()
    node = segmentation_node(scene, [labels], [NAMES])
    parent = random_linear(2)
    node.SetAndObserveTransformNodeID(linear_node(scene, parent.matrix).GetID())
    image = layers_from_node(node).images[0]
    moved = transform_to_sitk(parent)
    placed = resample(image, GRID, interpolation="nearest", transform=moved).array
    np.testing.assert_array_equal(placed, labels.array)
    liver = node.GetSegmentation().GetSegment("id liver")
    liver.GetRepresentation("Binary labelmap").GetPointData().GetScalars().Fill(0)
    np.testing.assert_array_equal(resample(image, GRID, interpolation="nearest", transform=moved).array, labels.array)


@pytest.mark.parametrize("cut", [False, True], ids=["whole grid", "cut to the segments"])
def test_layers_are_warped_as_the_whole_label_map_is(scene: slicer.vtkMRMLScene, cut: bool) -> None:
    labels = labels_image()
    k, j, i = np.nonzero(labels.array)
    low, high = (k.min(), j.min(), i.min()), (k.max() + 1, j.max() + 1, i.max() + 1)
    stored = part_of(labels, low, high) if cut else labels
    layers = layers_from_node(segmentation_node(scene, [stored], [NAMES]))
    transform, grid = strong_transform(), geometry_in("anisotropic", (30, 28, 26), 1.6)
    np.testing.assert_array_equal(
        apply_to_labels(transform, layers.images[0], grid).array, apply_to_labels(transform, labels, grid).array
    )


def test_a_label_map_brings_the_names_and_colours_of_its_table(scene: slicer.vtkMRMLScene) -> None:
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "organs")
    table.SetTypeToUser()
    table.SetNumberOfColors(300)
    table.SetColor(2, "liver", 0.8, 0.4, 0.2, 1.0)
    table.SetTerminologyFromString(2, BODY_PART)
    node = volume_node(scene, labels_image(), kind="vtkMRMLLabelMapVolumeNode")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    layers = layers_from_node(node)
    liver, *others = layers.segments
    assert liver.name == "liver"
    assert liver.description.GetColor() == pytest.approx((0.8, 0.4, 0.2), abs=0.01)
    assert "Liver" in liver.description.GetTerminology()
    assert [segment.value for segment in others] == [7, 250]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_label_maps_of_any_type_are_read(scene: slicer.vtkMRMLScene, dtype: type) -> None:
    labels = labels_image()
    array = labels.array.astype(dtype)
    array[array == 250] = 100_000 if dtype is np.int32 else 2035
    layers = layers_from_node(volume_node(scene, labels.with_array(array), kind="vtkMRMLLabelMapVolumeNode"))
    assert [segment.value for segment in layers.segments] == [2, 7, int(array.max())]
    np.testing.assert_array_equal(layers.images[0].array, array)


def test_a_picture_is_no_label_map(scene: slicer.vtkMRMLScene) -> None:
    with pytest.raises(InputError, match="voxels that are not whole numbers"):
        layers_from_node(volume_node(scene, blobs(GRID)))


def test_propagated_segments_keep_id_name_colour_and_tags(scene: slicer.vtkMRMLScene) -> None:
    first, second = labels_image(), label_map(GRID, seed=3, labels=(1,))
    node = segmentation_node(scene, [first, second], [NAMES, {1: "vessel"}])
    node.GetSegmentation().AddEmptySegment("id later", "later", [1, 0, 0])
    fixed = volume_node(scene, blobs(GRID), "fixed")
    layers = layers_from_node(node)
    returned = add_segmentation(scene, layers, layers.images, "propagated", reference=fixed)
    assert segment_names(returned) == segment_names(node)
    for layer, value, name in ((0, 2, "liver"), (0, 7, "kidney"), (0, 250, "tumour"), (1, 1, "vessel")):
        segment = returned.GetSegmentation().GetSegment(f"id {name}")
        assert segment.GetColor() == pytest.approx(colour_of(layer, value))
        assert segment.GetTerminology() == node.GetSegmentation().GetSegment(f"id {name}").GetTerminology() != ""
        assert tag_of(segment, "Origin") == f"{name} by hand"
        np.testing.assert_array_equal(segment_voxels(returned, name, GRID), segment_voxels(node, name, GRID))
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert returned.GetNodeReferenceID(role) == fixed.GetID()


def test_overlapping_segments_both_survive(scene: slicer.vtkMRMLScene) -> None:
    whole = Image(np.ones(GRID.shape, np.uint8), GRID)
    inner = np.zeros(GRID.shape, np.uint8)
    inner[5:15, 5:15, 5:15] = 1
    node = segmentation_node(scene, [whole, Image(inner, GRID)], [{1: "body"}, {1: "organ"}])
    layers = layers_from_node(node)
    returned = add_segmentation(scene, layers, layers.images, "propagated", reference=None)
    assert segment_voxels(returned, "body", GRID).all()
    np.testing.assert_array_equal(segment_voxels(returned, "organ", GRID), inner > 0)


def test_segments_are_compared_by_name(scene: slicer.vtkMRMLScene) -> None:
    labels, other_grid = labels_image(), geometry_in("RAS", (28, 26, 24), 1.5)
    other = label_map(other_grid)
    fixed = layers_from_node(segmentation_node(scene, [labels], [NAMES]))
    moving = layers_from_node(
        segmentation_node(scene, [other], [{2: "tumour", 7: "spleen", 250: "liver"}], "moving segmentation")
    )
    pair = common_labels(fixed, moving, GRID, other_grid)
    assert pair is not None
    assert pair.names == {1: "liver", 2: "tumour"}
    np.testing.assert_array_equal(pair.fixed.array == 1, labels.array == 2)
    np.testing.assert_array_equal(pair.fixed.array == 2, labels.array == 250)
    np.testing.assert_array_equal(pair.moving.array == 1, other.array == 250)
    np.testing.assert_array_equal(pair.moving.array == 2, other.array == 2)


def test_without_a_common_name_nothing_is_compared(scene: slicer.vtkMRMLScene) -> None:
    fixed = layers_from_node(segmentation_node(scene, [labels_image()], [NAMES]))
    moving = layers_from_node(segmentation_node(scene, [labels_image()], [{2: "a", 7: "b", 250: "c"}], "other"))
    assert common_labels(fixed, moving, GRID, GRID) is None
