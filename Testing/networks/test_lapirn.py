"""LapIRN: its shapes, what its numbers mean, and that it learns a pair."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.networks import LapIRN, build_network
from DeepRegLib.optimization.regularity import corner_determinants
from Testing.networks.pairs import pair, train

VELOCITY = pytest.mark.parametrize("velocity", [False, True], ids=["displacement", "velocity"])


def network(velocity: bool = False, channels: int = 4) -> LapIRN:
    torch.manual_seed(0)
    built = build_network("lapirn", {"channels": channels, "integrate": velocity})
    assert isinstance(built, LapIRN)
    return built.eval()


def louder(network: LapIRN, gain: float) -> LapIRN:
    """Make untrained weights answer more than almost nothing."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(gain)
    return network


def images(*shape: int) -> list[Tensor]:
    """Return smooth images, so that a thousandth of a voxel makes no difference."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 1, 5, 4, 6, generator=generator)
    return list(functional.interpolate(coarse, size=shape, mode="trilinear").split(1))


def reference(network: LapIRN, fixed: Tensor, moving: Tensor) -> Tensor:
    """Compute the field on the images' grid as the paper has it: positions from -1 to 1 along each axis."""

    def identity(like: Tensor) -> Tensor:
        matrix = torch.eye(3, 4).expand(1, -1, -1)
        return functional.affine_grid(matrix, [1, 1, *like.shape[2:]], align_corners=True)

    def at(volume: Tensor, shift: Tensor) -> Tensor:
        places = identity(shift) + shift.permute(0, 2, 3, 4, 1)
        return functional.grid_sample(volume, places, padding_mode="border", align_corners=True)

    def flow(velocity: Tensor) -> Tensor:
        shift = velocity / 2**7
        for _ in range(7):
            shift = shift + at(shift, shift)
        return shift

    def halved(image: Tensor) -> Tensor:
        return functional.avg_pool3d(image, 3, 2, 1, count_include_pad=False)

    def finer(field: Tensor) -> Tensor:
        return functional.interpolate(field, scale_factor=2, mode="trilinear")

    displaced = flow if network.integrate else lambda velocity: velocity
    both = [torch.cat([moving, fixed], 1)]
    both += [halved(both[0])]
    both += [halved(both[1])]
    found, hidden = network.levels[2](both[2], None)
    for number in (1, 0):
        found, shift = finer(found), finer(displaced(found))
        warped = at(both[number][:, :1], shift)
        added, hidden = network.levels[number](torch.cat([warped, both[number][:, 1:], found], 1), hidden)
        found = found + added
    sides = torch.tensor([(n - 1) / 2 for n in reversed(fixed.shape[2:])])
    return displaced(found) * sides[:, None, None, None]


@VELOCITY
def test_it_computes_what_the_paper_says_in_nodes_of_the_half_grid(velocity):
    built = louder(network(velocity), 1.5)
    fixed, moving = images(24, 32, 40)
    with torch.no_grad():
        field = built(fixed, moving)
        expected = functional.avg_pool3d(reference(built, fixed, moving), 2) / 2
    assert field.shape == (1, 3, 12, 16, 20)
    assert expected.abs().max() > 0.2
    torch.testing.assert_close(field, expected, atol=2e-3, rtol=0)


def test_the_published_size_has_as_many_numbers_as_its_file():
    assert sum(weight.numel() for weight in LapIRN().parameters()) == 923_748


def test_following_a_velocity_keeps_clear_of_folds():
    with torch.no_grad():
        fields = [louder(network(velocity), 2.0)(*images(32, 32, 32))[0] for velocity in (False, True)]
    displacement, flow = (float(corner_determinants(field).min()) for field in fields)
    assert flow > 0.3 > 0.1 > displacement


@VELOCITY
def test_it_learns_a_pair(velocity):
    assert train(network(velocity).train(), pair((24, 24, 24)), steps=25) < 0.5


def test_what_it_cannot_take_is_refused():
    with pytest.raises(InputError, match="must be a multiple of 8"):
        network()(*images(16, 16, 20))
    with pytest.raises(ModelError, match="channels is 0"):
        LapIRN(0)
