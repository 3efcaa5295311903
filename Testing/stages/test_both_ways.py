"""A registration from either side: swapping the scans gives the inverse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe
from DeepRegLib.transforms import LinearTransform, Transform, has_field
from DeepRegLib.transforms.both_ways import linear_between, square_root
from Testing.small import small_recipe
from Testing.synthetic import blob_values, geometry_in, interior, random_linear, smooth_field

SPACING = 3.0
GRID = geometry_in("oblique", (26, 28, 24), SPACING)
POINTS = GRID.points()[interior(GRID.shape, 6)].reshape(-1, 3)
# Of a voxel: what swapping the scans may change, on average and at the 99th percentile.
MEAN, P99 = 0.1, 0.5


def scan(transform: Transform, name: str) -> Image:
    values = blob_values(transform.apply_to_points(GRID.points()), radius=30.0)
    return Image(values.astype(np.float32), GRID, name)


def pair() -> tuple[Image, Image]:
    return scan(smooth_field(GRID, 6.0, seed=3), "fixed"), scan(LinearTransform.identity(), "moving")


def recipe(*, symmetric: bool, deformable: bool = True) -> Recipe:
    small = small_recipe()
    settings = replace(small.deformable, enabled=deformable, similarity="lncc", voxels=40_000)
    return replace(small, symmetric=symmetric, deformable=settings)


def swap_changes(chosen: Recipe) -> np.ndarray:
    fixed, moving = pair()
    there, back = register(fixed, moving, chosen, device="cpu"), register(moving, fixed, chosen, device="cpu")
    returned = back.transform.apply_to_points(there.transform.apply_to_points(POINTS))
    return np.asarray(np.linalg.norm(returned - POINTS, axis=-1)) / SPACING


def test_swapping_the_scans_gives_the_inverse() -> None:
    changed = swap_changes(recipe(symmetric=True))
    assert changed.mean() < MEAN
    assert np.percentile(changed, 99) < P99
    assert changed.mean() < 0.5 * swap_changes(recipe(symmetric=False)).mean()


def test_so_does_it_where_only_a_pose_is_sought() -> None:
    chosen = recipe(symmetric=True, deformable=False)
    assert swap_changes(chosen).max() < 1e-3
    found = register(*pair(), chosen, device="cpu")
    assert not has_field(found.transform)
    assert "other way" in found.timings


def test_a_result_tells_how_far_both_ways_disagreed_and_does_not_fold() -> None:
    found = register(*pair(), recipe(symmetric=True), device="cpu")
    assert any("from either side" in each for each in found.decisions)
    assert found.measures.folds == 0


def test_a_sliding_mask_is_refused_in_one_sentence() -> None:
    fixed, moving = pair()
    mask = fixed.with_array(np.arange(fixed.array.size).reshape(fixed.array.shape) % 2 == 0)
    with pytest.raises(InputError, match="from either side"):
        register(fixed, moving, recipe(symmetric=True), sliding_mask=mask, device="cpu")


@pytest.mark.parametrize("seed", range(5))
def test_the_linear_way_between_is_undone_by_the_swapped_one(seed: int) -> None:
    there, back = random_linear(seed), random_linear(seed + 10).inverse()
    between, swapped = linear_between(there, back), linear_between(back, there)
    if between is None or swapped is None:
        pytest.skip("these lie half a turn apart")
    np.testing.assert_allclose(between.matrix @ swapped.matrix, np.eye(4), atol=1e-6)


def test_half_a_turn_has_no_half() -> None:
    assert square_root(np.diag([-1.0, -1.0, 1.0, 1.0])) is None
