"""The feature network and the similarity made of it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from DeepRegLib.errors import InputError
from DeepRegLib.networks import FeatureNet, FeatureSimilarity
from DeepRegLib.similarity import Similarity
from Testing.networks.pairs import pair, texture

SHAPE = (16, 16, 24)


def small_net() -> FeatureNet:
    torch.manual_seed(0)
    return FeatureNet(channels=(6, 8, 8), out=8).eval()


def image(seed: int = 0, shape: tuple[int, int, int] = SHAPE, batch: int = 1) -> torch.Tensor:
    return texture(shape, batch, torch.Generator().manual_seed(seed))[:, 0]


def test_each_voxel_has_a_unit_vector():
    with torch.no_grad():
        features = small_net()(image()[:, None])
    assert features.shape == (1, 8, *SHAPE)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1, *SHAPE))


def test_it_learns_to_find_a_voxel_in_another_contrast():
    network = small_net().train()
    scan = image()[:, None]
    inverted = (scan > 0.02) * (1 - scan) ** 2
    generator = torch.Generator().manual_seed(0)
    anatomy = (scan[0, 0] > 0.2).flatten().nonzero().flatten()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)

    def cosines() -> torch.Tensor:
        chosen = anatomy[torch.randperm(len(anatomy), generator=generator)[:128]]
        one, other = (network(contrast)[0].flatten(1)[:, chosen] for contrast in (scan, inverted))
        return one.T @ other

    def found() -> float:
        with torch.no_grad():
            return float((cosines().argmax(1) == torch.arange(128)).float().mean())

    before = found()
    for _ in range(40):
        optimiser.zero_grad()
        functional.cross_entropy(cosines() / 0.07, torch.arange(128)).backward()
        optimiser.step()
    assert before < 0.2
    assert found() > 0.6


def prepared(fixed: torch.Tensor, weight: torch.Tensor | None = None, dtype: torch.dtype = torch.float32) -> Similarity:
    fixed = fixed.to(dtype)
    weight = torch.ones_like(fixed) if weight is None else weight.to(dtype)
    return FeatureSimilarity(small_net().to(dtype), fixed, weight)


@pytest.mark.parametrize("shape", [SHAPE, (11, 14, 9)])
def test_equal_images_are_fully_alike_and_others_less(shape):
    fixed = image(shape=shape)
    metric = prepared(fixed)
    assert metric.value(fixed).item() == pytest.approx(1, abs=1e-5)
    values = metric.value(torch.cat([image(1, shape), fixed.roll(2, -1), fixed]))
    assert values.shape == (3,)
    assert values[0] < values[2]
    assert values[1] < values[2]


def test_the_gradient_is_that_of_finite_differences():
    shape = (7, 9, 6)
    weight = torch.rand(1, *shape, generator=torch.Generator().manual_seed(3))
    metric = prepared(image(shape=shape), weight, torch.float64)
    warped = image(1, shape, batch=2).double()
    with torch.no_grad():  # as in a registration
        value, gradient = metric.value_and_gradient(warped)
    torch.testing.assert_close(value, metric.value(warped))
    assert not gradient.requires_grad
    direction = torch.randn(warped.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    step = 1e-6
    slope = (metric.value(warped + step * direction) - metric.value(warped - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), slope, rtol=1e-5, atol=1e-8)


def test_the_network_and_the_images_are_left_as_they_are():
    network, fixed, warped = small_net(), image(), image(1)
    copy = warped.clone()
    FeatureSimilarity(network, fixed, torch.ones_like(fixed)).value_and_gradient(warped)
    assert torch.equal(warped, copy)
    assert not warped.requires_grad
    assert all(weight.grad is None and weight.requires_grad for weight in network.parameters())


def test_without_weight_there_is_neither_value_nor_gradient():
    value, gradient = prepared(image(), torch.zeros(1, *SHAPE)).value_and_gradient(image(1))
    assert value.item() == 0
    assert not gradient.any()


def test_following_the_gradient_makes_images_more_alike():
    images = pair(SHAPE, motion=1)
    metric = prepared(images.fixed[:, 0])
    warped = images.moving[:, 0]
    before, gradient = metric.value_and_gradient(warped)
    assert metric.value(warped + 0.01 * gradient / gradient.abs().max()) > before


def test_images_on_different_grids_are_refused():
    with pytest.raises(InputError, match="one grid"):
        FeatureSimilarity(small_net(), image(), torch.ones(1, 8, 8, 8))
