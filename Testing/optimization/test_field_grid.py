"""Between a field's grid and the grid of the images it moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegLib.optimization.field_grid import field_grid, to_field_grid, to_image_grid, warp
from DeepRegLib.transforms.sampling import identity_grid, sample
from Testing.synthetic import ORIENTATIONS, geometry_in, random_linear

SIZES = [(12, 14, 10), (11, 13, 9), (1, 2, 3)]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_each_node_lies_in_the_middle_of_eight_voxels(orientation, size):
    images = geometry_in(orientation, size, 1.5)
    nodes = field_grid(images)
    assert nodes.size == tuple((n + 1) // 2 for n in images.size)
    np.testing.assert_allclose(images.to_index(nodes.to_world([0, 0, 0])), [0.5] * 3, atol=1e-9)
    last = np.array(nodes.size) - 1
    np.testing.assert_allclose(images.to_index(nodes.to_world(last)), 2 * last + 0.5, atol=1e-9)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", SIZES[:2])
def test_a_field_moves_the_voxels_as_it_moves_its_nodes(orientation, size):
    images = geometry_in(orientation, size, 1.5)
    nodes = field_grid(images)
    field = random_linear(3, angle=8, shift=4)
    at_nodes = (field.apply_to_points(nodes.points()) - nodes.points()) @ nodes.world_to_index[:3, :3].T
    fine = to_image_grid(torch.from_numpy(np.moveaxis(at_nodes, -1, 0).copy()), images.shape)
    mm = np.moveaxis(fine.numpy(), 0, -1) @ images.index_to_world[:3, :3].T
    wanted = field.apply_to_points(images.points()) - images.points()
    inner = (slice(1, -2),) * 3
    np.testing.assert_allclose(mm[inner], wanted[inner], atol=1e-6)


def test_interpolation_is_that_of_torch():
    field = torch.randn(3, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.interpolate(field[None], scale_factor=2, mode="trilinear")[0] * 2
    torch.testing.assert_close(to_image_grid(field, (10, 12, 14)), wanted)
    torch.testing.assert_close(to_image_grid(field, (9, 11, 13)), wanted[:, :9, :11, :13])


@pytest.mark.parametrize("planes", [1, 2, 3, 20])
@pytest.mark.parametrize("shape", [(10, 12, 14), (9, 11, 13)])
def test_an_image_is_looked_up_where_the_interpolated_field_points(shape, planes, monkeypatch):
    monkeypatch.setattr("DeepRegLib.optimization.field_grid.POSITIONS_AT_ONCE", planes * shape[1] * shape[2])
    random = torch.Generator().manual_seed(0)
    field = torch.randn(3, 5, 6, 7, generator=random, dtype=torch.float64)
    volume = torch.randn(2, *shape, generator=random, dtype=torch.float64)
    index = identity_grid(shape, field.device) + to_image_grid(field, shape).permute(1, 2, 3, 0)
    torch.testing.assert_close(warp(volume, field), sample(volume, index, padding="zeros"))


@pytest.mark.parametrize("shape", [(8, 6, 4), (7, 6, 5), (3, 3, 2)])
def test_the_average_is_that_of_torch(shape):
    values = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.avg_pool3d(values[None], 2, ceil_mode=True, count_include_pad=False)[0]
    torch.testing.assert_close(to_field_grid(values), wanted)
    assert to_field_grid(values).shape[1:] == torch.Size((n + 1) // 2 for n in shape)
