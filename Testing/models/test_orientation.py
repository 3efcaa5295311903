"""A network that knows anatomy one way up sees it so, and its field comes back to the grid it was asked on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from DeepRegLib.geometry import Geometry
from DeepRegLib.models import ModelInput
from DeepRegLib.models.inference import network_grid
from DeepRegLib.models.orientation import TOWARDS, Turned, turn_to
from Testing.synthetic import ORIENTATIONS, geometry_in

EVERY = [
    "".join(letters) for axes in itertools.permutations(["LR", "PA", "SI"]) for letters in itertools.product(*axes)
]


class Known(nn.Module):
    """Answers a field that differs from place to place, in its own axes, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        self.seen = [fixed, moving]
        return own_field([n // 2 for n in fixed.shape[2:]])


def own_field(shape: list[int]) -> Tensor:
    return torch.arange(3 * np.prod(shape), dtype=torch.float32).reshape(1, 3, *shape).sin()


@pytest.mark.parametrize("orientation", ["LPS", "oblique", "anisotropic"])
@pytest.mark.parametrize("wanted", EVERY)
def test_the_images_rise_where_the_letters_point_to(wanted, orientation):
    grid = geometry_in(orientation, (8, 6, 4), 2.0)
    turn = turn_to(wanted, grid)
    for axis, letter in enumerate(wanted):
        heights = torch.tensor(grid.points() @ TOWARDS[letter])[None, None]
        seen = turn.to_network(heights)[0, 0]
        slopes = [float(torch.diff(seen, dim=dim).mean()) for dim in (-1, -2, -3)]
        assert slopes[axis] > 0
        assert slopes[axis] == max(slopes, key=abs)


@pytest.mark.parametrize("wanted", EVERY)
def test_the_field_lies_where_the_network_saw_the_image_and_points_as_it_meant(wanted):
    grid = Geometry((8, 6, 4), (1.0, 1.0, 1.0))
    turn, network = turn_to(wanted, grid), Known()
    images = torch.rand(2, 1, *grid.shape, generator=torch.Generator().manual_seed(0)).split(1)
    field = Turned(network, turn)(*images)
    assert field.shape == (1, 3, 2, 3, 4)
    for seen, image in zip(network.seen, images, strict=True):
        assert torch.equal(seen, turn.to_network(image))
    answered = own_field([n // 2 for n in network.seen[0].shape[2:]])
    # Where a node of the network's lies on the grid: a volume of the grid's own node numbers, turned as images are.
    numbers = turn.to_network(torch.arange(24.0).reshape(1, 1, 2, 3, 4))[0, 0].long()
    directions = torch.tensor([TOWARDS[letter] for letter in wanted], dtype=torch.float32)
    world = torch.einsum("ndhw,na->adhw", answered[0], directions)
    torch.testing.assert_close(field[0].flatten(1)[:, numbers.flatten()], world.flatten(1))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_grid_of_a_network_of_one_size_lies_as_it_wants(orientation):
    box = geometry_in(orientation, (50, 60, 70), 1.0)
    grid = network_grid(box, ModelInput(1.5, (64, 96, 80), orientation="SPL"), 8)
    assert grid.direction == box.direction
    image = torch.zeros(1, 1, *grid.shape)
    assert turn_to("SPL", grid).to_network(image).shape[2:] == (80, 96, 64)
