"""What a level compares: the parts of a comparison, their shares, and the derivative by either contrast."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from DeepRegLib.optimization.comparison import NOISE_FORCE, ROUGHNESS, Comparison
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.recipes import Deformable
from DeepRegLib.recipes.model import DEFORMABLE_SIMILARITIES
from DeepRegLib.similarity import LNCC, NGF, Cosine, Windows, make_similarity
from Testing.optimization.phantoms import cube
from Testing.similarity.images import random_weight, smooth_image

SHAPE = (10, 9, 11)
LNCC_NGF = Deformable(similarity="lncc+ngf", radius=1)
FEATURES = Deformable(similarity="features", features="any")


def fixed_image() -> WorkingImage:
    intensity, mapped = (smooth_image((1, *SHAPE), seed)[0] for seed in (0, 1))
    return WorkingImage(intensity, torch.ones_like(intensity), cube(10), mapped)


def warped_contrasts() -> torch.Tensor:
    return smooth_image((2, *SHAPE), 2)


def test_every_similarity_has_its_scales():
    assert set(NOISE_FORCE) == set(ROUGHNESS) == set(DEFORMABLE_SIMILARITIES)


@pytest.mark.parametrize(
    "similarity", [name for name in DEFORMABLE_SIMILARITIES if name not in ("lncc+ngf", "features")]
)
def test_a_metric_alone_is_that_metric(similarity):
    fixed, warped, weight = fixed_image(), warped_contrasts()[:1], random_weight((1, *SHAPE), 3)
    comparison = Comparison(Deformable(similarity=similarity, radius=1), Windows.ALL, fixed, weight[0])
    metric = make_similarity(similarity, fixed.intensity[None], weight, radius=1)
    expected, expected_gradient = metric.value_and_gradient(warped)
    value, gradient = comparison.value_and_gradient(warped)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)


def test_lncc_and_ngf_together_are_windows_in_both_contrasts_by_their_shares_and_edges_in_equal_measure_of_noise():
    fixed, warped, weight = fixed_image(), warped_contrasts(), random_weight((1, *SHAPE), 3)
    assert fixed.mapped is not None
    in_moving_contrast = LNCC(fixed.mapped[None], weight, 1).value(warped[:1])
    in_fixed_contrast = LNCC(fixed.intensity[None], weight, 1).value(warped[1:])
    edges = NGF(fixed.intensity[None], weight).value(warped[:1])
    for share in (0.5, 0.8):
        expected = 0.375 * (share * in_moving_contrast + (1 - share) * in_fixed_contrast) + 0.625 * edges
        told = replace(fixed, mapped_share=share)
        torch.testing.assert_close(Comparison(LNCC_NGF, Windows.ALL, told, weight[0]).value(warped), expected)
    assert NOISE_FORCE["lncc+ngf"] == pytest.approx(0.375 * NOISE_FORCE["lncc"] + 0.625 * NOISE_FORCE["ngf"])


def test_the_gradient_of_lncc_and_ngf_together_agrees_with_finite_differences_in_either_contrast():
    comparison = Comparison(LNCC_NGF, Windows.ALL, fixed_image(), random_weight((1, *SHAPE), 3)[0])
    warped, step = warped_contrasts(), 1e-6
    value, gradient = comparison.value_and_gradient(warped)
    torch.testing.assert_close(comparison.value(warped), value)
    for contrast in range(2):
        direction = torch.zeros_like(warped)
        direction[contrast] = smooth_image((1, *SHAPE), 4)[0] - 0.5
        there, back = (comparison.value(warped + sign * step * direction) for sign in (1, -1))
        torch.testing.assert_close((gradient * direction).sum(), ((there - back) / (2 * step))[0], rtol=1e-4, atol=1e-7)


def test_lncc_and_ngf_together_without_the_other_contrast_is_refused():
    fixed = fixed_image()
    alone = WorkingImage(fixed.intensity, fixed.weight, fixed.geometry)
    with pytest.raises(ValueError, match="mapped into the other's contrast"):
        Comparison(LNCC_NGF, Windows.ALL, alone, fixed.weight)


def test_features_are_compared_by_their_directions():
    vectors = functional.normalize(smooth_image((6, *SHAPE), 5) - 0.5, dim=0)
    fixed, warped, weight = (
        replace(fixed_image(), features=vectors),
        smooth_image((6, *SHAPE), 6) - 0.5,
        fixed_image().weight,
    )
    comparison = Comparison(FEATURES, Windows.ALL, fixed, weight)
    value, gradient = comparison.value_and_gradient(warped)
    expected, expected_gradient = Cosine(vectors, weight).value_and_gradient(warped)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(comparison.value(warped), expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_features_that_are_not_known_are_refused():
    with pytest.raises(ValueError, match="described"):
        Comparison(FEATURES, Windows.ALL, fixed_image(), fixed_image().weight)
