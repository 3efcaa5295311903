"""The place in the other scan: exactly what the transform nodes say, in both directions."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.scene.alignment import apply_to_moving
from DeepRegLib.scene.correspondence import FIXED, MOVING, correspondence_of, corresponding_place
from DeepRegLib.scene.outputs import Outputs, Results, inputs_of
from DeepRegLib.scene.results import add_results
from DeepRegLib.scene.transforms import add_transform
from DeepRegLib.scene.volumes import add_volume
from Testing.scene.nodes import linear_node
from Testing.scene.results import FIXED_GRID, made_registration

TO_LPS = np.array([-1.0, -1.0, 1.0])
EXACT_MM = 0.01
INSIDE = FIXED_GRID.to_world(np.array([[12.3, 20.1, 9.7], [5.5, 8.25, 25.0], [25.0, 30.0, 12.5]]))


@pytest.fixture
def nodes(scene: slicer.vtkMRMLScene) -> tuple[Results, slicer.vtkMRMLNode, slicer.vtkMRMLNode]:
    registration = made_registration()
    fixed, moving = add_volume(scene, registration.fixed, "fixed"), add_volume(scene, registration.moving, "moving")
    return add_results(scene, registration, inputs_of(fixed, moving), Outputs(inverse=True)), fixed, moving


@pytest.mark.parametrize("point", INSIDE.tolist())
def test_a_fixed_place_is_shown_where_the_transform_takes_it(scene, nodes, point) -> None:
    pair = correspondence_of(scene.GetNodeByID(nodes[0].transform))
    shown = corresponding_place(scene, pair, TO_LPS * point, FIXED)
    expected = made_registration().transform.apply_to_points(np.array([point]))[0]
    np.testing.assert_allclose(TO_LPS * shown, expected, atol=EXACT_MM)


@pytest.mark.parametrize("point", INSIDE.tolist())
def test_a_moving_place_is_shown_where_the_inverse_takes_it(scene, nodes, point) -> None:
    pair = correspondence_of(scene.GetNodeByID(nodes[0].transform))
    there = made_registration().transform.apply_to_points(np.array([point]))
    shown = corresponding_place(scene, pair, TO_LPS * there[0], MOVING)
    expected = made_registration().inverse.apply_to_points(there)[0]
    np.testing.assert_allclose(TO_LPS * shown, expected, atol=EXACT_MM)


@pytest.mark.parametrize("point", INSIDE.tolist())
def test_without_the_inverse_the_transform_is_inverted(scene, nodes, point) -> None:
    scene.RemoveNode(scene.GetNodeByID(nodes[0].inverse))
    pair = correspondence_of(scene.GetNodeByID(nodes[0].transform))
    assert pair.inverse is None
    there = made_registration().transform.apply_to_points(np.array([point]))[0]
    np.testing.assert_allclose(TO_LPS * corresponding_place(scene, pair, TO_LPS * there, MOVING), point, atol=EXACT_MM)


def test_a_result_knows_its_volumes_and_its_inverse(scene, nodes) -> None:
    results, fixed, moving = nodes
    pair = correspondence_of(scene.GetNodeByID(results.transform))
    assert (pair.fixed, pair.moving) == (fixed.GetID(), moving.GetID())
    assert (pair.inverse, pair.warped) == (results.inverse, results.warped)


def test_a_scan_that_was_put_under_the_result_is_shown_where_the_fixed_one_is(scene, nodes) -> None:
    results, _fixed, moving = nodes
    apply_to_moving(results, moving)
    pair = correspondence_of(scene.GetNodeByID(results.transform))
    for side in (FIXED, MOVING):
        np.testing.assert_array_equal(corresponding_place(scene, pair, (1.0, 2.0, 3.0), side), (1.0, 2.0, 3.0))


def test_a_transform_under_another_goes_the_whole_way(scene, nodes) -> None:
    _results, fixed, moving = nodes
    shift = np.eye(4)
    shift[:3, 3] = (5.0, 0.0, 0.0)
    transform = add_transform(scene, made_registration().transform, "own")
    transform.SetAndObserveTransformNodeID(linear_node(scene, shift).GetID())
    pair = correspondence_of(transform, fixed, moving)
    shown = corresponding_place(scene, pair, TO_LPS * (INSIDE[0] + shift[:3, 3]), FIXED)
    expected = made_registration().transform.apply_to_points(INSIDE[:1])[0]
    np.testing.assert_allclose(TO_LPS * shown, expected, atol=EXACT_MM)


def test_nothing_corresponds_without_two_volumes_and_a_transform(scene, nodes) -> None:
    results, fixed, moving = nodes
    assert correspondence_of(None, fixed, moving) is None
    own = add_transform(scene, made_registration().transform, "own")
    assert correspondence_of(own) is None
    assert correspondence_of(own, fixed, fixed) is None
    pair = correspondence_of(own, fixed, moving)
    scene.RemoveNode(own)
    assert correspondence_of(own, fixed, moving) is None
    assert corresponding_place(scene, pair, (0.0, 0.0, 0.0), FIXED) is None
    scene.RemoveNode(moving)
    assert correspondence_of(scene.GetNodeByID(results.transform)) is None
