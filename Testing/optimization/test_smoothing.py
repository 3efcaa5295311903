"""The box smoothing against a true Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegLib.optimization.smoothing import smooth

SIDE = 41


def impulse() -> torch.Tensor:
    volume = torch.zeros(SIDE, SIDE, SIDE)
    volume[SIDE // 2, SIDE // 2, SIDE // 2] = 1
    return volume


def gaussian(sigma: float) -> np.ndarray:
    line = np.exp(-0.5 * ((np.arange(SIDE) - SIDE // 2) / sigma) ** 2)
    line /= line.sum()
    return line[:, None, None] * line[:, None] * line


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 1.7, 2.5, 4.0])
def test_mass_and_variance_are_those_of_the_gaussian(sigma):
    blurred = smooth(impulse(), sigma).double().numpy()
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    places = np.arange(SIDE) - SIDE // 2
    for axis in range(3):
        profile = blurred.sum(axis=tuple({0, 1, 2} - {axis}))
        assert (profile * places**2).sum() == pytest.approx(sigma**2, rel=0.01)


@pytest.mark.parametrize("sigma", [1.7, 2.5, 4.0])
def test_the_shape_is_near_the_gaussians(sigma):
    blurred, expected = smooth(impulse(), sigma).double().numpy(), gaussian(sigma)
    assert np.abs(blurred - expected).sum() < 0.35


def test_zero_sigma_changes_nothing_and_the_input_is_kept():
    volume = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    before = volume.clone()
    assert torch.equal(smooth(volume, 0), volume)
    smooth(volume, 1.7)
    assert torch.equal(volume, before)


def test_channels_are_smoothed_alike():
    volume = torch.rand(3, 12, 11, 10, generator=torch.Generator().manual_seed(0))
    together = smooth(volume, 1.3)
    for channel, alone in zip(volume, together, strict=True):
        torch.testing.assert_close(smooth(channel, 1.3), alone)


def test_a_constant_stays_constant_away_from_the_border():
    blurred = smooth(torch.full((20, 20, 20), 3.0), 1.0)
    torch.testing.assert_close(blurred[6:-6, 6:-6, 6:-6], torch.full((8, 8, 8), 3.0))
