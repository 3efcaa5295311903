"""The contrast of one image, learned from another that is aligned with it."""

import numpy as np
import pytest
import torch

from DeepRegLib.similarity import contrast_curve, correlation_ratio
from Testing.similarity.images import random_weight, smooth_image

SHAPE = (24, 22, 26)


def image(seed: int) -> torch.Tensor:
    return smooth_image((1, *SHAPE), seed)[0]


def crooked(values: torch.Tensor) -> torch.Tensor:
    """Neither brighter for brighter nor darker for brighter."""
    knots = np.linspace(float(values.min()), float(values.max()), 5)
    return torch.from_numpy(np.interp(values.numpy(), knots, (0.0, 0.9, 0.45, 0.65, 0.2)))


def share_explained(mapped: torch.Tensor, target: torch.Tensor) -> float:
    return float(correlation_ratio(target, mapped, torch.ones_like(target)))


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (-3, 2), (400, 1000)])
def test_a_crooked_contrast_is_learned_whatever_the_scale(gain, offset):
    source = image(0)
    target = crooked(source)
    given = gain * source + offset
    assert share_explained(contrast_curve(given, target, torch.ones(SHAPE))(given), target) > 0.98


def test_several_tissues_may_have_the_same_grey_but_grey_cannot_be_told_apart_again():
    source = image(1)
    folded = (source - source.median()).abs()
    ones = torch.ones(SHAPE)
    assert share_explained(contrast_curve(source, folded, ones)(source), folded) > 0.97
    assert share_explained(contrast_curve(folded, source, ones)(folded), source) < 0.3


def test_what_is_unrelated_becomes_nearly_flat():
    noise = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    flat = contrast_curve(image(2), noise, torch.ones(SHAPE))(image(2))
    assert float(flat.std()) < 0.1 * float(noise.std())


def test_what_has_no_weight_has_no_influence():
    source, target, weight = image(3), crooked(image(3)), random_weight((1, *SHAPE), 4)[0]
    curve = contrast_curve(source, target, weight)
    outside = (weight == 0).double()
    assert outside.any()
    other = contrast_curve(source - 9 * outside, target + 5 * outside, weight)
    torch.testing.assert_close(other(source), curve(source), rtol=1e-12, atol=1e-12)


def test_beyond_its_ends_a_curve_is_constant():
    source, target = image(5), crooked(image(5))
    curve = contrast_curve(source, target, torch.ones(SHAPE))
    ends = curve(torch.stack([source.min(), source.max()]))
    torch.testing.assert_close(curve(torch.stack([source.min() - 1, source.max() + 1])), ends)


@pytest.mark.parametrize("what", ["constant", "no weight", "one voxel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_images_give_finite_numbers(what, dtype):
    source, weight = image(6).to(dtype), torch.ones(SHAPE, dtype=dtype)
    if what == "constant":
        source = torch.full_like(source, 1234.567)
    else:
        weight.zero_()
        if what == "one voxel":
            weight[3, 4, 5] = 1
    found = contrast_curve(source, image(7).to(dtype), weight)(source)
    assert found.dtype == dtype
    assert found.isfinite().all()


def test_a_large_image_is_learned_from_a_part_of_it():
    source = torch.rand(100, 90, 110, generator=torch.Generator().manual_seed(8))
    target = crooked(source).float()
    curve = contrast_curve(source, target, torch.ones_like(source))
    assert share_explained(curve(source), target) > 0.97
    assert torch.equal(curve(source), contrast_curve(source, target, torch.ones_like(source))(source))


def test_the_correlation_ratio_is_the_share_of_the_variance_that_is_gone():
    target, weight = image(9), random_weight((1, *SHAPE), 10)[0]
    mean = (weight * target).sum() / weight.sum()
    assert float(correlation_ratio(target, target, weight)) == 1
    assert float(correlation_ratio(target, torch.full_like(target, mean), weight)) == pytest.approx(0, abs=1e-12)
    assert float(correlation_ratio(target, (target + mean) / 2, weight)) == pytest.approx(0.75)
    assert float(correlation_ratio(target, mean - 2 * (target - mean), weight)) == 0
    assert float(correlation_ratio(target, target, torch.zeros_like(weight))) <= 1
