"""A registration with a sliding mask: a rod that slips through what surrounds it, through the public call."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import digital_folds
from DeepRegLib.image import Image
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import VELOCITY, Recipe
from DeepRegLib.result import Registration
from DeepRegLib.transforms import displacement_on_grid
from DeepRegLib.transforms.sampling import sample
from Testing.small import small_recipe
from Testing.synthetic import geometry_in

SIDE, SPACING = 40, 2.0
GRID = geometry_in("LPS", (SIDE,) * 3, SPACING)
INDEX = GRID.to_index(GRID.points())
OFFSET = INDEX - (SIDE - 1) / 2
AXIS = np.array([0.4, 0.3, np.sqrt(0.75)])
ALONG = OFFSET @ AXIS
RADIAL = OFFSET - ALONG[..., None] * AXIS
DEPTH = np.linalg.norm(RADIAL, axis=-1) - 9.5
NORMAL = RADIAL / np.maximum(np.linalg.norm(RADIAL, axis=-1), 1e-6)[..., None]
# The rod slips by 4 voxels along itself, and all of it and its surroundings shift by one.
TRUTH = np.where(DEPTH[..., None] < 0, 4 * AXIS, 0.0) + np.array([1.0, 0, 0])
ROD = Image((DEPTH < 0).astype(np.uint8), GRID, "rod")
INNER = np.all((INDEX >= 6) & (INDEX < SIDE - 6), axis=-1)


def recipe(**deformable: object) -> Recipe:
    small = small_recipe()
    settings = {"similarity": "lncc", "voxels": 120_000, "shrink": (4, 2, 1), "iterations": (60, 40, 20)}
    return replace(
        small,
        linear=replace(small.linear, model="none"),
        deformable=replace(small.deformable, **(settings | deformable)),
    )


@functools.cache
def pair() -> tuple[Image, Image]:
    """Return a texture as the fixed grid sees it through `TRUTH`, and as it is."""
    margin = 8
    texture = smooth(torch.randn((SIDE + 2 * margin,) * 3, generator=torch.Generator().manual_seed(0)), 1.5)

    def seen_at(index: NDArray[np.float64], name: str) -> Image:
        places = torch.from_numpy((index + margin).astype(np.float32))
        return Image(sample(texture[None], places)[0].numpy() * 1000 + 500, GRID, name)

    return seen_at(INDEX + TRUTH, "fixed"), seen_at(INDEX, "moving")


@functools.cache
def result(*, sliding: bool) -> Registration:
    return register(*pair(), recipe(), device="cpu", sliding_mask=ROD if sliding else None)


def in_voxels(found: Registration) -> NDArray[np.float64]:
    return displacement_on_grid(found.transform, GRID) / SPACING


def error(found: Registration, nearest: float, farthest: float) -> float:
    """Return the mean error in voxels at places so far from the surface."""
    at = INNER & (np.abs(DEPTH) >= nearest) & (np.abs(DEPTH) < farthest)
    return float(np.linalg.norm(in_voxels(found) - TRUTH, axis=-1)[at].mean())


def test_the_error_at_the_surface_drops_clearly_and_nowhere_does_it_rise():
    plain, sliding = result(sliding=False), result(sliding=True)
    assert error(sliding, 0, 2) < 0.75 * error(plain, 0, 2)
    assert error(sliding, 1, 4) < 0.6 * error(plain, 1, 4)
    assert error(sliding, 4, 9) < 1.1 * error(plain, 4, 9)


def test_nothing_folds_and_the_inverse_leads_back():
    found = result(sliding=True)
    assert found.measures.folds == 0
    assert digital_folds(found.transform, GRID) == 0
    assert found.measures.inverse_error_mean < 0.1
    assert found.measures.inverse_error_p99 < 0.5


def test_the_normal_part_is_continuous_where_the_tangential_part_jumps():
    moved = in_voxels(result(sliding=True))
    sides = [INNER & (low <= DEPTH) & (high > DEPTH) for low, high in ((-2.5, -1), (1, 2.5))]
    inside, outside = (moved[side] for side in sides)
    assert (inside @ AXIS).mean() - (outside @ AXIS).mean() > 3
    # What moves along the normal is the common shift, on both sides alike.
    for side, here in ((inside, sides[0]), (outside, sides[1])):
        difference = np.sum(side * NORMAL[here], axis=-1) - NORMAL[here][:, 0]
        assert np.abs(difference).mean() < 0.3


def test_the_mask_may_be_of_any_pixel_type_and_is_not_modified():
    labels = ROD.with_array(ROD.array.astype(np.float32) * 7)
    before = labels.array.copy()
    short = recipe(iterations=(2, 2, 1))
    found = [register(*pair(), short, device="cpu", sliding_mask=mask).transform for mask in (ROD, labels)]
    points = GRID.points()[::5, ::5, ::5]
    np.testing.assert_array_equal(found[0].apply_to_points(points), found[1].apply_to_points(points))
    np.testing.assert_array_equal(labels.array, before)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (ROD.with_array(np.zeros_like(ROD.array)), "is empty"),
        (ROD.with_array(np.ones_like(ROD.array)), "fills the image"),
        (Image(ROD.array, geometry_in("RAS", (SIDE,) * 3, SPACING), "rod"), "does not lie on the grid"),
    ],
    ids=["empty", "full", "elsewhere"],
)
def test_a_mask_without_a_surface_or_on_another_grid_is_refused(mask, message):
    with pytest.raises(InputError, match=message) as caught:
        register(*pair(), recipe(), device="cpu", sliding_mask=mask)
    assert "rod" in str(caught.value)


@pytest.mark.parametrize("settings", [{"parametrisation": VELOCITY}, {"enabled": False}], ids=["velocity", "linear"])
def test_a_recipe_that_cannot_slide_is_refused(settings):
    with pytest.raises(InputError, match="only a displacement can slide"):
        register(*pair(), recipe(**settings), device="cpu", sliding_mask=ROD)
