"""LapIRN, a network of others for brains: a Laplacian pyramid of three networks, coarse to fine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.networks.blocks import check_pair, require
from DeepRegLib.networks.fields import RATIO, at_least_float32, displace, integrate, to_half, upsample

SLOPE = 0.2
BLOCKS = 5
SQUARINGS = 7
# The most that a level adds to the field, where 1 is half the length of an axis.
REACH = 0.4
LEVELS = 3


class LapIRN(nn.Module):
    """Three networks at a quarter, half and all of the resolution, each of which adds to what the coarser found.

    After Mok and Chung 2020. Each sees the moving image warped by the field so far, the fixed image and that field, and
    hands on what it made of them. Written so that weights which its authors trained give the same field.

    Shapes: two images ``(B, 1, D, H, W)`` -> a field ``(B, 3, D / 2, H / 2, W / 2)``, in nodes of that grid. By default
    923,748 parameters; each voxel depends on about 190 along each axis, most of them at the coarsest level only.

    References
    ----------
    Mok and Chung, "Large deformation diffeomorphic image registration with Laplacian pyramid networks", MICCAI 2020.

    Parameters
    ----------
    channels
        Features of each network.
    integrate
        What is found is a velocity, and is followed for unit time.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, channels: int = 28, integrate: bool = False) -> None:
        require(channels >= 1, "channels", channels, "1 or more")
        super().__init__()
        self.multiple = 2**LEVELS
        self.integrate = integrate
        self.levels = nn.ModuleList(_Level(5 if number < LEVELS - 1 else 2, channels) for number in range(LEVELS))

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the field ``(B, 3, D / 2, H / 2, W / 2)`` that takes fixed to moving positions, float32."""
        check_pair(fixed, moving, self.multiple)
        pyramid = [torch.cat([moving, fixed], 1)]
        while len(pyramid) < LEVELS:
            pyramid.append(functional.avg_pool3d(pyramid[-1], 3, stride=2, padding=1, count_include_pad=False))
        found, hidden = self.levels[-1](pyramid.pop(), None)
        for level in reversed(self.levels[:-1]):
            images, found = pyramid.pop(), upsample(found)
            warped = displace(images[:, :1], self._displacement(found))
            missing, hidden = level(torch.cat([warped, images[:, 1:], found.to(images.dtype)], 1), hidden)
            found = found + missing
        return to_half(self._displacement(found)) / RATIO

    def _displacement(self, found: Tensor) -> Tensor:
        """Return the displacement in voxels of what is found in half lengths of the axes."""
        sides = found.new_tensor([(n - 1) / 2 for n in reversed(found.shape[2:])])
        voxels = found * sides[:, None, None, None]
        return integrate(voxels, SQUARINGS) if self.integrate else voxels


class _Level(nn.Module):
    """One of the networks: half as fine inside, with residual blocks there.

    Shapes: ``(B, channels, D, H, W)``, the features of the coarser level ``(B, width, D / 2, H / 2, W / 2)`` or None
    -> a field ``(B, 3, D, H, W)`` within `REACH`, features ``(B, width, D, H, W)``.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(_convolution(channels, width), nn.LeakyReLU(SLOPE), _convolution(width, width))
        self.down = _convolution(width, width, stride=2)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(BLOCKS))
        self.up = nn.ConvTranspose3d(width, width, 2, stride=2, bias=False)
        self.predict = nn.Sequential(
            _convolution(2 * width, width), nn.LeakyReLU(SLOPE), _convolution(width, 3), nn.Softsign()
        )

    def forward(self, images: Tensor, coarser: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what is missing from the field, and the features for the finer level."""
        features = self.encode(images)
        hidden = self.down(features)
        if coarser is not None:
            hidden = hidden + coarser
        for block in self.blocks:
            hidden = functional.leaky_relu(block(hidden), SLOPE)
        hidden = self.up(hidden)
        return at_least_float32(self.predict(torch.cat([hidden, features], 1))) * REACH, hidden


class _Block(nn.Module):
    """Two convolutions, each behind a LeakyReLU, beside the way past them; shapes stay as they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features with what the block adds to them."""
        inner = self.first(functional.leaky_relu(features, SLOPE))
        return features + self.second(functional.leaky_relu(inner, SLOPE))


def _convolution(channels: int, out: int, *, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels, out, 3, stride=stride, padding=1, bias=False)
