"""Markups of each kind and models on the other scan, by a result that bends space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.scene.along import along_of
from DeepRegLib.scene.results import bring_along
from Testing.scene.case import Case
from Testing.scene.nodes import all_ids, from_world, markups_node, world_points
from Testing.scene.results import FIXED_GRID

# In the middle of the fixed scan, LPS mm, and where they are on the moving one: the transform itself says that.
ON_FIXED = FIXED_GRID.centre + np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0], [0, 0, 6]])


@pytest.mark.parametrize(
    "kind", ["vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsClosedCurveNode"]
)
def test_points_of_the_moving_scan_come_to_lie_where_the_transform_says_they_belong(case: Case, kind: str) -> None:
    transform = case.node(case.add(), "transform")
    drawn = case.scene.AddNewNodeByClass(kind, "drawn")
    for point in from_world(transform, ON_FIXED) * (-1, -1, 1):
        drawn.AddControlPoint(point)
    case.inputs = replace(case.inputs, along=along_of([drawn], []))
    copy = case.scene.GetNodeByID(case.add().along[0])
    assert copy.GetClassName() == kind
    np.testing.assert_allclose(world_points(copy), ON_FIXED, atol=0.1)


def test_points_of_the_fixed_scan_are_taken_back(case: Case) -> None:
    drawn = markups_node(case.scene, ON_FIXED)
    case.inputs = replace(case.inputs, along=along_of([], [drawn]))
    results = case.add()
    expected = from_world(case.node(results, "transform"), ON_FIXED)
    np.testing.assert_allclose(world_points(case.scene.GetNodeByID(results.along[0])), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["vtkMRMLMarkupsPlaneNode", "vtkMRMLMarkupsROINode"])
def test_planes_and_regions_go_along_with_their_size(case: Case, kind: str) -> None:
    transform = case.node(case.add(), "transform")
    drawn = case.scene.AddNewNodeByClass(kind, "drawn")
    drawn.SetCenter(*(from_world(transform, ON_FIXED[:1])[0] * (-1, -1, 1)))
    drawn.SetSize(*([10.0, 12.0, 14.0] if "ROI" in kind else [10.0, 12.0]))
    case.inputs = replace(case.inputs, along=along_of([drawn], []))
    copy = case.scene.GetNodeByID(case.add().along[0])
    np.testing.assert_allclose(np.array(copy.GetCenterWorld()) * (-1, -1, 1), ON_FIXED[0], atol=0.2)
    np.testing.assert_allclose(np.array(copy.GetSize()), np.array(drawn.GetSize()), rtol=0.5)


def test_what_hangs_under_the_result_is_not_moved_twice(case: Case) -> None:
    results = case.add()
    transform = case.node(results, "transform")
    drawn = markups_node(case.scene, from_world(transform, ON_FIXED))
    drawn.SetAndObserveTransformNodeID(transform.GetID())
    made = bring_along(case.scene, case.registration, case.inputs, results, along_of([drawn], []))
    np.testing.assert_allclose(world_points(case.scene.GetNodeByID(made.along[0])), ON_FIXED, atol=0.1)


def test_a_result_put_over_another_moves_its_copies_and_leaves_no_stale_one(case: Case) -> None:
    kept, gone = (markups_node(case.scene, ON_FIXED, name=name) for name in ("kept", "gone"))
    case.inputs = replace(case.inputs, along=along_of([], [kept, gone]))
    first = case.add()
    ids = all_ids(case.scene)
    case.scene.RemoveNode(gone)
    kept.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    nodes = {name: case.node(first, name) for name in first.ids}
    second = case.add(**nodes)
    assert second.along == first.along[:1]
    assert len(all_ids(case.scene)) < len(ids)
    transform = case.node(second, "transform")
    expected = from_world(transform, np.array([[-1.0, -2.0, 3.0]]))
    np.testing.assert_allclose(world_points(case.scene.GetNodeByID(second.along[0]))[:1], expected, atol=1e-3)
