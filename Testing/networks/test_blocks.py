"""The parts the networks are built of."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from DeepRegLib.errors import InputError
from DeepRegLib.networks import blocks
from DeepRegLib.networks.blocks import (
    Encoder,
    InstanceNorm,
    Matches,
    check_image,
    check_pair,
    convolution,
    correlate,
    self_similarities,
)
from DeepRegLib.similarity.mind import mind_features


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_normalisation_is_torchs():
    norm, wanted = InstanceNorm(3), torch.nn.InstanceNorm3d(3, affine=True)
    for module in (norm, wanted):
        module.load_state_dict({"weight": torch.tensor([1.0, 2.0, 3.0]), "bias": torch.tensor([0.1, 0.2, 0.3])})
    volume = 5 * randn(2, 3, 4, 5, 6) + 2
    torch.testing.assert_close(norm(volume), wanted(volume))


def test_a_volume_of_one_node_is_normalised_to_the_offset():
    norm = InstanceNorm(2)
    norm.load_state_dict({"weight": torch.ones(2), "bias": torch.tensor([0.5, -2.0])})
    torch.testing.assert_close(norm(randn(1, 2, 1, 1, 1)).flatten(), norm.bias, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (2, 2), (4, 2)])
def test_each_node_lies_in_the_middle_of_those_it_came_from(kernel, stride):
    layer = convolution(1, 1, kernel=kernel, stride=stride)
    torch.nn.init.constant_(layer.weight, 1 / kernel**3)
    ramp = torch.arange(16.0).expand(1, 1, 16, 16, 16)
    with torch.no_grad():
        means = layer(ramp)[0, 0, 4, 4]
    assert len(means) == 16 // stride
    wanted = stride * torch.arange(float(len(means))) + (stride - 1) / 2
    torch.testing.assert_close(means[1:-1], wanted[1:-1])


@pytest.mark.parametrize("self_similarity", [False, True])
def test_the_encoder_halves_the_image_at_each_level(self_similarity):
    features = Encoder((2, 3, 4), self_similarity=self_similarity)(torch.rand(2, 1, 16, 24, 32))
    assert [tuple(f.shape) for f in features] == [(2, 2, 8, 12, 16), (2, 3, 4, 6, 8), (2, 4, 2, 3, 4)]


def test_self_similarities_lie_at_the_nodes_and_do_not_depend_on_the_contrast():
    image = torch.rand(2, 1, 8, 10, 12)
    found, inverted = self_similarities(image, 2), self_similarities(0.8 - 0.5 * image, 2)
    assert found.shape == (2, 13, 4, 5, 6)
    torch.testing.assert_close(inverted[:, :12], found[:, :12], atol=1e-4, rtol=0)
    wanted = mind_features(image[:, 0])[1, 3, 2:4, 4:6, 6:8].mean() - 0.5
    torch.testing.assert_close(found[1, 3, 1, 2, 3], wanted)
    torch.testing.assert_close(found[0, 12, 0, 0, 0], image[0, 0, :2, :2, :2].mean() - 0.5)
    torch.testing.assert_close(functional.avg_pool3d(self_similarities(image), 2), found)


@pytest.mark.parametrize("tile", [1, 1 << 20])
@pytest.mark.parametrize("radius", [1, 2])
def test_the_correlation_is_the_cosine_with_each_neighbour(monkeypatch, radius, tile):
    monkeypatch.setattr(blocks, "_CPU_TILE", tile)
    fixed, moving = 10 * randn(2, 4, 3, 4, 5), 10 * randn(2, 4, 3, 4, 5, seed=1)
    found = correlate(fixed + 7, moving - 3, radius)
    fixed, moving = (features - features.mean((2, 3, 4), keepdim=True) for features in (fixed, moving))
    offsets = list(itertools.product(range(-radius, radius + 1), repeat=3))
    assert found.shape == (2, len(offsets), 3, 4, 5)
    wanted = torch.zeros_like(found)
    for channel, (dk, dj, di) in enumerate(offsets):
        for k, j, i in itertools.product(range(3), range(4), range(5)):
            if 0 <= k + dk < 3 and 0 <= j + dj < 4 and 0 <= i + di < 5:
                there = moving[:, :, k + dk, j + dj, i + di]
                wanted[:, channel, k, j, i] = torch.cosine_similarity(fixed[:, :, k, j, i], there)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_the_correlation_of_nothing_is_zero_and_has_a_gradient():
    fixed, moving = torch.zeros(1, 2, 3, 3, 3, requires_grad=True), torch.zeros(1, 2, 3, 3, 3)
    found = correlate(fixed, moving, 1)
    found.sum().backward()
    assert not found.any()
    assert torch.isfinite(fixed.grad).all()


@pytest.mark.parametrize("radius", [1, 2])
def test_a_shift_within_the_radius_is_found_where_it_is(radius):
    moving = randn(1, 16, 9, 9, 9)
    matches = Matches(radius)
    with torch.no_grad():
        assert not matches(moving, moving)[1].any()
        matches.gain.fill_(1 / blocks.HURRY)
        matches.log_sharpness.fill_(5)
        cosines, found = matches(moving.roll((-radius, 1), (2, 4)), moving)
    inner = found[0, :, radius:-radius, radius:-radius, radius:-radius]
    wanted = torch.tensor([-1.0, 0.0, radius])[:, None, None, None].expand_as(inner)
    torch.testing.assert_close(inner, wanted, atol=1e-2, rtol=0)
    assert cosines.shape == (1, (2 * radius + 1) ** 3, 9, 9, 9)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 2, 16, 16, 16), "B, 1, D, H, W"), ((16, 16, 16), "B, 1, D, H, W"), ((1, 1, 16, 20, 16), "multiple of 16")],
)
def test_images_a_network_cannot_take_are_named(shape, words):
    with pytest.raises(InputError, match=words):
        check_image(torch.zeros(shape), 16)


def test_images_on_different_grids_are_refused():
    with pytest.raises(InputError, match="moving ones"):
        check_pair(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 32), 16)
