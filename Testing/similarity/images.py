"""Small images that every similarity test uses."""

from __future__ import annotations

import torch
from torch import Tensor


def smooth_image(shape: tuple[int, ...], seed: int) -> Tensor:
    """Float64 blobs ``shape`` = (B, D, H, W), each volume scaled to [0, 1]."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    image = torch.nn.functional.avg_pool3d(noise[:, None], 3, stride=1, padding=1)[:, 0]
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    return (image - low) / (high - low)


def random_weight(shape: tuple[int, ...], seed: int) -> Tensor:
    """Float64 weights in [0, 1], a fifth of them and one whole corner 0."""
    weight = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight[weight < 0.2] = 0
    weight[:, :4, :4, :4] = 0
    return weight
