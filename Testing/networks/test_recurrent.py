"""The recurrent network: what its number of steps does."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from DeepRegLib.networks import RecurrentNet
from DeepRegLib.networks.fields import warp
from Testing.networks.pairs import pair

FLAT = (16, 32, 32)  # half the voxels of a cube


@pytest.mark.slow
def test_more_steps_than_in_training_help_where_more_has_moved():
    torch.manual_seed(0)
    network = RecurrentNet(channels=8, iterations=2)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for seed in range(30):
        images = pair(FLAT, motion=2, seed=seed)
        optimiser.zero_grad()
        functional.l1_loss(network(images.fixed, images.moving), images.field).backward()
        optimiser.step()
    unseen = pair(FLAT, motion=5, seed=100, batch=8)
    network.iterations = 2
    usual = left(network, unseen)
    network.iterations = 4
    more = left(network, unseen)
    assert more[0] < 0.95 * usual[0]
    assert more[1] < usual[1] < 1


def left(network, images) -> tuple[float, float]:
    """Return which share of the mismatch of the images and of the error of the field is left."""
    with torch.no_grad():
        field = network(images.fixed, images.moving)
    mismatch = functional.mse_loss(warp(images.moving, field), images.fixed)
    error = (field - images.field).norm(dim=1).mean()
    before = functional.mse_loss(images.moving, images.fixed), images.field.norm(dim=1).mean()
    return float(mismatch / before[0]), float(error / before[1])


def test_the_number_of_steps_is_given_once_or_for_good():
    torch.manual_seed(0)
    network = RecurrentNet(channels=8, iterations=1)
    torch.nn.init.normal_(network.update.last.weight, std=0.01)
    images = pair()
    with torch.no_grad():
        one, once = network(images.fixed, images.moving), network(images.fixed, images.moving, iterations=3)
        assert network.iterations == 1
        network.iterations = 3
        for_good = network(images.fixed, images.moving)
    torch.testing.assert_close(once, for_good)
    assert (once - one).abs().max() > 1e-3


def test_no_step_is_longer_than_the_correlation_sees():
    torch.manual_seed(0)
    network = RecurrentNet(channels=4, iterations=1)
    torch.nn.init.constant_(network.update.last.bias, 100)
    images = pair()
    with torch.no_grad():
        field = network(images.fixed, images.moving)
    # One node at each of four levels: 8 + 4 + 2 + 1 nodes of the finest.
    torch.testing.assert_close(field, torch.full_like(field, 15.0))
