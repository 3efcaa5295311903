"""What a network's answer rests on at each place: how far its field moves where the fixed image is hidden (occlusion).

After Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014: a part of the image is
replaced by its own mean, and the network is asked again. Where the field then stays as it is, it came from what lies
around, not from what the image shows there. A gradient would be quicker, but descriptors let none through.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.models.inference import Step, answer_of, network_image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import RATIO, field_grid

# Voxels of the network's grid that a hidden cube is wide: of 96 across, a twelfth of the anatomy.
BLOCK = 8
# Every so many cubes along each axis are hidden at once, far enough from each other to be told apart.
APART = 3


@torch.no_grad()
def occlusion_map(network: nn.Module, pair: Level, *, on_step: Step, poll: Poll = never_cancel) -> Tensor:
    """Return how far a network's field moves at each place if the fixed image is hidden there.

    Parameters
    ----------
    network, pair, on_step, poll
        As in `DeepRegLib.models.inference.predict`. The network is asked 28 times.

    Returns
    -------
    Tensor
        ``(d, h, w)``, float32, in mm on the grid of the field, 0 or more.
    """
    fixed, moving = network_image(pair.fixed), network_image(pair.moving)
    plain = _blurred(fixed)
    usual = answer_of(network, fixed, moving, poll)
    found = torch.zeros(usual.shape[1:], device=usual.device)
    patterns = list(itertools.product(range(APART), repeat=3))
    for number, pattern in enumerate(patterns, start=1):
        hidden = _cubes(fixed, pattern)
        moved = answer_of(network, torch.where(hidden, plain, fixed), moving, poll) - usual
        chosen = hidden[0, 0, ::RATIO, ::RATIO, ::RATIO]
        found = torch.where(chosen, torch.linalg.vector_norm(moved, dim=0), found)
        on_step(number / len(patterns))
    return found * field_grid(pair.fixed.geometry).spacing[0]


def _blurred(image: Tensor) -> Tensor:
    """Return the mean of the cubes as wide as `BLOCK` about each voxel, of what lies inside the image."""
    return functional.avg_pool3d(image, BLOCK + 1, 1, BLOCK // 2, count_include_pad=False)


def _cubes(image: Tensor, pattern: tuple[int, ...]) -> Tensor:
    """Return which voxels of an image ``(1, 1, D, H, W)`` are hidden: in every third cube along k, j and i."""
    along = [
        torch.arange(size, device=image.device) // BLOCK % APART == first
        for size, first in zip(image.shape[2:], pattern, strict=True)
    ]
    return (along[0][:, None, None] & along[1][None, :, None] & along[2])[None, None]
