"""Deformable registration: a known smooth field is found, and nothing moves without a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from DeepRegLib.devices import available_devices
from DeepRegLib.evaluation import folded_voxels
from DeepRegLib.geometry import Geometry
from DeepRegLib.networks.blocks import self_similarities
from DeepRegLib.optimization.contrast_mapping import map_contrasts
from DeepRegLib.optimization.deformable import DeformableFit, Level, register_deformable, transfer_field
from DeepRegLib.optimization.field_grid import field_grid, to_field_grid, to_image_grid
from DeepRegLib.optimization.regularity import repair_folds
from DeepRegLib.optimization.working import WorkingImage, coarser
from DeepRegLib.recipes import Deformable
from DeepRegLib.recipes.model import DEFORMABLE_SIMILARITIES
from DeepRegLib.transforms import DisplacementField
from Testing.optimization.phantoms import (
    RADIUS,
    SPACING,
    as_tensor,
    cube,
    depth,
    image_of,
    phantom,
    with_foreground_weight,
)
from Testing.synthetic import CENTRE, blob_values, smooth_field

GRID = cube()
INSIDE = depth(GRID.points()) < 1


def recipe(similarity: str = "lncc", iterations: tuple[int, ...] = (60, 40)) -> Deformable:
    shrink = {1: (1,), 2: (2, 1)}[len(iterations)]
    radius = 1 if similarity == "mind" else 2
    features = "any" if similarity == "features" else ""
    return Deformable(similarity=similarity, features=features, radius=radius, shrink=shrink, iterations=iterations)


def silent(level: int, iteration: int, similarity: torch.Tensor) -> None:
    return None


def run(
    fixed: WorkingImage,
    moving: WorkingImage,
    settings: Deformable,
    on_step: Callable[[int, int, torch.Tensor], None] = silent,
) -> DeformableFit:
    levels = []
    if settings.similarity == "lncc+ngf":
        images = map_contrasts(fixed, moving, fixed.weight * moving.weight)
        fixed, moving = images.fixed, images.moving
    for factor in settings.shrink:
        grid = moving.geometry.resized(moving.geometry.spacing[0] * factor)
        both = shrunk(fixed, factor), moving if factor == 1 else coarser(moving, grid)
        levels.append(Level(*map(described, both) if settings.similarity == "features" else both))
    return register_deformable(levels, settings, on_step=on_step)


def described(image: WorkingImage) -> WorkingImage:
    """Return an image with unit features: how alike each voxel and its neighbours are, and its own brightness."""
    return replace(image, features=functional.normalize(self_similarities(image.intensity[None, None])[0], dim=0))


def shrunk(image: WorkingImage, factor: int) -> WorkingImage:
    if factor == 1:
        return image
    grid = image.geometry.resized(image.geometry.spacing[0] * factor)
    # The weight only says what counts: what lies behind it is known, and both images are blurred alike.
    blurred = coarser(replace(image, weight=torch.ones_like(image.weight)), grid)
    return replace(blurred, weight=coarser(image, grid).weight)


def deformed(amplitude: float = 2.5 * SPACING, seed: int = 2) -> tuple[WorkingImage, NDArray[np.float64]]:
    """Return the phantom pulled back by a smooth field, and that field in mm, ``(k, j, i, 3)``."""
    field = smooth_field(GRID, amplitude, seed).array
    fixed = image_of(blob_values(GRID.points() + field, radius=RADIUS) / 1000, GRID)
    return with_foreground_weight(fixed), np.asarray(field)


def in_mm(fit: DeformableFit) -> NDArray[np.float64]:
    """Return the field at the voxels of the images, ``(k, j, i, 3)``."""
    return np.moveaxis(to_image_grid(fit.field.double().cpu(), GRID.shape).numpy(), 0, -1) * SPACING


def movement(fit: DeformableFit) -> NDArray[np.float64]:
    """Length of the field at the voxels of the images, in their voxels."""
    return np.linalg.norm(in_mm(fit), axis=-1) / SPACING


def noisy(image: WorkingImage, level: float, seed: int) -> WorkingImage:
    noise = torch.randn(image.intensity.shape, generator=torch.Generator().manual_seed(seed)) * level
    return replace(image, intensity=(image.intensity + noise).clamp(0, 1))


@pytest.mark.parametrize("similarity", DEFORMABLE_SIMILARITIES)
def test_a_known_field_is_recovered_below_half_a_voxel(similarity):
    fixed, truth = deformed()
    assert np.linalg.norm(truth[INSIDE], axis=-1).mean() > 0.8 * SPACING
    fit = run(noisy(fixed, 0.005, 0), noisy(phantom(GRID), 0.005, 1), recipe(similarity))
    error = np.linalg.norm(in_mm(fit) - truth, axis=-1)[INSIDE]
    assert error.mean() < 0.5 * SPACING


@pytest.mark.parametrize("contrast", ["inverted", "crooked"])
@pytest.mark.parametrize("similarity", ["lncc+ngf", "mind", "ngf"])
def test_a_field_is_recovered_across_contrasts(similarity, contrast):
    fixed, truth = deformed()
    curve = (1.0, 0.5, 0.0) if contrast == "inverted" else (0.0, 0.9, 0.2)
    other = as_tensor(np.interp(fixed.intensity.numpy(), (0.0, 0.5, 1.0), curve))
    fit = run(replace(fixed, intensity=other), phantom(GRID), recipe(similarity))
    error = np.linalg.norm(in_mm(fit) - truth, axis=-1)[INSIDE]
    assert error.mean() < 0.5 * SPACING


@pytest.mark.parametrize(
    ("similarity", "limit"),
    [
        ("ssd", 0.05),
        ("ssim", 0.05),
        ("ncc", 0.05),
        ("mind", 0.05),
        ("ngf", 0.05),
        ("features", 0.05),
        ("lncc+ngf", 0.15),
        ("lncc", 0.15),  # the variance floor favours a little more contrast
    ],
)
def test_identical_images_stay_put(similarity, limit):
    image = phantom(GRID)
    assert movement(run(with_foreground_weight(image), image, recipe(similarity, (20, 20)))).max() < limit


@pytest.mark.parametrize("similarity", ["ssim", "lncc", "lncc+ngf", "mind", "ngf", "features"])
def test_noise_moves_an_aligned_pair_by_a_fraction_of_a_voxel(similarity):
    image = phantom(GRID)
    moved = movement(run(noisy(with_foreground_weight(image), 0.01, 0), noisy(image, 0.01, 1), recipe(similarity)))
    assert moved[INSIDE].mean() < 0.35
    assert moved.max() < 1


def test_what_has_no_weight_is_not_fitted():
    image = phantom(GRID)
    lump = np.linalg.norm(GRID.points() - (CENTRE + np.array([15, 0, 0])), axis=-1) < 15
    shifted = np.roll(image.intensity.numpy(), 3, axis=2)
    spoilt = image_of(np.where(lump, shifted, image.intensity.numpy()), GRID, ~lump)
    assert movement(run(spoilt, image, recipe("ssd", (40,)))).max() < 0.1
    fitted = run(replace(spoilt, weight=as_tensor(np.ones(GRID.shape))), image, recipe("ssd", (40,)))
    assert movement(fitted).max() > 0.5


@pytest.mark.parametrize("similarity", DEFORMABLE_SIMILARITIES)
def test_what_lies_outside_the_moving_field_of_view_is_not_fitted(similarity):
    image = phantom(GRID)
    half = np.ones(GRID.shape)
    half[:, :, 20:] = 0
    blank = image_of(image.intensity.numpy() * half, GRID, half)
    moved = movement(run(with_foreground_weight(image), blank, recipe(similarity, (40,))))
    assert moved[:, :, 28:].max() < 0.3


@pytest.mark.parametrize("similarity", ["ssim", "lncc", "lncc+ngf", "mind", "ngf", "features"])
def test_different_anatomies_do_not_fold(similarity):
    fit = run(with_foreground_weight(phantom(GRID, seed=1)), phantom(GRID, seed=4), recipe(similarity))
    assert movement(fit).max() > 1
    field, _ = repair_folds(fit.field)
    voxels = np.moveaxis(field.double().numpy(), 0, -1) * fit.geometry.spacing[0]
    assert not folded_voxels(DisplacementField(voxels, fit.geometry), fit.geometry).any()


def test_the_similarity_rises_and_every_level_has_its_curve():
    fixed, _ = deformed()
    fit = run(fixed, phantom(GRID), recipe("lncc"))
    assert len(fit.curves) == 2
    for curve in fit.curves:
        assert curve[-1] > curve[0]
    assert fit.geometry == field_grid(GRID)
    assert fit.field.shape == (3, *fit.geometry.shape)


def test_the_start_is_where_the_field_begins():
    fixed, truth = deformed()
    steps = recipe("lncc", (0,))
    levels = [Level(fixed, phantom(GRID))]
    begun = to_field_grid(as_tensor(np.moveaxis(truth / SPACING, -1, 0)))
    fit = register_deformable(levels, steps, start=lambda geometry: begun, on_step=silent)
    torch.testing.assert_close(fit.field, begun)
    assert fit.curves[0].size == 0


def test_on_step_can_stop_it():
    calls = []

    def stop(level: int, iteration: int, similarity: torch.Tensor) -> None:
        calls.append((level, iteration, tuple(similarity.shape)))
        if len(calls) == 3:
            raise InterruptedError

    fixed, _ = deformed()
    with pytest.raises(InterruptedError):
        run(fixed, phantom(GRID), recipe("lncc"), on_step=stop)
    assert calls == [(0, n, (1,)) for n in range(3)]


def test_the_same_call_gives_the_same_numbers():
    fixed, _ = deformed()
    first, second = (run(fixed, phantom(GRID), recipe("lncc", (10, 5))) for _ in range(2))
    assert torch.equal(first.field, second.field)


@pytest.mark.parametrize("device", [name for name in available_devices() if name != "cpu"] or ["none"])
def test_other_devices_give_nearly_the_same(device):
    if device == "none":
        pytest.skip("there is only the CPU here")
    fixed, _ = deformed()

    def on_device(image: WorkingImage) -> WorkingImage:
        return WorkingImage(image.intensity.to(device), image.weight.to(device), image.geometry)

    here = run(fixed, phantom(GRID), recipe("lncc", (10, 5)))
    there = run(on_device(fixed), on_device(phantom(GRID)), recipe("lncc", (10, 5)))
    assert there.field.device.type == torch.device(device).type
    torch.testing.assert_close(there.field.cpu(), here.field, atol=0.02, rtol=0)


def test_transfer_keeps_a_field_in_the_world():
    field = smooth_field(GRID, 6.0)
    finer = GRID.resized(2.0)
    voxels = as_tensor(np.moveaxis(field.array / SPACING, -1, 0))
    moved = np.moveaxis(transfer_field(voxels, GRID, finer).double().numpy(), 0, -1) * 2.0
    points = finer.points()[3:-3, 3:-3, 3:-3]
    np.testing.assert_allclose(moved[3:-3, 3:-3, 3:-3], field.apply_to_points(points) - points, atol=1e-3)


def test_transfer_to_the_same_grid_changes_nothing():
    geometry = Geometry((9, 8, 7), (2.0,) * 3)
    field = torch.randn(3, 7, 8, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(transfer_field(field, geometry, geometry), field, atol=1e-5, rtol=0)
