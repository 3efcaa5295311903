"""The affine network: its fit against least squares, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from DeepRegLib.errors import ModelError
from DeepRegLib.networks.affine import AffineNet, _fit, _inverse
from DeepRegLib.networks.fields import affine_field, warp
from Testing.networks.pairs import texture


def test_the_fit_to_many_points_is_least_squares():
    rng = np.random.default_rng(0)
    fixed, noise = rng.uniform(-1, 1, (40, 3)), rng.normal(scale=0.01, size=(40, 3))
    matrix = np.eye(3, 4) + 0.2 * rng.normal(size=(3, 4))
    homogeneous = np.column_stack([fixed, np.ones(40)])
    moving = homogeneous @ matrix.T + noise
    wanted = np.linalg.lstsq(homogeneous, moving, rcond=None)[0].T
    found = _fit(torch.tensor(fixed)[None], torch.tensor(moving)[None])[0]
    # The pull to the identity is a thousandth against a spread of a third.
    np.testing.assert_allclose(found.numpy(), wanted, atol=4e-3)


def test_points_in_one_place_give_no_linear_part():
    fixed, moving = torch.full((1, 5, 3), 0.25), torch.full((1, 5, 3), 0.5)
    wanted = torch.cat([torch.eye(3), torch.full((3, 1), 0.25)], 1)
    torch.testing.assert_close(_fit(fixed, moving)[0], wanted)


def test_the_inverse_is_torchs():
    roots = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices = roots @ roots.transpose(1, 2) + 0.1 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(_inverse(matrices), torch.linalg.inv(matrices))


def test_it_learns_the_affine_map_of_one_pair():
    torch.manual_seed(0)
    shape = (32, 48, 32)
    moving = texture(shape, 1, torch.Generator().manual_seed(0))
    angle = torch.tensor(0.15)
    truth = torch.eye(3, 4)[None]
    truth[0, :2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2) * 1.05
    truth[0, :, 3] = torch.tensor([0.05, -0.08, 0.04])
    fixed = warp(moving, affine_field(truth, shape))
    network = AffineNet(channels=(8, 12, 16), points=16)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    before = functional.mse_loss(moving, fixed)
    for _ in range(40):
        optimiser.zero_grad()
        loss = functional.mse_loss(warp(moving, affine_field(network(fixed, moving), shape)), fixed)
        loss.backward()
        optimiser.step()
    assert loss < 0.3 * before
    with torch.no_grad():
        error = affine_field(network(fixed, moving), shape) - affine_field(truth, shape)
    assert error.norm(dim=1).mean() < 0.4 * affine_field(truth, shape).norm(dim=1).mean()


@pytest.mark.parametrize("arguments", [{"channels": ()}, {"channels": (8, 0)}, {"points": 3}])
def test_arguments_it_cannot_use_are_refused(arguments):
    with pytest.raises(ModelError, match=str(next(iter(arguments)))):
        AffineNet(**arguments)
