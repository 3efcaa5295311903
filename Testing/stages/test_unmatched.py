"""A tumour that is in one scan only is not matched to something else, and what lies beside it is found better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.image import Image
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.unmatched import matched_weight
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.transforms import apply_to_image
from Testing.small import small_recipe
from Testing.synthetic import geometry_in, interior, smooth_field

GRID = geometry_in("LPS", (56, 56, 56), 2.0)
TRUTH = smooth_field(GRID, 5.0, seed=1)
TUMOUR_MM = 16.0
DISTANCE = np.linalg.norm(GRID.points() - GRID.to_world([30, 26, 27]), axis=-1)


def tissue(seed: int) -> Image:
    """Return folded tissue: bright and dark structures about 5 voxels wide."""
    noise = torch.randn(GRID.shape, generator=torch.Generator().manual_seed(seed))
    waves = smooth(noise[None], 2.5)[0]
    return Image(torch.tanh(1.5 * waves / waves.std()).numpy() * 300 + 500, GRID, f"tissue {seed}")


def with_tumour(before: Image) -> Image:
    moved = apply_to_image(TRUTH, before, GRID)
    values = np.where(DISTANCE < TUMOUR_MM, tissue(9).array, moved.array)
    return Image(values + np.random.default_rng(0).normal(scale=5, size=GRID.shape), GRID, "after")


def recipe(ignore_unmatched: bool) -> Recipe:
    small = small_recipe()
    deformable = replace(
        small.deformable,
        similarity="lncc",
        voxels=200_000,
        shrink=(4, 2, 1),
        iterations=(60, 60, 30),
        ignore_unmatched=ignore_unmatched,
    )
    return replace(small, linear=replace(small.linear, model="none"), deformable=deformable)


def error_beside_the_tumour(chosen: Recipe, fixed: Image, moving: Image) -> tuple[float, str]:
    result = register(fixed, moving, chosen, device="cpu")
    assert result.measures.folds == 0
    beside = (DISTANCE > TUMOUR_MM + 2) & (DISTANCE < TUMOUR_MM + 12)
    points = GRID.points()[beside]
    error = np.linalg.norm(result.transform.apply_to_points(points) - TRUTH.apply_to_points(points), axis=1)
    return float(error.mean()), " ".join(result.decisions)


@pytest.mark.slow
def test_tissue_beside_a_tumour_lies_better_if_what_has_no_partner_counts_less():
    before = tissue(2)
    after = with_tumour(before)
    plain, _ = error_beside_the_tumour(recipe(False), after, before)
    ignoring, decisions = error_beside_the_tumour(recipe(True), after, before)
    assert ignoring < 0.8 * plain
    assert "Without a partner in the moving scan" in decisions


def test_a_place_that_comes_back_counts_and_one_that_does_not_is_left_out():
    forward = torch.zeros(3, 20, 20, 20)
    forward[0] = 1.5
    backward = -forward
    inner = interior((20, 20, 20), 4)
    assert float(matched_weight(forward, backward)[inner].min()) == 1
    backward[:, 8:12, 8:12, 8:12] += 3
    weight = matched_weight(forward, backward)
    assert float(weight[10, 10, 9]) == 0
    assert float(weight[4, 4, 4]) == 1


def test_the_recipe_for_follow_up_asks_for_it_and_no_other_does():
    assert load_recipe("follow-up").deformable.ignore_unmatched
    assert not load_recipe("auto").deformable.ignore_unmatched
