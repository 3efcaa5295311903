from __future__ import annotations

import numpy as np
import pytest
import vtk

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.scene.markups import correction_from_markups, landmark_pairs, points_from_markups
from DeepRegLib.scene.transforms import add_transform
from Testing.scene.nodes import linear_node, markups_node
from Testing.synthetic import geometry_in, points_in, random_linear, smooth_field

GRID = geometry_in("oblique", (16, 18, 14), 3.0)
POINTS = points_in(GRID, 5, margin=3)


def test_points_lie_in_the_world_under_linear_parents(scene: slicer.vtkMRMLScene) -> None:
    node = markups_node(scene, POINTS, ["a", "b", "c", "d", "e"])
    parent = random_linear(1)
    node.SetAndObserveTransformNodeID(linear_node(scene, parent.matrix).GetID())
    labels, points = points_from_markups(node)
    assert labels == ["a", "b", "c", "d", "e"]
    assert points.dtype == np.float64
    np.testing.assert_allclose(points, parent.apply_to_points(POINTS), atol=1e-9)


def test_points_lie_in_the_world_under_a_field(scene: slicer.vtkMRMLScene) -> None:
    field = smooth_field(GRID, 3.0)
    node = markups_node(scene, POINTS)
    node.SetAndObserveTransformNodeID(add_transform(scene, field, "field").GetID())
    _, points = points_from_markups(node)
    np.testing.assert_allclose(field.apply_to_points(points), POINTS, atol=0.01)


def test_points_that_were_not_placed_do_not_count(scene: slicer.vtkMRMLScene) -> None:
    node = markups_node(scene, POINTS)
    node.UnsetNthControlPointPosition(1)
    labels, points = points_from_markups(node)
    assert labels == ["F-1", "F-3", "F-4", "F-5"]
    np.testing.assert_allclose(points, POINTS[[0, 2, 3, 4]], atol=1e-9)


def test_a_curve_gives_its_control_points(scene: slicer.vtkMRMLScene) -> None:
    curve = scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", "curve")
    for point in POINTS * (-1, -1, 1):
        curve.AddControlPoint(vtk.vtkVector3d(*point))
    np.testing.assert_allclose(points_from_markups(curve)[1], POINTS, atol=1e-9)


@pytest.mark.parametrize(
    ("fixed_labels", "moving_labels", "fixed_rows", "moving_rows"),
    [
        ("abcde", "ecabd", [0, 1, 2, 3, 4], [2, 3, 1, 4, 0]),
        ("bd", "abcde", [0, 1], [1, 3]),
        ("abcde", "eb", [1, 4], [1, 0]),
        ("aabcd", "aabcd", [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ("abc", "xyz", [0, 1, 2], [0, 1, 2]),
    ],
    ids=["by label", "by label, fewer fixed", "by label, fewer moving", "ambiguous, in order", "foreign, in order"],
)
def test_points_are_paired_by_label_else_in_order(
    scene: slicer.vtkMRMLScene, fixed_labels: str, moving_labels: str, fixed_rows: list, moving_rows: list
) -> None:
    fixed = markups_node(scene, POINTS[: len(fixed_labels)], fixed_labels, "fixed points")
    moving = markups_node(scene, 2 * POINTS[: len(moving_labels)], moving_labels, "moving points")
    pairs = landmark_pairs(fixed, moving)
    np.testing.assert_allclose(pairs[0], POINTS[fixed_rows], atol=1e-9)
    np.testing.assert_allclose(pairs[1], 2 * POINTS[moving_rows], atol=1e-9)


def test_points_are_not_paired_in_order_against_their_labels(scene: slicer.vtkMRMLScene) -> None:
    fixed = markups_node(scene, POINTS, "aabcd", "fixed points")
    moving = markups_node(scene, 2 * POINTS, "abcda", "moving points")
    with pytest.raises(InputError, match="a is point 2 of fixed points, and another one in the other list"):
        landmark_pairs(fixed, moving)


def gone(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode:
    node = markups_node(scene, POINTS, name="gone")
    scene.RemoveNode(node)
    return node


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda scene: None, "No landmark list is chosen."),
        (gone, "The landmark list gone is no longer in the scene."),
        (lambda scene: linear_node(scene, np.eye(4)), "linear is not a list of points."),
        (lambda scene: markups_node(scene, POINTS[:0], name="new"), "The landmark list new has no placed points."),
        (
            lambda scene: markups_node(scene, POINTS[:3], "xyz", "three"),
            "fixed points has 5 points and three 3, and their labels do not tell which belong together.",
        ),
    ],
)
def test_lists_that_cannot_be_paired_are_refused_in_words(scene: slicer.vtkMRMLScene, make, sentence: str) -> None:
    fixed = markups_node(scene, POINTS, name="fixed points")
    with pytest.raises(InputError) as refusal:
        landmark_pairs(fixed, make(scene))
    assert refusal.value.message == sentence
    assert refusal.value.hint.endswith(".")


def test_a_line_drags_from_its_first_point_to_its_second(scene: slicer.vtkMRMLScene) -> None:
    line = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "drag")
    for point in POINTS[:2] * (-1, -1, 1):
        line.AddControlPoint(vtk.vtkVector3d(*point))
    correction = correction_from_markups(line)
    np.testing.assert_allclose(correction.shown, POINTS[:1], atol=1e-9)
    np.testing.assert_allclose(correction.wanted, POINTS[1:2], atol=1e-9)


def test_points_drag_in_pairs(scene: slicer.vtkMRMLScene) -> None:
    correction = correction_from_markups(markups_node(scene, POINTS[:4]))
    np.testing.assert_allclose(correction.shown, POINTS[[0, 2]], atol=1e-9)
    np.testing.assert_allclose(correction.wanted, POINTS[[1, 3]], atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_points_that_are_no_pairs_are_refused(scene: slicer.vtkMRMLScene, count: int) -> None:
    with pytest.raises(InputError, match=f"points has {count} placed points, which are no pairs"):
        correction_from_markups(markups_node(scene, POINTS[:count].reshape(count, 3)))
