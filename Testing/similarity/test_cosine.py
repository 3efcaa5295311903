"""Vectors a voxel: agreement with autograd of a plain reference, and that only directions count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.similarity import Cosine
from Testing.similarity.images import random_weight

SHAPE = (7, 8, 6)


def vectors(seed: int, channels: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(channels, *SHAPE, generator=generator, dtype=torch.float64)


def unit(seed: int) -> Tensor:
    return functional.normalize(vectors(seed), dim=0)


def weight(seed: int) -> Tensor:
    return random_weight((1, *SHAPE), seed)[0]


def reference(fixed: Tensor, weights: Tensor, warped: Tensor) -> Tensor:
    return (functional.cosine_similarity(fixed, warped, dim=0) * weights).sum() / weights.sum()


def test_value_and_gradient_agree_with_autograd_of_the_reference() -> None:
    fixed, weights, warped = unit(0), weight(1), vectors(2).requires_grad_()
    expected = reference(fixed, weights, warped)
    (expected_gradient,) = torch.autograd.grad(expected, warped)
    value, gradient = Cosine(fixed, weights).value_and_gradient(warped)
    assert value.shape == (1,)
    assert not value.requires_grad
    torch.testing.assert_close(value[0], expected.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(Cosine(fixed, weights).value(warped), value)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("scale", [0.3, 7.0])
def test_only_directions_count(scale: float) -> None:
    metric = Cosine(unit(0), weight(1))
    warped = vectors(2)
    torch.testing.assert_close(metric.value(scale * warped), metric.value(warped))
    _, gradient = metric.value_and_gradient(warped)
    torch.testing.assert_close((gradient * warped).sum(0), torch.zeros(SHAPE, dtype=torch.float64))


def test_equal_vectors_are_a_best_match() -> None:
    metric = Cosine(unit(0), weight(1))
    value, gradient = metric.value_and_gradient(unit(0))
    torch.testing.assert_close(value, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_what_has_no_weight_or_no_direction_has_no_influence() -> None:
    weights, warped, changed = weight(1), vectors(2), vectors(2)
    weights[:3] = 0
    changed[:, :3] = vectors(3)[:, :3]
    metric = Cosine(unit(0), weights)
    torch.testing.assert_close(metric.value(changed), metric.value(warped))
    assert not metric.value_and_gradient(changed)[1][:, :3].any()
    changed[:, 3:5] = 0
    value, gradient = metric.value_and_gradient(changed)
    assert torch.isfinite(value).all()
    assert not gradient[:, 3:5].any()


def test_without_any_weight_value_and_gradient_are_zero() -> None:
    value, gradient = Cosine(unit(0), torch.zeros(SHAPE, dtype=torch.float64)).value_and_gradient(vectors(2))
    assert not value.any()
    assert not gradient.any()
