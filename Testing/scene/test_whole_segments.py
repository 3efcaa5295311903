"""Fractional and closed-surface segmentations read, carried over, and put back as what they were."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError)

from DeepRegLib.evaluation import measure_segments
from DeepRegLib.geometry import Geometry
from DeepRegLib.propagation import with_fractions, with_layers
from DeepRegLib.scene.outputs import Outputs, inputs_of
from DeepRegLib.scene.results import add_results
from DeepRegLib.scene.segmentations import common_labels, layers_from_node, mask_from_node
from DeepRegLib.scene.whole_segments import FRACTIONAL, SURFACE, shares_of
from DeepRegLib.segmentation.fractional import Fractions
from DeepRegLib.segments import Segment
from DeepRegLib.transforms import apply_to_image
from Testing.scene.fractional import fractional_node
from Testing.scene.nodes import linear_node, volume_node
from Testing.scene.surfaces import TERMINOLOGY, points_of, surface_node, terminology
from Testing.small import small_registration

FLIP = np.array([-1.0, -1.0, 1.0])
ONLY = Outputs(transform=False, warped=False, table=False)


def fractions() -> Fractions:
    moving = small_registration().moving
    middle = np.reshape(np.array(moving.array.shape) / 2, (3, 1, 1, 1))
    away = np.linalg.norm(np.indices(moving.array.shape) - middle, axis=0)
    images = [moving.with_array(np.clip(radius - away, 0, 1).astype(np.float32)) for radius in (5.3, 3.1)]
    return Fractions(tuple(images), (Segment(1, "Läsion", (0.5, 0.25, 0.0)), Segment(2, "肝", (0.0, 0.5, 1.0))))


def carried(scene, node):
    """Return the segmentation that comes of a registration that brings a node along."""
    layers = layers_from_node(node)
    registration = with_fractions(with_layers(small_registration(), layers.images), layers.whole.shares)
    fixed, moving = (volume_node(scene, image) for image in (registration.fixed, registration.moving))
    results = add_results(scene, registration, inputs_of(fixed, moving, node), ONLY, layers=layers)
    return registration, scene.GetNodeByID(results.segmentation).GetSegmentation()


def test_fractional_segments_come_back_fractional_with_names_colours_and_range(scene) -> None:
    given = fractions()
    registration, segmentation = carried(scene, fractional_node(scene, given))
    assert segmentation.GetSourceRepresentationName() == FRACTIONAL
    found = dict(shares_of(segmentation))
    assert list(found) == ["S1", "S2"]
    for number, (image, known) in enumerate(zip(given.images, given.segments, strict=True)):
        segment = segmentation.GetNthSegment(number)
        assert segment.GetName() == known.name
        np.testing.assert_allclose(segment.GetColor(), known.colour, atol=1e-6)
        shares = found[f"S{known.label}"]
        assert shares.scale == given.scale
        expected = apply_to_image(registration.transform, image, registration.fixed.geometry, background=0.0)
        np.testing.assert_allclose(shares.array[1:-1, 1:-1, 1:-1], expected.array, atol=2 / 216)
        inside = expected.array[expected.array > 0]
        assert np.mean((inside > 0.05) & (inside < 0.95)) > 0.02  # it is no label map


def test_where_a_label_map_is_needed_a_half_decides(scene) -> None:
    given = fractions()
    node = fractional_node(scene, given)
    mask = mask_from_node(node, ["S1"], given.images[0].geometry)
    sure = np.abs(given.images[0].array - 0.5) > 0.01
    np.testing.assert_array_equal(mask.array[sure], (given.images[0].array > 0.5)[sure])
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_surfaces_come_back_as_surfaces_whose_points_the_inverse_has_moved(scene) -> None:
    node = surface_node(scene, ("a name with spaces", "肝臓"))
    shift = np.eye(4)
    shift[:3, 3] = small_registration().moving.geometry.centre
    node.SetAndObserveTransformNodeID(linear_node(scene, shift).GetID())
    before = [points_of(node.GetSegmentation().GetNthSegment(n)) + shift[:3, 3] * FLIP for n in range(2)]
    registration, segmentation = carried(scene, node)
    assert segmentation.GetSourceRepresentationName() == SURFACE
    assert not segmentation.ContainsRepresentation("Binary labelmap")
    for number, points in enumerate(before):
        segment = segmentation.GetNthSegment(number)
        assert (segment.GetName(), terminology(segment)) == (("a name with spaces", "肝臓")[number], TERMINOLOGY)
        expected = registration.inverse.apply_to_points(points * FLIP) * FLIP
        np.testing.assert_allclose(points_of(segment), expected, atol=0.02)
        surfaces = [s.GetNthSegment(number).GetRepresentation(SURFACE) for s in (node.GetSegmentation(), segmentation)]
        assert surfaces[0].GetNumberOfPolys() == surfaces[1].GetNumberOfPolys()


def test_surfaces_without_a_reference_geometry_become_voxels_to_be_measured(scene) -> None:
    # Slicer's conversion chooses voxels by the size of each surface, where no scan tells them.
    radius, apart = 12.0, 4.0
    nodes = [surface_node(scene, ("ball",), radius, resolution=48) for _ in range(2)]
    shift = np.eye(4)
    shift[0, 3] = apart
    nodes[1].SetAndObserveTransformNodeID(linear_node(scene, shift).GetID())
    grid = Geometry((48, 40, 40), origin=(-30.0, -24.0, -15.0))
    pair = common_labels(*map(layers_from_node, nodes), grid, grid)
    assert pair.names == {1: "ball"}
    ball = 4 / 3 * np.pi * radius**3
    assert [np.count_nonzero(each.array) for each in (pair.fixed, pair.moving)] == pytest.approx([ball, ball], rel=0.02)
    far = apart / (2 * radius)
    shared = 1 - 1.5 * far + 0.5 * far**3  # of two equal balls
    assert measure_segments(pair.fixed, pair.moving).overall.dice == pytest.approx(shared, abs=0.01)
    assert not nodes[0].GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_an_empty_fractional_segment_stays_in_the_list(scene) -> None:
    node = fractional_node(scene, fractions())
    blank = slicer.vtkSegment()
    blank.SetName("nothing yet")
    blank.AddRepresentation(FRACTIONAL, slicer.vtkOrientedImageData())
    node.GetSegmentation().AddSegment(blank, "empty")
    _, segmentation = carried(scene, node)
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == ["Läsion", "肝", "nothing yet"]
