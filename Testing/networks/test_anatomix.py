"""Networks of features: what they say of the voxels of an image."""

from __future__ import annotations

import pytest
import torch

from DeepRegLib.networks.anatomix import Anatomix, describe
from Testing.networks.pairs import texture

SHAPE = (16, 16, 24)


def small_net() -> Anatomix:
    torch.manual_seed(0)
    return Anatomix(channels=4, out=8, levels=2).eval()


def image(seed: int = 0, shape: tuple[int, int, int] = SHAPE, batch: int = 1) -> torch.Tensor:
    return texture(shape, batch, torch.Generator().manual_seed(seed))[:, 0]


def test_each_voxel_has_a_unit_vector():
    with torch.no_grad():
        features = small_net()(image()[:, None])
    assert features.shape == (1, 8, *SHAPE)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1, *SHAPE))


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
