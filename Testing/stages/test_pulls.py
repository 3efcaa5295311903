"""Landmarks and labels as a user gives them: they draw the result, are told of, and never fold it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import dice, target_registration_error
from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe
from DeepRegLib.result import Registration
from DeepRegLib.transforms import Transform, apply_to_labels, compose
from Testing.small import FIXED_GRID, TRUTH, small_pair, small_recipe
from Testing.synthetic import CENTRE, ORIENTATIONS, blob_values, geometry_in, random_linear, smooth_field

SIZE, SPACING, RADIUS = (28, 30, 26), 3.0, 34.0
POSE = random_linear(6, angle=8, shift=5)
BLANK_RADIUS = 0.62


def slow(value: object) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


def recipe(**deformable: Any) -> Recipe:
    small = small_recipe()
    levels = replace(
        small.deformable, voxels=60_000, shrink=(4, 2, 1), iterations=(40, 30, 15), similarity="lncc", **deformable
    )
    return replace(small, deformable=levels)


@cache
def blank_pair(orientation: str = "LPS") -> tuple[Image, Image, Transform]:
    """Return two scans with a uniform middle, the true transform, which also moves that middle, and is not linear."""
    fixed_grid, moving_grid = geometry_in(orientation, SIZE, SPACING), geometry_in("oblique", (34, 34, 34), SPACING)
    truth = compose(smooth_field(geometry_in("LPS", SIZE, SPACING), 7.0, seed=3), POSE)
    fixed = scan(truth.apply_to_points(fixed_grid.points()))
    return Image(fixed, fixed_grid, "fixed"), Image(scan(moving_grid.points()), moving_grid, "moving"), truth


def scan(points: NDArray[np.float64]) -> NDArray[np.float32]:
    values = blob_values(points, radius=RADIUS)
    blank = np.linalg.norm((points - CENTRE) / RADIUS, axis=-1) < BLANK_RADIUS
    return np.where(blank, 400, values).astype(np.float32)


def inner_points(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Return fixed points whose anatomy lies in the uniform middle."""
    rng = np.random.default_rng(seed)
    places = CENTRE + rng.uniform(-1, 1, (count, 3)) * RADIUS * 0.3
    return POSE.inverse().apply_to_points(places)


def run(orientation: str = "LPS", settings: Recipe | None = None, **given: Any) -> Registration:
    fixed, moving, _ = blank_pair(orientation)
    return register(fixed, moving, settings or recipe(), device="cpu", initial_transform=POSE, **given)


@cache
def by_images_alone() -> Registration:
    return run()


@pytest.mark.parametrize("orientation", ["oblique", *(slow(o) for o in ORIENTATIONS if o != "oblique")])
def test_landmarks_pull_through_the_linear_transform_on_any_grid(orientation):
    truth = blank_pair()[2]
    points, between = inner_points(14), inner_points(60, seed=1)
    partners = truth.apply_to_points(points)
    result = run(orientation, fixed_landmarks=points, moving_landmarks=partners)
    others = truth.apply_to_points(between)
    before = target_registration_error(by_images_alone().transform, points, partners).mean()
    assert result.measures.tre_after < 0.3 * SPACING
    assert result.measures.tre_after < 0.4 * before
    # The field between the landmarks comes along.
    held = [target_registration_error(r.transform, between, others).mean() for r in (by_images_alone(), result)]
    assert held[1] < 0.8 * held[0]
    assert result.measures.folds == 0
    assert result.measures.ncc_after > by_images_alone().measures.ncc_after - 0.01
    assert any(d.startswith("Landmarks that pull on the field: 14.") for d in result.decisions)
    assert result.warnings == ()


def test_a_pull_of_zero_leaves_landmarks_and_labels_to_be_measured():
    points = inner_points(6)
    partners = blank_pair()[2].apply_to_points(points)
    off = recipe(landmark_pull=0.0, label_pull=0.0)
    result = run(
        settings=off,
        fixed_landmarks=points,
        moving_landmarks=partners,
        fixed_labels=balls("fixed"),
        moving_labels=balls("moving"),
    )
    assert same_transform(result, by_images_alone())
    assert result.measures.tre_after is not None
    assert result.measures.dice_after is not None
    assert not any("pull" in sentence for sentence in (*result.decisions, *result.warnings))


def same_transform(one: Registration, other: Registration) -> bool:
    points = one.fixed.geometry.points()[::3, ::3, ::3].reshape(-1, 3)
    return np.array_equal(one.transform.apply_to_points(points), other.transform.apply_to_points(points))


def test_landmarks_that_cross_each_other_are_named_and_fold_nothing():
    truth = blank_pair()[2]
    points = inner_points(6)
    partners = truth.apply_to_points(points)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    one, other = np.unravel_index(apart.argmax(), apart.shape)
    partners[[one, other]] = partners[[other, one]]
    result = run(fixed_landmarks=points, moving_landmarks=partners)
    assert result.measures.folds == 0
    assert result.measures.jacobian_min > 0
    (warning,) = result.warnings
    assert warning.startswith("2 of 6 landmarks are not met: number ")
    error = target_registration_error(result.transform, points, partners)
    for number in (one, other):
        assert f"number {number + 1} by {error[number]:.1f} mm" in warning
    assert result.measures.inverse_error_p99 < 0.5


def test_a_landmark_far_out_does_not_break_the_run():
    fixed = blank_pair()[0]
    points = np.vstack([inner_points(4), fixed.geometry.to_world([-6.0, 10.0, 10.0])])
    partners = blank_pair()[2].apply_to_points(points) + np.array([[0, 0, 0]] * 4 + [[9.0, 0, 0]])
    result = run(fixed_landmarks=points, moving_landmarks=partners)
    assert result.measures.folds == 0


def test_without_a_deformable_stage_landmarks_only_set_the_start():
    off = replace(recipe(), deformable=replace(recipe().deformable, enabled=False))
    points = inner_points(5)
    result = run(settings=off, fixed_landmarks=points, moving_landmarks=points + 30.0)
    assert result.warnings == ()
    assert not any("pull" in decision for decision in result.decisions)


BALLS = {2: np.array([-6.0, 2, 0]), 300: np.array([7.0, -3, 2])}


def balls(side: str, labels: tuple[int, ...] = (2, 300), dtype: type = np.int32) -> Image:
    """Return two balls of the uniform middle as they lie in the moving image, or as the fixed one shows them."""
    fixed, moving, truth = blank_pair()
    image = fixed if side == "fixed" else moving
    points = image.geometry.points()
    if side == "fixed":
        points = truth.apply_to_points(points)
    result = np.zeros(image.geometry.shape, dtype=dtype)
    for label in labels:
        result[np.linalg.norm(points - CENTRE - BALLS[label], axis=-1) < 7.5] = label
    return Image(result, image.geometry, f"{side} balls")


@cache
def by_labels() -> Registration:
    return run(fixed_labels=balls("fixed"), moving_labels=balls("moving"))


def test_labels_pull_where_the_images_are_blank():
    result = by_labels()
    before = dice(balls("fixed"), apply_to_labels(by_images_alone().transform, balls("moving"), result.fixed.geometry))
    after = result.measures.dice_after
    assert set(after) == {2, 300}
    assert all(after[label] > before[label] + 0.08 for label in after)
    assert min(after.values()) > 0.8  # 0.9 is what the voxels allow
    assert result.measures.folds == 0
    assert result.measures.ncc_after > by_images_alone().measures.ncc_after - 0.01
    assert any(d.startswith("Labels that pull on the field: 2, 300.") for d in result.decisions)


def test_structures_that_lie_on_each_other_rest_whatever_their_grids():
    fixed, moving, fixed_labels, moving_labels = small_pair()
    small = small_recipe()
    kept = replace(
        small, deformable=replace(small.deformable, iterations=(40, 40)), linear=replace(small.linear, model="none")
    )
    result = register(
        *(fixed, moving, kept),
        fixed_labels=fixed_labels,
        moving_labels=moving_labels,
        initial_transform=TRUTH,
        device="cpu",
    )
    points = FIXED_GRID.points().reshape(-1, 3)
    moved = np.linalg.norm(result.transform.apply_to_points(points) - TRUTH.apply_to_points(points), axis=1)
    assert moved.max() < 0.5 * FIXED_GRID.spacing[0]


def test_the_moving_labels_are_brought_along_and_hashed():
    result = by_labels()
    again = by_images_alone().with_labels(balls("moving"), balls("fixed"))
    assert result.warped_labels.geometry == result.fixed.geometry
    assert result.measures.dice_before == again.measures.dice_before
    assert list(result.timings)[-1] == "labels"
    assert {"fixed_labels_sha256", "moving_labels_sha256"} <= result.provenance.keys()
    assert "landmarks_sha256" not in result.provenance


def test_moving_labels_alone_are_brought_along_and_do_not_pull():
    result = run(moving_labels=balls("moving"))
    assert same_transform(result, by_images_alone())
    reference = by_images_alone().with_labels(balls("moving"))
    np.testing.assert_array_equal(result.warped_labels.array, reference.warped_labels.array)
    assert result.measures.dice_after is None


def test_labels_on_one_image_only_are_told_of_and_do_not_pull():
    result = run(fixed_labels=balls("fixed", (2,)), moving_labels=balls("moving"))
    assert any(d.startswith("Labels that pull on the field: 2.") for d in result.decisions)
    assert "Labels on one image only do not pull: 300." in result.decisions


def test_labels_with_none_in_common_pull_nothing_and_the_user_is_warned():
    result = run(fixed_labels=balls("fixed", (2,)), moving_labels=balls("moving", (300,)))
    assert same_transform(result, by_images_alone())
    assert any("no label in common" in warning for warning in result.warnings)


@cache
def by_one_label() -> Registration:
    return run(fixed_labels=balls("fixed", (2,)), moving_labels=balls("moving", (2,)))


@pytest.mark.parametrize("dtype", [np.float32, slow(np.bool_)])
def test_any_type_of_whole_numbers_will_do(dtype):
    labels = [balls(side, (2,), dtype) for side in ("fixed", "moving")]
    result = run(fixed_labels=labels[0], moving_labels=labels[1])
    assert max(result.measures.dice_after.values()) >= 0.8
    assert same_transform(result, by_one_label())


@pytest.mark.parametrize("where", ["everything", slow("a corner voxel")])
def test_labels_of_odd_extent_do_no_harm(where):
    fixed, moving, _ = blank_pair()
    maps = []
    for image in (fixed, moving):
        array = np.zeros(image.array.shape, dtype=np.uint8)
        array[{"everything": slice(None), "a corner voxel": (0, 0, 0)}[where]] = 1
        maps.append(image.with_array(array))
    result = run(fixed_labels=maps[0], moving_labels=maps[1])
    assert result.measures.folds == 0
    assert np.isfinite(result.transform.apply_to_points(fixed.geometry.points())).all()


def test_bad_label_maps_are_refused():
    fixed, moving, _ = blank_pair()
    with pytest.raises(InputError, match="fixed image only"):
        register(fixed, moving, recipe(), fixed_labels=balls("fixed"))
    with pytest.raises(InputError, match="do not lie on the grid of moving"):
        register(fixed, moving, recipe(), fixed_labels=balls("fixed"), moving_labels=balls("fixed"))
    with pytest.raises(InputError, match="not whole numbers"):
        register(fixed, moving, recipe(), moving_labels=moving.with_array(moving.array + 0.5))


def test_landmarks_pull_on_what_a_search_for_large_motion_has_found():
    settings = recipe()
    settings = replace(settings, large_motion=replace(settings.large_motion, enabled=True, shrink=(2,), radius=(2,)))
    points = CENTRE + np.random.default_rng(0).uniform(-8, 8, (5, 3))
    fixed, moving, *_ = small_pair()
    partners = TRUTH.apply_to_points(points) + np.array([3.0, 0, 0])
    result = register(fixed, moving, settings, device="cpu", fixed_landmarks=points, moving_landmarks=partners)
    assert "large motion" in result.timings
    assert result.measures.tre_after < 0.5 * FIXED_GRID.spacing[0]
    assert result.measures.folds == 0
