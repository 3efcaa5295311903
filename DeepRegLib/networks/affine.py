"""An affine map from two images, for the linear stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from DeepRegLib.networks.blocks import ConvBlock, Encoder, check_pair, last_layer, require, require_channels
from DeepRegLib.networks.fields import at_least_float32, centred_positions

# How strongly the fit is drawn to the identity; distances are in half the longest side of the images, squared.
_RIDGE = 1e-3


class AffineNet(nn.Module):
    """Find the affine map between two images from points that both show.

    One encoder gives maps of where points lie, at 1/16 of the resolution; the mean position under the softmax of a map
    is a point, and the affine map is the least-squares fit to all of them, drawn a little to the identity. So a network
    that finds the same points in both images knows any affine map, which one that reads numbers off its features has
    to learn for each. After Wang et al. 2023 (KeyMorph).

    Shapes: two images ``(B, 1, D, H, W)`` -> ``(B, 3, 4)``, which takes positions (i, j, k) in the fixed to those in
    the moving image, both about the centre of the grid and in half its longest side. By default 501,472 parameters;
    each point depends on the whole image.

    Parameters
    ----------
    channels
        Features of each level of the encoder, fine to coarse, beginning at half the resolution.
    points
        Number of points, 4 or more.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, channels: Sequence[int] = (8, 16, 32, 64), points: int = 64) -> None:
        require_channels(channels, 1)
        require(points >= 4, "points", points, "4 or more")
        super().__init__()
        self.multiple = 2 ** len(channels)
        self.encoder = Encoder(channels)
        width = channels[-1]
        self.find = nn.Sequential(
            ConvBlock(width, width, norm=True), ConvBlock(width, width, norm=True), last_layer(width, points)
        )

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the affine map of fixed to moving positions ``(B, 3, 4)``, float32."""
        check_pair(fixed, moving, self.multiple)
        maps = self.find(self.encoder(torch.cat([fixed, moving]))[-1])
        depth, height, width = fixed.shape[2:]
        places = centred_positions((depth, height, width), self.multiple, fixed.device)
        with torch.autocast(fixed.device.type, enabled=False):
            weights = at_least_float32(maps).flatten(2).softmax(-1)
            return _fit(*(weights @ places.reshape(-1, 3).to(weights.dtype)).chunk(2))


def _fit(fixed: Tensor, moving: Tensor) -> Tensor:
    """Fit an affine map ``(B, 3, 4)`` to pairs of points ``(B, N, 3)`` by least squares, drawn to the identity."""
    fixed_mean, moving_mean = fixed.mean(1, keepdim=True), moving.mean(1, keepdim=True)
    source, target = fixed - fixed_mean, moving - moving_mean
    ridge = _RIDGE * torch.eye(3, dtype=fixed.dtype, device=fixed.device)
    covariance = source.transpose(1, 2) @ source / fixed.shape[1] + ridge
    mixed = target.transpose(1, 2) @ source / fixed.shape[1] + ridge
    linear = mixed @ _inverse(covariance)
    shift = moving_mean.transpose(1, 2) - linear @ fixed_mean.transpose(1, 2)
    return torch.cat([linear, shift], 2)


def _inverse(matrix: Tensor) -> Tensor:
    """Invert ``(B, 3, 3)`` by cofactors, which every device can."""
    a, b, c = matrix.unbind(1)
    cofactors = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 2)
    determinant = (a * cofactors[:, :, 0]).sum(1)
    return cofactors / determinant[:, None, None]
