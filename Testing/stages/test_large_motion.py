"""The search for large motion as a stage of a registration, through the public call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.errors import CancelledError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import LargeMotion, load_recipe, recipe_names
from DeepRegLib.stages.large_motion import looks_everywhere
from DeepRegLib.transforms import LinearTransform, compose
from Testing.small import FIXED_GRID, TRUTH, small_pair, small_recipe
from Testing.synthetic import blob_values, geometry_in, interior, smooth_field

RECIPE = replace(small_recipe(), large_motion=LargeMotion(enabled=True, shrink=(2,), radius=(2,)))


def test_it_runs_between_the_linear_and_the_deformable_stage_and_tells_its_progress():
    calls: list[tuple[str, float]] = []
    result = register(
        *small_pair()[:2], RECIPE, device="cpu", progress=lambda stage, whole, *_: calls.append((stage, whole))
    )
    assert list(result.timings) == ["prepare", "linear", "levels", "large motion", "deformable", "inverse", "judge"]
    assert [whole for _, whole in calls] == sorted(whole for _, whole in calls)
    assert len([stage for stage, _ in calls if stage == "large motion"]) > 20
    assert result.measures.folds == 0
    points = FIXED_GRID.points()[interior(FIXED_GRID.shape, 4)].reshape(-1, 3)
    error = np.linalg.norm(result.transform.apply_to_points(points) - TRUTH.apply_to_points(points), axis=1)
    assert error.mean() < 2.4, "a pair that only turned and shifted is not made worse than a voxel"


SHIFT_VOXELS, SPACING_MM = 9, 2.0
COARSE_TOO = replace(
    small_recipe(),
    linear=replace(small_recipe().linear, model="none"),
    large_motion=LargeMotion(enabled=True, shrink=(4, 2), radius=(3, 2)),
    deformable=replace(
        small_recipe().deformable, voxels=120_000, shrink=(4, 2, 1), iterations=(30, 20, 10), similarity="lncc"
    ),
)


def crowd(shift: int) -> Image:
    """Return a crowd of blobs, some 4 voxels wide, shifted along i."""
    grid = geometry_in("LPS", (40, 40, 40), SPACING_MM)
    blobs = smooth(torch.randn(grid.shape, generator=torch.Generator().manual_seed(0)), 2.0)
    return Image(np.roll(blobs.numpy(), shift, axis=2), grid, f"shift {shift}")


def searched(decisions: tuple[str, ...]) -> str:
    (sentence,) = [d for d in decisions if d.startswith("Search for large motion")]
    return sentence


def test_the_search_is_used_where_all_moved_further_than_it_is_wide():
    pair = crowd(0), crowd(SHIFT_VOXELS)
    result = register(*pair, COARSE_TOO, device="cpu", initial_transform=LinearTransform.identity())
    assert "used" in searched(result.decisions)
    points = pair[0].geometry.points()[12:28, 12:28, 12:28].reshape(-1, 3)
    error = result.transform.apply_to_points(points) - points - [SHIFT_VOXELS * SPACING_MM, 0, 0]
    assert np.median(np.linalg.norm(error, axis=1)) < SPACING_MM
    assert list(result.curves) == ["deformable 1", "deformable 2", "deformable 3"]


def test_where_coarse_levels_match_well_and_hardly_strain_nothing_is_searched_for():
    result = register(crowd(0), crowd(1), COARSE_TOO, device="cpu", initial_transform=LinearTransform.identity())
    assert "not tried" in searched(result.decisions)
    assert "large motion" in result.timings


def test_where_all_levels_are_coarser_than_the_search_the_last_one_still_refines():
    one = replace(RECIPE.deformable, shrink=(4,), iterations=(3,), voxels=100_000)
    result = register(*small_pair()[:2], replace(RECIPE, deformable=one), device="cpu")
    assert list(result.curves) == ["linear 1", "deformable 1"]
    assert result.recipe.deformable.shrink == (4,)


def test_a_given_field_is_refined_and_not_searched_for():
    given = compose(smooth_field(FIXED_GRID, 2.0), TRUTH)
    result = register(*small_pair()[:2], RECIPE, device="cpu", initial_transform=given)
    assert "large motion" not in result.timings
    turned = register(*small_pair()[:2], RECIPE, device="cpu", initial_transform=TRUTH)
    assert "large motion" in turned.timings


def test_without_a_deformable_stage_it_does_not_run():
    recipe = replace(RECIPE, deformable=replace(RECIPE.deformable, enabled=False))
    result = register(*small_pair()[:2], recipe, device="cpu")
    assert isinstance(result.transform, LinearTransform)
    assert "large motion" not in result.timings


def test_it_can_be_cancelled_on_its_way():
    stages: list[str] = [""]
    asked = [0]

    def cancel() -> bool:
        asked[0] += stages[-1] == "large motion"
        return asked[0] > 60

    with pytest.raises(CancelledError):
        register(
            *small_pair()[:2], RECIPE, device="cpu", progress=lambda stage, *_: stages.append(stage), cancel=cancel
        )
    assert stages[-1] == "large motion"


@pytest.mark.slow
def test_the_found_field_is_the_same_each_time_and_the_input_is_not_touched():
    fixed, moving = small_pair()[:2]
    before = fixed.array.copy(), moving.array.copy()
    first, second = (register(fixed, moving, RECIPE, device="cpu").transform for _ in range(2))
    points = FIXED_GRID.points().reshape(-1, 3)
    assert np.array_equal(first.apply_to_points(points), second.apply_to_points(points))
    assert np.array_equal(fixed.array, before[0])
    assert np.array_equal(moving.array, before[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in recipe_names() if not load_recipe(name).prepare.labels_only])
def test_every_shipped_recipe_registers_a_small_pair(name):
    grid = geometry_in("LPS", (26, 28, 24), 3.0)
    field = smooth_field(grid, 3.0)
    moving = Image(blob_values(grid.points(), radius=28).astype(np.float32), grid, "moving")
    fixed = Image(blob_values(field.apply_to_points(grid.points()), radius=28).astype(np.float32), grid, "fixed")
    recipe = load_recipe(name)
    if name != "auto":  # one whole search of the pose is enough: all recipes have the same
        recipe = replace(recipe, search=replace(recipe.search, angle=60, candidates=4))
    result = register(fixed, moving, recipe, device="cpu")
    assert result.measures.folds == 0
    assert result.measures.inverse_error_p99 < 1.0
    assert isinstance(result.transform, LinearTransform) != result.recipe.deformable.enabled
    # Nothing about this pair is rigid, so a rigid transform may as well leave it as it is.
    assert result.measures.structure_after > result.measures.structure_before - 0.002


@pytest.mark.parametrize(("across", "everywhere"), [(66, True), (67, False)])
def test_a_search_looks_everywhere_where_it_reaches_half_the_width_of_the_anatomy(across: int, everywhere: bool):
    values = torch.zeros(8, 8, across)
    image = WorkingImage(values, values, Geometry((across, 8, 8), (1.0,) * 3, (0.0,) * 3))
    assert looks_everywhere(load_recipe("auto"), Level(image, image)) == everywhere, "6 times 4 and 3 times 3 voxels"
