"""The map of what a network's field rests on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.geometry import Geometry
from DeepRegLib.models.explanation import APART, BLOCK, occlusion_map
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.working import WorkingImage


class Brightness(nn.Module):
    """Says that things have moved along x by as many nodes as the fixed image is bright, left of its middle."""

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        bright = functional.avg_pool3d(fixed, 2)
        bright[..., bright.shape[-1] // 2 :] = 0
        return torch.cat([bright, torch.zeros_like(bright), torch.zeros_like(bright)], 1)


def test_a_field_moves_where_what_it_rests_on_is_hidden_and_stays_where_it_rests_on_nothing() -> None:
    size = 2 * BLOCK * APART
    geometry = Geometry((size, size, size), (2.0, 2.0, 2.0))
    image = torch.zeros(size, size, size)
    image[20, 20, 20] = image[20, 20, 40] = 8.0  # two specks, of which the network sees the first
    working = WorkingImage(image, torch.ones_like(image), geometry)
    fractions: list[float] = []
    found = occlusion_map(Brightness(), Level(working, working), on_step=fractions.append)
    assert found.shape == (size // 2,) * 3
    # A speck of 8 is 1 of the eight voxels of a node of 4 mm; hidden, nearly nothing of it is left.
    assert abs(float(found[10, 10, 10]) - 4.0) < 0.1
    assert float(found[10, 10, 20]) == 0
    assert float(found.max()) == float(found[10, 10, 10])
    assert fractions[-1] == 1
