"""Sliding: what is smoothed across a surface and what is not, checked against plain loops and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.field_grid import field_grid, image_grid, to_image_grid
from DeepRegLib.optimization.regularity import corner_determinants
from DeepRegLib.optimization.sliding import SlidingSmoothing, SlidingSteps, Surface, sharpened, smoothing, surface_of
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.transforms.sampling import compose_fields, identity_grid

SIDE = 24
SHAPE = (SIDE, SIDE, SIDE)
GRID = identity_grid(SHAPE, torch.device("cpu"))
OBLIQUE = torch.tensor([2.0, 1.0, 2.0]) / 3
# A unit vector across OBLIQUE.
ALONG = torch.tensor([1.0, 0.0, -1.0]) / 2**0.5


def half_space(normal: Tensor, grid: Tensor = GRID) -> Tensor:
    """Return the share, 0 to 1, of each voxel of a grid that lies beyond a plane through the middle."""
    return ((grid - 11.3) @ normal + 0.5).clamp(0, 1)


def noise(seed: int = 0) -> Tensor:
    return torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(seed))


def jump(surface: Surface, direction: Tensor, size: float) -> Tensor:
    """Return the field that is `size` voxels along a direction inside and zero outside."""
    return surface.inside * (size * direction)[:, None, None, None]


def test_normals_are_those_of_the_plane_and_only_near_it():
    surface = surface_of(half_space(OBLIQUE))
    distance = (GRID - 11.3) @ OBLIQUE
    inner = torch.zeros(SHAPE, dtype=torch.bool)
    inner[4:-4, 4:-4, 4:-4] = True
    near = surface.normal[:, (distance.abs() < 1.5) & inner]
    assert (near.T @ OBLIQUE).min() > 0.99
    assert surface.normal[:, distance.abs() > 9].abs().max() == 0
    assert torch.equal(surface.inside, half_space(OBLIQUE) > 0.5)


@pytest.mark.parametrize("sigma", [0.7, 1.6])
def test_a_tangential_jump_is_kept_and_a_normal_one_is_smoothed(sigma):
    surface = surface_of(half_space(torch.tensor([1.0, 0.0, 0.0])))
    kept = SlidingSmoothing(surface, sigma)(jump(surface, torch.tensor([0.0, 0.6, 0.8]), 3.0))
    inner = (slice(None), *[slice(8, -8)] * 3)
    torch.testing.assert_close(kept[inner], jump(surface, torch.tensor([0.0, 0.6, 0.8]), 3.0)[inner], atol=1e-4, rtol=0)
    across = jump(surface, torch.tensor([1.0, 0.0, 0.0]), 3.0)
    torch.testing.assert_close(
        SlidingSmoothing(surface, sigma)(across)[inner], smooth(across, sigma)[inner], atol=1e-4, rtol=0
    )


def test_it_is_plain_smoothing_away_from_the_surface_and_without_one():
    field = noise()
    surface = surface_of(half_space(torch.tensor([1.0, 0.0, 0.0])))
    slid, plain = SlidingSmoothing(surface, 0.7)(field), smooth(field, 0.7)
    torch.testing.assert_close(slid[..., :9], plain[..., :9], atol=1e-5, rtol=0)
    torch.testing.assert_close(slid[..., 15:], plain[..., 15:], atol=1e-5, rtol=0)
    nothing = surface_of(torch.zeros(SHAPE))
    torch.testing.assert_close(SlidingSmoothing(nothing, 0.7)(field), plain)
    assert torch.equal(smoothing(None, 0.7)(field), plain)
    assert isinstance(smoothing(surface, 0.7), SlidingSmoothing)


def test_means_of_one_side_are_those_of_a_plain_loop():
    share = half_space(OBLIQUE)
    surface = surface_of(share)
    field = noise(3)
    sigma = (2 / 3) ** 0.5  # one box of three voxels
    slid, plain = SlidingSmoothing(surface, sigma)(field).double(), smooth(field, sigma).double()
    for place in [(11, 12, 11), (12, 10, 12), (9, 14, 11), (11, 11, 12)]:
        own = []
        for step in itertools.product((-1, 0, 1), repeat=3):
            at = tuple(a + b for a, b in zip(place, step, strict=True))
            if surface.inside[at] == surface.inside[place]:
                own.append(field[(slice(None), *at)].double())
        mean = torch.stack(own).mean(0)
        normal = surface.normal[(slice(None), *place)].double()
        across = plain[(slice(None), *place)]
        expected = mean - normal * (normal @ mean) + normal * (normal @ across)
        torch.testing.assert_close(slid[(slice(None), *place)], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("normal", [torch.tensor([1.0, 0.0, 0.0]), OBLIQUE], ids=["straight", "oblique"])
def test_steps_do_not_blur_a_jump_that_a_plain_composition_blurs(normal):
    surface = surface_of(half_space(normal))
    along = torch.tensor([0.0, 1.0, 0.0]) if normal[1] == 0 else ALONG
    field = start = jump(surface, along, 2.0)
    plain = start
    update = (0.2 * normal)[:, None, None, None].expand(3, *SHAPE)
    steps = SlidingSteps(GRID, surface, 0.0)
    for _ in range(10):
        field = steps.stepped(field, update)
        plain = compose_fields(plain, update, GRID)
    expected = start + 10 * update
    inner = (slice(None), *[slice(7, -7)] * 3)
    error, blurred = ((found - expected)[inner].square().sum(0).sqrt() for found in (field, plain))
    assert error.mean() < 0.2 * blurred.mean()
    assert error.max() < 0.5


def test_a_step_without_a_jump_is_a_composition():
    surface = surface_of(half_space(OBLIQUE))
    field, update = smooth(noise(1), 3.0) * 3, smooth(noise(2), 2.0)
    found = SlidingSteps(GRID, surface, 0.0).stepped(field, update)
    away = surface.normal.square().sum(0) == 0
    expected = compose_fields(field, update, GRID)
    torch.testing.assert_close(found[:, away], expected[:, away], atol=1e-5, rtol=0)
    assert (found - expected).square().sum(0).sqrt().mean() < 0.02


def test_the_image_grid_is_that_of_the_images_a_field_belongs_to():
    geometry = Geometry((10, 8, 12), (1.5, 1.5, 1.5), (3.0, -2.0, 7.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    assert image_grid(field_grid(geometry)).is_close(geometry)


def test_a_strong_oblique_slip_is_delivered_narrow_and_free_of_folds():
    share = half_space(OBLIQUE)
    surface = surface_of(share)
    field = jump(surface, ALONG, 3.0) + 0.15 * smooth(noise(), 1.0)
    assert corner_determinants(field).min() < 0
    fine = (identity_grid((2 * SIDE,) * 3, torch.device("cpu")) - 0.5) / 2
    sharp = sharpened(field, surface, half_space(2 * OBLIQUE, fine))
    bad = corner_determinants(sharp) < 0.1
    assert bad.sum() < 0.005 * bad.numel()
    slip = torch.einsum("c,ckji->kji", ALONG, sharp)
    away = ((fine - 11.3) @ OBLIQUE)[12:-12, 12:-12, 12:-12] * 2
    slip = slip[12:-12, 12:-12, 12:-12]
    assert slip[away > 3].mean() == pytest.approx(6.0, abs=0.2)  # image voxels are half as wide
    assert slip[away < -3].mean() == pytest.approx(0.0, abs=0.2)
    assert (slip[away > 3] > 5).all()
    assert (slip[away < -3] < 1).all()


def test_a_field_without_a_jump_is_interpolated_as_ever():
    field = 2 * smooth(noise(5), 4.0)
    fine = (identity_grid((2 * SIDE,) * 3, torch.device("cpu")) - 0.5) / 2
    sharp = sharpened(field, surface_of(half_space(OBLIQUE)), half_space(OBLIQUE, fine))
    plain = to_image_grid(field, (2 * SIDE,) * 3)
    assert (sharp - plain).abs().mean() < 0.01
    assert (sharp - plain).abs().max() < 0.2
    assert np.isfinite(sharp.numpy()).all()
