"""Torch kernels on voxel-unit fields, held against plain numpy and the world-frame transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms import DisplacementField
from DeepRegLib.transforms.sampling import (
    central_difference,
    compose_fields,
    field_gradient,
    identity_grid,
    resize_field,
    sample,
)
from Testing.synthetic import trilinear

CPU = torch.device("cpu")
SHAPE = (7, 6, 9)


def noise(*shape: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=scale, size=shape))


def test_the_identity_grid_holds_i_j_k() -> None:
    grid = identity_grid(SHAPE, CPU, torch.float64)
    assert grid.shape == (*SHAPE, 3)
    assert grid[4, 2, 8].tolist() == [8, 2, 4]


@pytest.mark.parametrize("depth", [1, 2, 7, 13])
def test_sampling_is_trilinear_at_i_j_k_with_the_edge_repeated(depth: int) -> None:
    volume = noise(2, *SHAPE)
    index = noise(depth, 4, 5, 3, scale=6, seed=1) + 4
    sampled = sample(volume, index).numpy()
    clipped = np.clip(index.numpy(), 0, np.array(SHAPE[::-1]) - 1)
    for channel in range(2):
        np.testing.assert_allclose(sampled[channel], trilinear(volume[channel].numpy(), clipped), atol=1e-9)


def test_zero_padding_fades_outside() -> None:
    volume = torch.ones(1, *SHAPE, dtype=torch.float64)
    index = torch.tensor([[-0.5, 2, 3], [-1, 2, 3], [-3, 2, 3], [4, 2, 3]], dtype=torch.float64).reshape(4, 1, 1, 3)
    np.testing.assert_allclose(sample(volume, index, padding="zeros").ravel(), [0.5, 0, 0, 1], atol=1e-12)


@pytest.mark.usefixtures("threads")
def test_where_nothing_is_looked_up_nothing_comes_back() -> None:
    assert sample(torch.ones(3, 4, 5, 6), torch.zeros(1, 1, 0, 3)).shape == (3, 1, 1, 0)


def test_one_slice_thick_volumes_are_sampled() -> None:
    volume = noise(3, 1, 5, 6)
    np.testing.assert_allclose(sample(volume, identity_grid((1, 5, 6), CPU, torch.float64)), volume, atol=1e-9)


def test_composing_fields_is_applying_one_after_the_other() -> None:
    """In voxels of a grid of 1 mm a field is its own displacement in mm, so the numpy transform can judge."""
    geometry = Geometry(SHAPE[::-1])
    inner, outer = noise(3, *SHAPE, scale=0.3), noise(3, *SHAPE, scale=0.3, seed=2)
    composed = compose_fields(outer, inner, identity_grid(SHAPE, CPU, torch.float64)).permute(1, 2, 3, 0).numpy()
    first = DisplacementField(inner.permute(1, 2, 3, 0).numpy(), geometry)
    second = DisplacementField(outer.permute(1, 2, 3, 0).numpy(), geometry)
    centres = geometry.points()[1:-1, 1:-1, 1:-1]
    # At the very border the torch kernel repeats the edge where ITK's field ends.
    expected = second.apply_to_points(first.apply_to_points(centres)) - centres
    np.testing.assert_allclose(composed[1:-1, 1:-1, 1:-1], expected, atol=1e-9)


def test_the_gradient_of_an_affine_field_is_its_matrix_up_to_the_border() -> None:
    matrix = noise(3, 3, seed=4)
    field = torch.einsum("ab,dhwb->adhw", matrix, identity_grid(SHAPE, CPU, torch.float64))
    gradient = field_gradient(field)
    assert gradient.shape == (3, 3, *SHAPE)
    np.testing.assert_allclose(gradient, matrix[..., None, None, None].expand(3, 3, *SHAPE), atol=1e-9)


@pytest.mark.parametrize("dim", [-1, -2, -3])
def test_differences_are_numpys(dim: int) -> None:
    volume = noise(3, *SHAPE)
    np.testing.assert_allclose(central_difference(volume, dim), np.gradient(volume.numpy(), axis=dim), atol=1e-12)


@pytest.mark.parametrize("size", [1, 2])
def test_differences_along_short_axes(size: int) -> None:
    volume = noise(1, 4, 5, size)
    difference = central_difference(volume, -1)
    assert difference.shape == volume.shape
    if size == 1:
        assert not difference.any()
    else:
        np.testing.assert_allclose(difference[..., 0], volume[..., 1] - volume[..., 0])


def test_a_resized_field_moves_the_same_points_by_the_same_way() -> None:
    """A linear field on a coarse grid, brought to a finer one that starts elsewhere, is the same motion in mm."""
    matrix = 0.1 * noise(3, 3, seed=5)
    coarse = torch.einsum("ab,dhwb->adhw", matrix, identity_grid((6, 6, 6), CPU, torch.float64))
    scale, offset = 0.5, torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    fine = resize_field(coarse, (8, 7, 6), scale, offset)
    old_index = identity_grid((8, 7, 6), CPU, torch.float64) * scale + offset
    expected = torch.einsum("ab,dhwb->adhw", matrix, old_index) / scale
    np.testing.assert_allclose(fine, expected, atol=1e-9)


def test_single_precision_is_good_to_a_thousandth_of_a_voxel_on_a_large_axis() -> None:
    volume = torch.arange(400, dtype=torch.float32).expand(1, 2, 2, 400).contiguous()
    index = torch.tensor([[399 - 0.123, 0.5, 0.5], [250.777, 0.5, 0.5]]).reshape(2, 1, 1, 3)
    np.testing.assert_allclose(sample(volume, index).ravel(), [398.877, 250.777], atol=1e-3)
