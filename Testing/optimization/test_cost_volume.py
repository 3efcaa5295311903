"""Large motion: the cost volume against a plain loop, and motion found that a descent misses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.devices import available_devices
from DeepRegLib.errors import CancelledError
from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization import cost_volume
from DeepRegLib.optimization.cost_volume import (
    COUPLINGS,
    Features,
    cost_volumes,
    displacements,
    find_large_motion,
    made_consistent,
    make_features,
    smoothest_minimum,
)
from DeepRegLib.optimization.deformable import Level, register_deformable, transfer_field
from DeepRegLib.optimization.regularity import LEAST_DETERMINANT, corner_determinants
from DeepRegLib.optimization.working import WorkingImage, coarser
from DeepRegLib.recipes import Deformable, LargeMotion
from DeepRegLib.similarity import mind_features
from DeepRegLib.transforms.sampling import identity_grid, sample
from Testing.optimization.phantoms import RADIUS, SPACING, as_tensor, cube, depth, image_of
from Testing.synthetic import blob_values

GRID = cube()
SETTINGS = LargeMotion(enabled=True, shrink=(4, 2), radius=(3, 2))


def silent(fraction: float) -> None:
    return None


def random_features(shape: tuple[int, int, int], seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(shape, generator=generator)
    return Features(torch.rand((2, *shape), generator=generator), torch.where(weight < 0.2, 0.0, weight))


def scan(move: np.ndarray | float = 0.0, seed: int = 0) -> WorkingImage:
    """Return the phantom, with some noise, as it is seen `move` mm further on (a field or one number a component)."""
    noise = np.random.default_rng(seed).normal(scale=0.004, size=GRID.shape)
    return image_of(blob_values(GRID.points() + move, seed=3, radius=RADIUS * 0.7) / 1000 + noise, GRID)


def bump(length: float, width: float = 26.0) -> np.ndarray:
    """Return a smooth field without folds, in mm ``(k, j, i, 3)``, that moves the middle by `length` an axis."""
    distance = np.linalg.norm(GRID.points() - GRID.centre, axis=-1)
    return length * np.exp(-0.5 * (distance / width) ** 2)[..., None] * np.ones(3)


def in_mm(field: torch.Tensor, geometry: Geometry = GRID) -> np.ndarray:
    return np.moveaxis(field.double().cpu().numpy(), 0, -1) * geometry.spacing[0]


def error(field: torch.Tensor, truth: np.ndarray | float) -> float:
    """Return the mean distance to the truth in the phantom, in voxels."""
    inside = depth(GRID.points() + truth, RADIUS * 0.7) < 1
    return float((np.linalg.norm(in_mm(field) - truth, axis=-1) / SPACING)[inside].mean())


def texture(move: np.ndarray | float = 0.0, seed: int = 0) -> WorkingImage:
    """Return a scan full of small structures, as it is seen `move` mm further on: nearly every place has a double."""
    rng = np.random.default_rng(5)
    places, heights = rng.uniform(-110, 110, (400, 3)) + GRID.centre, rng.uniform(-0.3, 0.3, 400)
    points = GRID.points() + move
    values = np.full(GRID.shape, 0.5) + np.random.default_rng(seed).normal(scale=0.004, size=GRID.shape)
    for place, height in zip(places, heights, strict=True):
        values += height * np.exp(-0.5 * np.sum((points - place) ** 2, axis=-1) / 7**2)
    return image_of(values, GRID)


def middle_error(field: torch.Tensor, truth: np.ndarray | float) -> float:
    """Return the mean distance to the truth in the middle of the grid, in voxels."""
    return float((np.linalg.norm(in_mm(field) - truth, axis=-1) / SPACING)[10:30, 10:30, 10:30].mean())


def middle_movement(field: torch.Tensor) -> float:
    """Return the mean length of the field in the very middle of the grid, in voxels."""
    return float((np.linalg.norm(in_mm(field), axis=-1) / SPACING)[16:24, 16:24, 16:24].mean())


def find(fixed: WorkingImage, moving: WorkingImage, settings: LargeMotion = SETTINGS) -> torch.Tensor:
    return transfer_field(*find_large_motion(Level(fixed, moving), settings, on_step=silent), fixed.geometry)


def descend(fixed: WorkingImage, moving: WorkingImage) -> torch.Tensor:
    recipe = Deformable(similarity="lncc", shrink=(4, 2, 1), iterations=(100, 60, 30))
    levels = [
        Level(*(image if n == 1 else coarser(image, GRID.resized(SPACING * n)) for image in (fixed, moving)))
        for n in recipe.shrink
    ]
    fit = register_deformable(levels, recipe, on_step=lambda level, iteration, value: None)
    return transfer_field(fit.field, fit.geometry, GRID)


def test_the_cost_volume_is_that_of_a_plain_loop():
    radius, shape = 1, (5, 4, 6)
    fixed, moving = random_features(shape, 0), random_features(shape, 1)
    volumes = cost_volumes(fixed, moving, radius, on_step=silent)
    still = (fixed.channels - moving.channels).square().sum(0)
    both = fixed.weight * moving.weight
    neutral = float((still * both).sum() / both.sum())
    forward, backward = np.zeros((2, 27, *shape))
    tried = displacements(radius, torch.device("cpu")).int().tolist()
    for number, (di, dj, dk) in enumerate(tried):
        for k, j, i in itertools.product(*map(range, shape)):
            there = (k + dk, j + dj, i + di)
            if any(not 0 <= a < n for a, n in zip(there, shape, strict=True)):
                continue
            difference = float((fixed.channels[:, k, j, i] - moving.channels[(slice(None), *there)]).square().sum())
            weight = float(fixed.weight[k, j, i] * moving.weight[there])
            share = weight * (difference - neutral) / neutral
            forward[number, k, j, i] += share
            backward[(tried.index([-di, -dj, -dk]), *there)] += share
    np.testing.assert_allclose(volumes.forward.numpy(), forward, atol=1e-5)
    np.testing.assert_allclose(volumes.backward.numpy(), backward, atol=1e-5)


def test_the_minimum_is_that_of_a_plain_search_also_in_pieces(monkeypatch):
    radius, shape = 2, (3, 4, 2)
    cost = torch.rand(5**3, *shape, generator=torch.Generator().manual_seed(4))
    tried = displacements(radius, cost.device)
    field = torch.zeros(3, *shape)
    for coupling in COUPLINGS:
        apart = (tried.T[:, :, None, None, None] - field[:, None]).square().sum(0)
        chosen = tried[(cost + coupling * apart).argmin(0)].movedim(-1, 0)
        padded = torch.nn.functional.pad(torch.cat([chosen, torch.ones(1, *shape)]), (1,) * 6)
        sums = padded.unfold(1, 3, 1).unfold(2, 3, 1).unfold(3, 3, 1).sum((-1, -2, -3))
        field = sums[:3] / sums[3:]
    whole = smoothest_minimum(cost, radius)
    monkeypatch.setattr(cost_volume, "VALUES_AT_ONCE", 100)
    torch.testing.assert_close(whole, field)
    torch.testing.assert_close(smoothest_minimum(cost, radius), field)


def test_features_are_block_means_of_what_is_known():
    values = np.random.default_rng(0).uniform(size=(5, 6, 4))
    known = np.random.default_rng(1).uniform(size=(5, 6, 4)) > 0.4
    grid = replace(GRID, size=(4, 6, 5))
    features = make_features(image_of(values, grid, known.astype(float)), "mind")
    fine = mind_features(as_tensor(values)[None])[0].numpy()
    assert features.channels.shape == (12, 3, 3, 2)
    inside = known[2:4, 0:2, 2:4]
    expected = (fine[:, 2:4, 0:2, 2:4] * inside).sum((1, 2, 3)) / inside.sum()
    np.testing.assert_allclose(features.channels[:, 1, 0, 1].numpy(), expected, rtol=1e-5)
    assert float(features.weight[1, 0, 1]) == pytest.approx(inside.sum() / 8)
    assert float(features.weight[2, 0, 0]) == pytest.approx(known[4, 0:2, 0:2].sum() / 8), (
        "half of the block is outside"
    )


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["mind", "lncc"])
def test_a_shift_of_a_third_of_the_image_is_found_where_a_descent_fails(similarity):
    shift = 8 * SPACING * np.array([1.0, -1.0, 1.0])
    assert np.linalg.norm(shift) > 0.3 * SPACING * GRID.shape[0]
    fixed, moving = texture(shift), texture(seed=1)
    reaching = replace(SETTINGS, similarity=similarity, radius=(4, 2))
    assert middle_error(find(fixed, moving, reaching), shift) < 1.0
    assert middle_error(descend(fixed, moving), shift) > 5.0


def test_a_strong_bend_is_brought_near_and_does_not_fold():
    truth = bump(8 * SPACING / np.sqrt(3))
    field, nodes = find_large_motion(Level(scan(truth), scan(seed=1)), SETTINGS, on_step=silent)
    found = transfer_field(field, nodes, GRID)
    assert error(found, truth) < 0.4 * error(torch.zeros_like(found), truth)
    assert float(corner_determinants(field).min()) >= LEAST_DETERMINANT


def test_both_directions_undo_each_other():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(2, 3, 4, 4, 4, generator=generator) * 0.7
    forward, backward = torch.nn.functional.interpolate(coarse, size=(12, 12, 12), mode="trilinear")

    def left(forward: torch.Tensor, backward: torch.Tensor) -> float:
        there = sample(backward, identity_grid((12, 12, 12), forward.device) + forward.permute(1, 2, 3, 0))
        return float((forward + there).square().sum(0).sqrt().mean())

    assert left(*made_consistent(forward, backward)) < 0.1 * left(forward, backward)
    swapped = made_consistent(backward, forward)
    torch.testing.assert_close(swapped[::-1], made_consistent(forward, backward))


def test_swapping_the_images_gives_the_reverse():
    truth = bump(5 * SPACING / np.sqrt(3))
    fixed, moving = scan(truth), scan(seed=1)
    forward, backward = find(fixed, moving), find(moving, fixed)
    back = forward + sample(backward, identity_grid(GRID.shape, forward.device) + forward.permute(1, 2, 3, 0))
    inside = torch.from_numpy(depth(GRID.points(), RADIUS * 0.5) < 1)
    assert float(back.square().sum(0).sqrt()[inside].mean()) < 1.0


def test_identical_images_stay_where_they_are():
    image = scan()
    assert float(find(image, image).abs().max()) < 0.05


def test_what_weighs_nothing_is_not_compared():
    fixed, moving = random_features((6, 6, 6), 0), random_features((6, 6, 6), 1)
    assert bool((fixed.weight == 0).any())
    expected = cost_volumes(fixed, moving, 1, on_step=silent)
    changed = [replace(f, channels=torch.where(f.weight == 0, 100.0, f.channels)) for f in (fixed, moving)]
    found = cost_volumes(*changed, 1, on_step=silent)
    torch.testing.assert_close(found.forward, expected.forward)
    torch.testing.assert_close(found.backward, expected.backward)


@pytest.mark.slow
def test_what_both_masks_leave_out_does_not_move():
    """A patch of the moving scan has moved, the rest is still."""
    patch, hole = (slice(12, 28),) * 3, (slice(4, 36),) * 3
    fixed, moving = texture(), texture(seed=1)
    shifted = texture(np.array([0.0, 0.0, 4 * SPACING]), seed=1).intensity
    intensity = moving.intensity.clone()
    intensity[patch] = shifted[patch]
    moving = replace(moving, intensity=intensity)
    assert middle_movement(find(fixed, moving)) > 1.0
    weight = torch.ones(GRID.shape)
    weight[hole] = 0
    assert middle_movement(find(*(replace(image, weight=weight) for image in (fixed, moving)))) < 0.25


def test_unknown_surroundings_neither_draw_nor_repel():
    """The moving scan ends in the middle of the anatomy; what is known of it is still found."""
    shift = np.array([0.0, 0.0, 6 * SPACING])
    weight = torch.ones(GRID.shape)
    weight[30:] = 0
    fixed, moving = scan(shift), replace(scan(seed=1), weight=weight)
    moving = replace(moving, intensity=moving.intensity * weight)
    found = in_mm(find(fixed, moving))
    assert np.abs(found[12:20, 15:25, 15:25] - shift).mean() < 1.5 * SPACING


def test_the_same_images_give_the_same_field():
    fixed, moving = scan(bump(10.0)), scan(seed=1)
    assert torch.equal(find(fixed, moving), find(fixed, moving))


@pytest.mark.parametrize("device", available_devices())
def test_every_device_finds_the_same(device):
    def on(image: WorkingImage) -> WorkingImage:
        return WorkingImage(image.intensity.to(device), image.weight.to(device), image.geometry)

    fixed, moving = scan(bump(10.0)), scan(seed=1)
    found = find(on(fixed), on(moving))
    assert found.device.type == device
    assert float((found.cpu() - find(fixed, moving)).abs().mean()) < 0.1


@pytest.mark.parametrize("shape", [(1, 9, 7), (4, 4, 4), (3, 50, 5)])
def test_thin_and_tiny_images_are_searched_too(shape):
    values = np.random.default_rng(0).uniform(size=shape)
    image = image_of(values, Geometry(shape[::-1], (2.0, 2.0, 2.0)))
    assert torch.isfinite(find(image, image)).all()


def test_images_without_any_weight_do_not_move():
    empty = replace(scan(), weight=torch.zeros(GRID.shape))
    assert float(find(empty, scan(seed=1)).abs().max()) == 0


def test_it_stops_when_asked_and_says_how_far_it_is():
    asked, told = [0], []

    def poll() -> None:
        asked[0] += 1

    def stopping() -> None:
        asked[0] -= 1
        if asked[0] <= 0:
            raise CancelledError

    level = Level(scan(), scan(seed=1))
    find_large_motion(level, SETTINGS, on_step=told.append, poll=poll)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    asked[0] //= 2
    with pytest.raises(CancelledError):
        find_large_motion(level, SETTINGS, on_step=told.append, poll=stopping)


def test_a_volume_stays_within_its_bound_whatever_the_grid(monkeypatch):
    sizes: list[int] = []
    whole = cost_volume.cost_volumes

    def counting(*given: object, **options: object) -> cost_volume.CostVolumes:
        volumes = whole(*given, **options)
        sizes.extend([volumes.forward.numel(), volumes.backward.numel()])
        return volumes

    monkeypatch.setattr(cost_volume, "cost_volumes", counting)
    monkeypatch.setattr(cost_volume, "LARGEST_VOLUME", 100_000)
    shift = np.array([4.0 * SPACING, 0.0, 0.0])
    found = find(scan(shift), scan(seed=1))
    assert len(sizes) == 4
    assert 50_000 < max(sizes) < 160_000, "cells at the border come on top"
    assert error(found, shift) < 2
