"""Small synthetic pairs for networks: smooth texture in an ellipsoid, and a smooth field that moves it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.networks.fields import warp

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Pair:
    """Images ``(B, 1, D, H, W)`` in [0, 1]; ``fixed(p) = moving(p + u(p))`` with the field u on the half grid."""

    fixed: Tensor
    moving: Tensor
    field: Tensor


def pair(shape: Shape = (32, 32, 32), *, motion: float = 2.0, seed: int = 0, batch: int = 1) -> Pair:
    """Return images and the field between them, at most `motion` nodes of its grid along an axis."""
    generator = torch.Generator().manual_seed(seed)
    moving = texture(shape, batch, generator)
    half = (shape[0] // 2, shape[1] // 2, shape[2] // 2)
    field = smooth_noise(half, 3, batch, 3, generator)
    field = field * (motion / field.abs().amax((1, 2, 3, 4), keepdim=True))
    return Pair(warp(moving, field), moving, field)


def texture(shape: Shape, batch: int, generator: torch.Generator) -> Tensor:
    """Return ``(batch, 1, *shape)`` in [0, 1], 0 outside an ellipsoid."""
    fine = sum(smooth_noise(shape, 1, batch, nodes, generator) for nodes in (5, 9, 14))
    axes = [torch.linspace(-1, 1, n) ** 2 for n in shape]
    k, j, i = torch.meshgrid(*axes, indexing="ij")
    inside = torch.sigmoid((0.8 - (k + j + i).sqrt()) * 20)
    return torch.sigmoid(1.5 * fine) * inside


def smooth_noise(shape: Shape, channels: int, batch: int, nodes: int, generator: torch.Generator) -> Tensor:
    """Return noise of `nodes` random values an axis between which it is interpolated, ``(batch, channels, *shape)``."""
    values = torch.randn(batch, channels, nodes, nodes, nodes, generator=generator)
    return functional.interpolate(values, size=shape, mode="trilinear", align_corners=True)


def mismatch(network: nn.Module, images: Pair) -> Tensor:
    """Mean squared difference of both images under the field a network predicts."""
    return functional.mse_loss(warp(images.moving, network(images.fixed, images.moving)), images.fixed)


def train(network: nn.Module, images: Pair, steps: int, rate: float = 3e-3) -> float:
    """Fit a network to one pair and return which share of the mismatch without a field is left."""
    before = functional.mse_loss(images.moving, images.fixed)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    for _ in range(steps):
        optimiser.zero_grad()
        mismatch(network, images).backward()
        optimiser.step()
    with torch.no_grad():
        return float(mismatch(network, images) / before)
