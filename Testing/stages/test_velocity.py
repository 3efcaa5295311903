"""A registration by a stationary velocity: its inverse comes with it, nothing folds, starts are taken over."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from DeepRegLib.evaluation import digital_folds
from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import VELOCITY, LargeMotion, Recipe
from DeepRegLib.result import Registration
from DeepRegLib.stages import velocity as stage
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, compose, invert
from Testing.small import small_recipe
from Testing.synthetic import blob_values, geometry_in, interior, smooth_field

SPACING = 3.0
GRID = geometry_in("oblique", (30, 32, 28), SPACING)
TRUTH = smooth_field(GRID, 8.0, seed=3)
POINTS = GRID.points()[interior(GRID.shape, 6)].reshape(-1, 3)


def recipe(**deformable: object) -> Recipe:
    small = small_recipe()
    settings = {"parametrisation": VELOCITY, "similarity": "lncc", "voxels": 60_000, "iterations": (30, 20)}
    return replace(
        small,
        linear=replace(small.linear, model="none"),
        deformable=replace(small.deformable, **(settings | deformable)),
    )


def scan(transform: Transform, name: str) -> Image:
    values = blob_values(transform.apply_to_points(GRID.points()), radius=36.0)
    return Image(values.astype(np.float32), GRID, name)


def pair() -> tuple[Image, Image]:
    return scan(TRUTH, "fixed"), scan(LinearTransform.identity(), "moving")


@functools.cache
def result() -> Registration:
    return register(*pair(), recipe(), device="cpu")


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def around(transform: Transform, inverse: Transform) -> NDArray[np.float64]:
    return distance(inverse.apply_to_points(transform.apply_to_points(POINTS)), POINTS)


def error(found: Registration) -> float:
    return float(distance(found.transform.apply_to_points(POINTS), TRUTH.apply_to_points(POINTS)).mean())


def test_a_deformation_is_recovered_as_well_as_by_a_displacement():
    other = register(*pair(), recipe(parametrisation="displacement"), device="cpu")
    assert error(result()) < 0.5 * distance(POINTS, TRUTH.apply_to_points(POINTS)).mean()
    assert error(result()) < 1.05 * error(other)


def test_neither_the_flow_nor_its_inverse_folds():
    assert result().measures.folds == 0
    assert digital_folds(result().transform, GRID) == 0
    assert digital_folds(result().inverse, GRID) == 0


def test_the_flow_backwards_is_a_better_inverse_than_a_solved_one_on_the_same_grid():
    transform, inverse = result().transform, result().inverse
    assert isinstance(transform, DisplacementField)
    assert isinstance(inverse, DisplacementField)
    assert inverse.geometry == transform.geometry
    solved = invert(transform)
    assert around(transform, inverse).mean() < 0.9 * around(transform, solved).mean()
    assert result().measures.inverse_error_mean < 0.09
    assert result().measures.inverse_error_p99 < 0.45
    assert not any(decision.startswith("Inverse") for decision in result().decisions)


def test_both_directions_are_alike_exact():
    transform, inverse = result().transform, result().inverse
    there, back = (e.mean() for e in (around(transform, inverse), around(inverse, transform)))
    assert there == pytest.approx(back, rel=0.5)


def test_a_pose_stays_before_the_flow():
    pose = LinearTransform(np.array([[0, -1, 0, 3], [1, 0, 0, -5], [0, 0, 1, 7], [0, 0, 0, 1.0]]))
    fixed, moving = pair()
    turned = GRID.index_to_world
    x, y, z = (pose.matrix @ turned)[:3, 3].tolist()
    axes = pose.matrix[:3, :3] @ GRID.axes
    placed = replace(GRID, origin=(x, y, z), direction=tuple(axes.ravel().tolist()))
    found = register(fixed, Image(moving.array, placed, "moving"), recipe(), device="cpu", initial_transform=pose)
    expected = compose(result().transform, pose).apply_to_points(POINTS)
    assert distance(found.transform.apply_to_points(POINTS), expected).max() < 0.1
    assert around(found.transform, found.inverse).mean() < 0.09


def test_a_given_field_is_taken_over_as_a_flow_and_the_difference_stated():
    found = register(*pair(), recipe(iterations=(0, 0)), device="cpu", initial_transform=TRUTH)
    other = recipe(parametrisation="displacement", iterations=(0, 0))
    assert error(found) < 1.05 * error(register(*pair(), other, device="cpu", initial_transform=TRUTH))
    (sentence,) = [decision for decision in found.decisions if decision.startswith("Start: a flow")]
    assert "mm" in sentence
    assert around(found.transform, found.inverse).mean() < 0.09


def test_what_the_search_for_large_motion_finds_is_taken_over():
    searching = replace(recipe(shrink=(2, 1)), large_motion=LargeMotion(enabled=True, shrink=(2,), radius=(2,)))
    found = register(*pair(), searching, device="cpu")
    assert found.measures.folds == 0
    assert any(decision.startswith("Start: a flow") for decision in found.decisions)
    assert around(found.transform, found.inverse).mean() < 0.09
    assert error(found) < 0.5 * SPACING


def test_a_velocity_too_rough_for_its_grid_is_smoothed_until_both_flows_are_free_of_folds():
    rough = recipe(smooth_update=0.3, smooth_field=0.0, iterations=(60, 60), step=1.0)
    fixed, _ = pair()
    other = Image(blob_values(GRID.points(), seed=5, radius=36.0).astype(np.float32), GRID, "another")
    found = register(fixed, other, rough, device="cpu")
    assert found.measures.folds == 0
    assert digital_folds(found.transform, GRID) == 0
    assert around(found.transform, found.inverse).mean() < 0.3


def test_an_inverse_that_misses_is_solved_instead_and_the_user_is_told(monkeypatch):
    monkeypatch.setattr(stage, "_flows", _with_wrong_inverse(stage._flows))
    found = register(*pair(), recipe(), device="cpu")
    (sentence,) = [decision for decision in found.decisions if decision.startswith("Inverse: solved numerically")]
    assert "misses by 1" in sentence
    assert around(found.transform, found.inverse).mean() < 0.09


def test_a_flow_is_refined_as_far_as_memory_goes(monkeypatch):
    sizes = []
    flows = stage._flows

    def noted(run, velocity, geometry, refinement, linear):
        sizes.append(np.prod(geometry.size) * refinement**3)
        return flows(run, velocity, geometry, refinement, linear)

    monkeypatch.setattr(stage, "_flows", noted)
    monkeypatch.setattr(stage, "is_exact", lambda reached: False)
    for largest, number in ((1, 1), (100_000, 2)):
        sizes.clear()
        monkeypatch.setattr(stage, "LARGEST_FLOW", largest)
        found = register(*pair(), recipe(iterations=(2, 2)), device="cpu")
        assert len(sizes) == number, sizes
        assert np.prod(found.transform.geometry.size) == sizes[0]


def _with_wrong_inverse(flows):
    def shifted(*arguments):
        there, back, jacobian = flows(*arguments)
        return there, DisplacementField(back.array + np.float32(0.8), back.geometry), jacobian

    return shifted
