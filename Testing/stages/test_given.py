"""A field that is given: the result is refined from it, and is never clearly worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from DeepRegLib.image import Image
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.pipeline import register
from DeepRegLib.registration import Registration
from DeepRegLib.transforms import DisplacementField, apply_to_image
from Testing.small import small_recipe
from Testing.synthetic import geometry_in

GRID = geometry_in("LPS", (32, 32, 32), 2.0)
RECIPE = replace(
    small_recipe(),
    deformable=replace(
        small_recipe().deformable, voxels=60_000, shrink=(8, 4, 2, 1), iterations=(20, 20, 12, 8), similarity="lncc"
    ),
)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def field(seed: int, amplitude_mm: float, width: float) -> DisplacementField:
    """Return a field of some width in voxels and of some root mean square length a component."""
    rough = smooth(noise(seed, 3, *GRID.shape), width)
    return DisplacementField((rough * amplitude_mm / rough.std()).permute(1, 2, 3, 0).numpy(), GRID)


TRUTH = field(1, 2.5, 4.0)


def pair() -> tuple[Image, Image]:
    moving = Image((100 * smooth(noise(0, *GRID.shape), 1.5)).numpy(), GRID, "moving")
    return apply_to_image(TRUTH, moving, GRID), moving


def error(transform) -> float:
    points = GRID.points()[6:-6, 6:-6, 6:-6].reshape(-1, 3)
    return float(np.linalg.norm(transform.apply_to_points(points) - TRUTH.apply_to_points(points), axis=1).mean())


def registered(given: DisplacementField) -> Registration:
    return register(*pair(), RECIPE, device="cpu", initial_transform=given)


def test_a_good_field_is_not_lost_on_coarse_levels():
    given = DisplacementField(TRUTH.array + field(2, 0.3, 3.0).array, GRID)
    result = registered(given)
    assert error(result.transform) < error(given)
    assert result.measures.folds == 0


def test_a_rough_guess_is_led_on_by_coarser_levels():
    given = DisplacementField(0.3 * TRUTH.array, GRID)
    result = registered(given)
    assert error(result.transform) < 0.5 * error(given)
