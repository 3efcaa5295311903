"""The feature network: what it says of the voxels of an image."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from DeepRegLib.networks import FeatureNet
from DeepRegLib.networks.features import describe
from Testing.networks.pairs import texture

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


@pytest.mark.parametrize("shape", [SHAPE, (11, 14, 9)])
def test_images_of_any_size_are_described_and_left_as_they_are(shape):
    network, scan = small_net(), image(shape=shape, batch=2)
    copy = scan.clone()
    with torch.no_grad():
        features = describe(network, scan)
        assert features.shape == (2, 8, *shape)
        torch.testing.assert_close(features.norm(dim=1), torch.ones(2, *shape))
        torch.testing.assert_close(describe(network, scan[1:]), features[1:], atol=1e-5, rtol=0)
    assert torch.equal(scan, copy)


def test_a_network_that_begins_with_self_similarities_says_much_the_same_of_an_inverted_image():
    """Untrained as it is: what is left is the intensity, one of thirteen channels."""
    scan = image()
    similar = {}
    for self_similarity in (True, False):
        torch.manual_seed(0)
        network = FeatureNet((6, 8, 8), 8, self_similarity).eval()
        with torch.no_grad():
            similar[self_similarity] = float((describe(network, scan) * describe(network, 1 - scan)).sum(1).mean())
    assert similar[True] > 0.8
    assert similar[False] < 0.5
