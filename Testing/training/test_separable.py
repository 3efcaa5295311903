"""One matrix an axis: products, smooth noise, blur, slices and ghosts against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.separable import along_axes, blur_matrix, ghost_matrix, slice_matrices, smooth_noise

CPU = torch.device("cpu")


def test_a_matrix_an_axis_is_what_einsum_says() -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(2, 3, 5, 4), torch.randn(2, 1, 6, 3), torch.randn(1, 3, 7, 2)]
    volume = torch.randn(2, 3, 4, 3, 2)
    full = [matrix.expand(2, 3, -1, -1) for matrix in matrices]
    expected = torch.einsum("bckz,bcjy,bcix,bczyx->bckji", *full, volume)
    torch.testing.assert_close(along_axes(volume, matrices), expected, rtol=1e-5, atol=1e-5)


def test_smooth_noise_has_unit_variance_and_is_smooth_at_its_scale() -> None:
    noise = smooth_noise(Randomness(range(8), CPU), 4, (20, 24, 28), (5.0, 5.0))
    assert noise.shape == (8, 4, 20, 24, 28)
    assert abs(float(noise.mean())) < 0.1
    assert float(noise.var()) == pytest.approx(1, abs=0.15)
    # The expected squared slope of a cubic B-spline with random weights is (2/3) / (151/315) an axis.
    slope = float(noise.diff(dim=-1).var()) * 5.0**2
    assert slope == pytest.approx((2 / 3) / (151 / 315), rel=0.2)


def test_blurring_a_point_gives_a_gaussian_and_keeps_constants() -> None:
    matrix = blur_matrix(31, torch.tensor([0.0, 2.0]))[:, 0]
    torch.testing.assert_close(matrix.sum(-1), torch.ones(2, 31))
    torch.testing.assert_close(matrix[0], torch.eye(31))
    offset = torch.arange(31.0) - 15
    assert float((matrix[1, 15] * offset**2).sum()) == pytest.approx(4, rel=1e-3)


def test_slices_of_one_voxel_change_nothing() -> None:
    averaging, interpolating = slice_matrices(9, torch.ones(1), torch.zeros(1))
    torch.testing.assert_close((interpolating @ averaging)[0, 0], torch.eye(9), atol=1e-6, rtol=0)


@pytest.mark.parametrize("thickness", [2.0, 2.7, 4.0])
@pytest.mark.parametrize("phase", [0.0, 0.3])
def test_thick_slices_are_means_over_their_extent(thickness: float, phase: float) -> None:
    size = 17
    averaging, interpolating = slice_matrices(size, torch.tensor([thickness]), torch.tensor([phase]))
    line = np.random.default_rng(0).normal(size=size)
    fine = np.repeat(line, 1000)  # brute force: means of a finely sampled line
    slices = (averaging[0, 0].double() @ torch.from_numpy(line)).numpy()
    for number in range(1, int(size / thickness) - 1):
        low, high = (round(1000 * thickness * (number + step - phase)) for step in (0, 1))
        assert slices[number] == pytest.approx(fine[low:high].mean(), abs=2e-2)
    torch.testing.assert_close((interpolating @ averaging)[0, 0].sum(-1), torch.ones(size), atol=1e-5, rtol=0)


def test_a_ghost_is_a_shifted_copy() -> None:
    line = torch.randn(1, 1, 12, 1)
    spoiled = ghost_matrix(12, torch.tensor([3.0]), torch.tensor([0.25])) @ line
    torch.testing.assert_close(spoiled, 0.75 * line + 0.25 * line.roll(3, 2))
