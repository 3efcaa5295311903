"""What moved a network's field: the gradient is right, and the map is bright where the network looked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from DeepRegLib.errors import CancelledError
from DeepRegLib.geometry import Geometry
from DeepRegLib.models.explanation import hiding_effects, influence
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.working import WorkingImage
from Testing.models.tiny import Shift

SPACING = 3.0
GRID = Geometry((16, 20, 24), (SPACING,) * 3, (-20.0, 0.0, 5.0))
SPOT = (slice(3, 8), slice(9, 14), slice(5, 10))


class Looking(nn.Module):
    """Moves everything along i by what the moving image shows in one spot, and twice what the fixed one does."""

    multiple = 1

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        seen = (moving[0, 0][SPOT] ** 2).sum() + 2 * fixed[0, 0][SPOT].sum()
        shape = [-(-n // 2) for n in fixed.shape[2:]]
        return torch.stack([seen, 0 * seen, 0 * seen]).reshape(1, 3, 1, 1, 1).expand(1, 3, *shape)


def pair() -> Level:
    values = torch.rand(2, *GRID.shape, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.5
    weight = torch.ones(GRID.shape)
    weight[16:] = 0  # nothing is known there
    return Level(*(WorkingImage(each, weight, GRID) for each in values))


def test_the_effect_of_hiding_a_voxel_is_that_of_hiding_a_little_of_it() -> None:
    level, share = pair(), 1e-3
    plain = Looking()(*((image.intensity * image.weight)[None, None] for image in (level.fixed, level.moving)))
    for side, effect in enumerate(hiding_effects(Looking(), level)):
        images = [(image.intensity * image.weight).double() for image in (level.fixed, level.moving)]
        images[side][5, 11, 7] *= 1 - share
        shown = Looking()(*(image[None, None] for image in images))
        # Voxels of the field's grid are twice as wide.
        change = float((shown - plain).norm(dim=1).mean() * torch.sign(shown - plain)[0, 0].mean()) * 2 * SPACING
        assert float(effect[5, 11, 7]) * share == pytest.approx(change, rel=0.1)


def test_it_is_bright_where_the_network_looked_and_1_on_average() -> None:
    level = pair()
    bright = influence(Looking(), level)
    assert bright.shape == GRID.shape
    assert bright.dtype == torch.float32
    assert float(bright[level.fixed.weight > 0].mean()) == pytest.approx(1, rel=1e-4)
    assert float(bright[SPOT].min()) > 5
    assert float(bright[12:].max()) == 0


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 2, 3)])
def test_a_network_that_looks_at_nothing_is_explained_by_nothing(shift: tuple[int, int, int]) -> None:
    assert float(influence(Shift(shift), pair()).abs().max()) == 0


def test_a_cancel_is_heard() -> None:
    def cancel() -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        influence(Looking(), pair(), poll=cancel)
