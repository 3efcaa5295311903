"""The whole way of a registration on small phantoms, through the public call."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import CancelledError, InputError, RecipeError
from DeepRegLib.evaluation import digital_folds, jacobian_statistics
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, to_sitk
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Search, load_recipe
from DeepRegLib.result import Registration
from DeepRegLib.transforms import (
    LinearTransform,
    Transform,
    apply_to_image,
    compose,
    write_transform,
)
from Testing.small import small_pair, small_recipe, small_registration
from Testing.synthetic import CENTRE, ORIENTATIONS, blob_values, geometry_in, interior, random_linear, smooth_field

RADIUS = 42.0
SIZE = (38, 40, 36)
SPACING = 3.0
POSE = random_linear(5, angle=14, shift=9)
# Of the shipped recipes with their searches left out or shortened: most tests are not about the search.
STARTED = replace(load_recipe("fast"), search=Search(enabled=False))
QUICK = replace(load_recipe("rigid"), search=Search(angle=60, candidates=4))
FAST = replace(load_recipe("fast"), search=QUICK.search)
STAGES = ["prepare", "search", "linear", "levels", "deformable", "inverse", "judge"]


def scan(
    geometry: Geometry, transform: Transform | None = None, *, seed: int = 0, dtype: type = np.int16, name: str = "scan"
) -> Image:
    """Return a noisy scan; with a transform, of the anatomy as it is seen at the transformed points."""
    points = geometry.points() if transform is None else transform.apply_to_points(geometry.points())
    noise = np.random.default_rng(seed).normal(scale=8, size=geometry.shape)
    return Image(np.maximum(blob_values(points, radius=RADIUS) + noise + 20, 0).astype(dtype), geometry, name)


def foreground(geometry: Geometry) -> NDArray[np.float64]:
    points = geometry.points().reshape(-1, 3)
    return points[np.linalg.norm((points - CENTRE) / (RADIUS * np.array([0.85, 1.0, 0.8])), axis=1) < 0.95]


def target_error(found: Transform, truth: Transform, geometry: Geometry) -> float:
    points = truth_points(truth, geometry)
    return float(np.linalg.norm(found.apply_to_points(points) - truth.apply_to_points(points), axis=1).mean())


def truth_points(truth: Transform, geometry: Geometry) -> NDArray[np.float64]:
    """Points of the fixed grid whose anatomy is inside the phantom."""
    points = geometry.points().reshape(-1, 3)
    moved = truth.apply_to_points(points)
    return points[np.linalg.norm((moved - CENTRE) / (RADIUS * np.array([0.85, 1.0, 0.8])), axis=1) < 0.95]


def rigid_pair(orientation: str = "oblique", **options: Any) -> tuple[Image, Image]:
    """Return a fixed scan seen through `POSE` (it takes fixed points to moving points) and the moving scan."""
    fixed = scan(geometry_in(orientation, SIZE, SPACING), POSE, seed=1, name="fixed", **options)
    return fixed, scan(geometry_in("RAS", SIZE, SPACING), seed=2, name="moving", **options)


def deformed_pair() -> tuple[Image, Image, Transform]:
    geometry = geometry_in("LPS", SIZE, SPACING)
    truth = compose(smooth_field(geometry, 6.0, seed=3), random_linear(6, angle=6, shift=4))
    return scan(geometry, truth, seed=1, name="fixed"), scan(geometry, seed=2, name="moving"), truth


@cache
def rigid_result() -> Registration:
    return register(*rigid_pair(), recipe=QUICK, device="cpu")


@cache
def fast_result() -> Registration:
    return register(*deformed_pair()[:2], recipe=FAST, device="cpu")


def test_a_rigid_run_finds_the_pose_and_stays_linear():
    result = rigid_result()
    assert isinstance(result.transform, LinearTransform)
    assert isinstance(result.inverse, LinearTransform)
    assert target_error(result.transform, POSE, result.fixed.geometry) < 0.5 * SPACING
    rotation = result.transform.matrix[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(result.inverse.matrix @ result.transform.matrix, np.eye(4), atol=1e-6)
    assert result.measures.folds == 0
    assert result.measures.ncc_after > result.measures.ncc_before
    assert "deformable" not in result.timings


@pytest.mark.slow
def test_the_shipped_rigid_recipe_finds_a_far_pose():
    far = random_linear(160, angle=160, shift=120)
    fixed, moving = rigid_pair()
    moved = Image(scan(moving.geometry, seed=3).array, placed(moving.geometry, far), "moved")
    result = register(fixed, moved, recipe="rigid", device="cpu")
    assert target_error_between(result.transform, compose(POSE, far), truth_points(POSE, fixed.geometry)) < SPACING


def test_a_fast_run_recovers_a_deformation():
    result = fast_result()
    _, _, truth = deformed_pair()
    before = target_error(LinearTransform.identity(), truth, result.fixed.geometry)
    after = target_error(result.transform, truth, result.fixed.geometry)
    assert after < 0.5 * SPACING
    assert after < 0.4 * before
    assert digital_folds(result.transform, result.fixed.geometry) == 0
    assert result.measures.folds == 0
    assert list(result.timings) == STAGES


def test_the_volume_changes_reported_are_those_of_the_transform_delivered():
    result = fast_result()
    judged = jacobian_statistics(result.transform, result.fixed.geometry, result.fixed_foreground)
    assert (result.measures.folds, result.measures.log_jacobian_sd) == (judged.folds, judged.log_sd)
    assert (result.measures.jacobian_min, result.measures.jacobian_max) == (judged.minimum, judged.maximum)
    assert result.measures.inverse_folds == digital_folds(result.inverse, result.moving.geometry) == 0


def test_the_inverse_leads_back():
    result = fast_result()
    points = truth_points(deformed_pair()[2], result.fixed.geometry)
    back = result.inverse.apply_to_points(result.transform.apply_to_points(points))
    distance = np.linalg.norm(back - points, axis=1)
    assert distance.mean() < 0.1
    assert np.percentile(distance, 99) < 0.5
    assert result.measures.inverse_error_mean < 0.1
    assert result.measures.inverse_error_p99 < 0.5


@pytest.mark.parametrize("outcome", [rigid_result, fast_result])
def test_the_warped_image_is_resampled_once_from_the_moving_voxels(outcome):
    result = outcome()
    warped = result.warped
    assert warped.array.dtype == result.moving.array.dtype
    assert warped.geometry == result.fixed.geometry
    once = apply_to_image(result.transform, result.moving, result.fixed.geometry)
    np.testing.assert_array_equal(warped.array, once.array)
    assert warped.array.min() >= result.moving.array.min()
    assert warped.array.max() <= result.moving.array.max()
    assert result.field_of_view.array.dtype == np.bool_
    outside = warped.array[~result.field_of_view.array]
    assert outside.size == 0 or outside.max() == result.moving.array.min()


def test_where_nothing_was_scanned_the_warped_image_has_the_background_that_was_asked_for():
    fixed, moving, _, _ = small_pair()
    result, chosen = register(fixed, moving, small_recipe(), device="cpu", background=-7), small_registration()
    seen = result.field_of_view.array
    assert not seen.all()
    assert set(np.unique(result.warped.array[~seen])) == {-7}
    np.testing.assert_array_equal(result.warped.array[seen], chosen.warped.array[seen])
    assert set(np.unique(chosen.warped.array[~seen])) == {moving.array.min()}
    assert result.provenance["background"] == -7
    with pytest.raises(InputError, match="70000 is no value of"):
        register(fixed, moving, small_recipe(), background=70_000)


def test_what_the_result_says_of_itself():
    result = fast_result()
    assert result.verdict.level in ("ok", "check", "failed")
    assert result.recipe.linear.similarity != "auto"
    assert result.recipe.deformable.similarity != "auto"
    assert result.decisions
    assert result.provenance["seed"] == 0
    assert {"linear 1", "deformable 1"} <= result.curves.keys()
    assert 0.5 < result.measures.overlap <= 1
    assert all(np.isfinite(v) for v in vars(result.measures).values() if isinstance(v, float))


@pytest.mark.slow
def test_the_same_call_gives_the_same_bits():
    first = fast_result()
    # Another pair in between leaves what is cached in another state.
    register(*rigid_pair(), recipe=STARTED, device="cpu")
    second = register(*deformed_pair()[:2], recipe=FAST, device="cpu")
    np.testing.assert_array_equal(first.warped.array, second.warped.array)
    points = first.fixed.geometry.points().reshape(-1, 3)
    for name in ("transform", "inverse"):
        a, b = (getattr(result, name).apply_to_points(points) for result in (first, second))
        np.testing.assert_array_equal(a, b)
    assert first.measures == second.measures


def test_the_inputs_are_not_modified():
    fixed, moving = rigid_pair()
    mask = fixed.with_array(np.ones(fixed.array.shape, np.uint8))
    copies = [image.array.copy() for image in (fixed, moving, mask)]
    for image in (fixed, moving, mask):
        image.array.setflags(write=False)
    register(fixed, moving, recipe=QUICK, device="cpu", fixed_mask=mask)
    for image, copy in zip((fixed, moving, mask), copies, strict=True):
        np.testing.assert_array_equal(image.array, copy)


def test_progress_rises_through_the_stages_in_order():
    calls: list[tuple[str, float, float | None, float | None]] = []
    register(*deformed_pair()[:2], recipe=FAST, device="cpu", progress=lambda *call: calls.append(call))
    fractions = [fraction for _, fraction, _, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == pytest.approx(1)
    assert list(dict.fromkeys(stage for stage, *_ in calls)) == STAGES
    assert any(similarity is not None for _, _, similarity, _ in calls)
    assert all(left is None or left >= 0 for *_, left in calls)


@pytest.mark.parametrize("stage", STAGES)
def test_cancelling_is_answered_at_once(stage):
    reached: list[float] = []

    def progress(name: str, *_: object) -> None:
        if name == stage and not reached:
            reached.append(time.perf_counter())

    recipe = "fast" if stage == "search" else STARTED
    with pytest.raises(CancelledError):
        register(*deformed_pair()[:2], recipe=recipe, device="cpu", progress=progress, cancel=lambda: bool(reached))
    assert time.perf_counter() - reached[0] < 2


def test_every_stage_asks_often_and_stops_wherever_it_is_told_to():
    stages: list[str] = []
    asked: list[str] = []

    def cancel() -> bool:
        asked.append(stages[-1] if stages else "")
        return False

    def run(cancel: Any) -> None:
        register(
            *small_pair()[:2],
            small_recipe(),
            device="cpu",
            progress=lambda name, *_: stages.append(name),
            cancel=cancel,
        )

    run(cancel)
    for stage in ("prepare", "deformable", "inverse", "judge"):
        assert asked.count(stage) > 5, stage
    total = len(asked)
    for stop in np.linspace(1, total, 7).astype(int):
        count = [0]

        def stopping(count: list[int] = count, stop: int = stop) -> bool:
            count[0] += 1
            return count[0] >= stop

        with pytest.raises(CancelledError):
            run(stopping)
        assert count[0] == stop


def test_landmarks_set_the_start_and_are_measured():
    fixed, moving = rigid_pair()
    far = random_linear(9, angle=100, shift=140)
    moved = Image(moving.array, placed(moving.geometry, far), "moving")
    truth = compose(POSE, far)
    points = foreground(fixed.geometry)[::400]
    result = register(
        fixed,
        moved,
        recipe="rigid",
        device="cpu",
        fixed_landmarks=points,
        moving_landmarks=truth.apply_to_points(points),
    )
    assert "search" not in result.timings
    assert target_error_between(result.transform, truth, points) < 0.5 * SPACING
    assert result.measures.tre_before is not None
    assert result.measures.tre_after is not None
    assert result.measures.tre_before > 50
    assert result.measures.tre_after < 0.5 * SPACING


def placed(geometry: Geometry, pose: LinearTransform) -> Geometry:
    """Return the grid as it lies after a rigid motion of the world."""
    axes = pose.matrix[:3, :3] @ geometry.axes
    x, y, z = pose.apply_to_points(np.array(geometry.origin))
    return Geometry(geometry.size, geometry.spacing, (float(x), float(y), float(z)), tuple(axes.ravel().tolist()))


def target_error_between(found: Transform, truth: Transform, points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(found.apply_to_points(points) - truth.apply_to_points(points), axis=1).mean())


def test_an_initial_transform_replaces_the_search():
    fixed, moving = rigid_pair()
    start = random_linear(1, angle=5, shift=4).after(POSE)
    result = register(fixed, moving, recipe="rigid", device="cpu", initial_transform=start)
    assert "search" not in result.timings
    assert target_error(result.transform, POSE, fixed.geometry) < 0.5 * SPACING


def test_an_initial_field_is_kept_or_refined():
    fixed, moving, truth = deformed_pair()
    kept = register(fixed, moving, recipe="affine", device="cpu", initial_transform=truth)
    assert target_error(kept.transform, truth, fixed.geometry) < 1e-3
    refined = register(fixed, moving, recipe="fast", device="cpu", initial_transform=truth)
    assert "linear" not in refined.timings or refined.timings["linear"] < 1
    assert target_error(refined.transform, truth, fixed.geometry) < 0.5 * SPACING


@pytest.mark.slow
def test_garbage_outside_the_masks_changes_nothing():
    fixed, moving = rigid_pair(dtype=np.float32)
    inside = np.linalg.norm(fixed.geometry.points() - POSE.inverse().apply_to_points(CENTRE), axis=-1) < 48
    mask = fixed.with_array(inside)
    noise = np.random.default_rng(7).uniform(0, 4000, size=inside.shape).astype(np.float32)
    spoilt = fixed.with_array(np.where(inside, fixed.array, noise))
    clean, dirty = (
        register(image, moving, recipe=QUICK, device="cpu", fixed_mask=mask).transform for image in (fixed, spoilt)
    )
    assert target_error(dirty, POSE, fixed.geometry) < 0.5 * SPACING
    assert target_error(clean, dirty, fixed.geometry) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_saved_transform_gives_simpleitk_the_warped_image(orientation, tmp_path):
    fixed, moving = rigid_pair(orientation, dtype=np.float32)
    recipe = "rigid" if orientation == "LAS" else "fast"
    start = random_linear(1, angle=3, shift=2).after(POSE)
    result = register(fixed, moving, recipe=recipe, device="cpu", initial_transform=start)
    write_transform(result.transform, tmp_path / "transform.h5")
    picture = to_sitk(moving)
    resampled = sitk.Resample(
        picture,
        to_sitk(fixed),
        sitk.ReadTransform(str(tmp_path / "transform.h5")),
        sitk.sitkLinear,
        float(moving.array.min()),
    )
    inner = interior(fixed.array.shape, 2)
    difference = np.abs(sitk.GetArrayFromImage(resampled) - result.warped.array)[inner]
    away = result.field_of_view.array[inner]
    assert difference[away].max() < 1e-3 * float(np.ptp(moving.array))
    assert target_error(result.transform, POSE, fixed.geometry) < 0.7 * SPACING


def test_bad_calls_are_refused_before_anything_runs():
    fixed, moving = rigid_pair()
    with pytest.raises(RecipeError, match="no recipe"):
        register(fixed, moving, recipe="nonsense")
    with pytest.raises(InputError, match="no device"):
        register(fixed, moving, device="abacus")
    with pytest.raises(InputError, match="one image only"):
        register(fixed, moving, fixed_landmarks=np.zeros((4, 3)))
    with pytest.raises(InputError, match="constant"):
        register(fixed.with_array(np.zeros_like(fixed.array)), moving, device="cpu")


def test_nan_voxels_do_not_reach_the_warped_image():
    fixed, moving = rigid_pair(dtype=np.float32)
    holed = moving.array.copy()
    holed[10:12, 20:22, 18:20] = np.nan
    result = register(fixed, moving.with_array(holed), recipe=QUICK, device="cpu")
    assert np.isfinite(result.warped.array).all()
    assert any("NaN" in warning for warning in result.warnings)
    assert target_error(result.transform, POSE, fixed.geometry) < 0.5 * SPACING


def test_a_recipe_without_a_linear_stage_starts_from_the_scanner():
    fixed, moving = rigid_pair()
    recipe = load_recipe("rigid")
    recipe = replace(recipe, linear=replace(recipe.linear, model="none"), search=replace(recipe.search, enabled=False))
    result = register(fixed, moving, recipe=recipe, device="cpu")
    assert isinstance(result.transform, LinearTransform)
    np.testing.assert_array_equal(result.transform.matrix, np.eye(4))
