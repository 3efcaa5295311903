"""A pyramid of features in which a displacement is found coarse to fine, each level on top of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from DeepRegLib.networks.blocks import (
    ConvBlock,
    Encoder,
    Matches,
    check_pair,
    convolution,
    last_layer,
    require,
    require_channels,
)
from DeepRegLib.networks.fields import at_least_float32, compose, displace, integrate, twice_as_fine, upsample

SQUARINGS = 7


class PyramidNet(nn.Module):
    """Register two images by matching their features coarse to fine.

    One encoder describes both images at 1/2, 1/4, ... of their resolution. At each level, from the coarsest, the moving
    features are warped by the field so far and compared with the fixed ones, neighbours included. Where they match,
    corrected by convolutions, is the displacement that is still missing, which is composed with the field. After the
    cost volume pyramid of Sun et al. 2018 (PWC-Net), on the grid of a field rather than of its images.

    Shapes: two images ``(B, 1, D, H, W)`` -> a field ``(B, 3, D / 2, H / 2, W / 2)``, in nodes of that grid. By default
    1,768,841 parameters; each node sees about 740 voxels along each axis, most of them at the coarsest levels only.

    Parameters
    ----------
    channels
        Features of each level, fine to coarse, beginning at half the resolution. There is no other limit to the motion
        that can be found than what the convolutions of the coarsest level see.
    radius
        How many nodes away neighbours are correlated, 1 or 2.
    integrate
        Take the sum of all levels for a velocity and integrate it, so that the field has an inverse.
    self_similarity
        Let the encoder begin with what does not depend on the contrast. Without it, several times as many steps of
        training are needed before images of different contrasts are matched at all.
    interpolated
        At how many of the finest levels nothing is matched any more: the field of the level below is interpolated,
        which saves most of the time.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 48, 64, 64),
        radius: int = 1,
        integrate: bool = False,
        self_similarity: bool = True,
        interpolated: int = 0,
    ) -> None:
        require_channels(channels, 1)
        require(radius in (1, 2), "radius", radius, "1 or 2 nodes")
        wanted = f"0 to {len(channels) - 1} levels"
        require(0 <= interpolated < len(channels), "interpolated", interpolated, wanted)
        super().__init__()
        self.multiple = 2 ** len(channels)
        self.interpolated = interpolated
        self.integrate = integrate
        self.encoder = Encoder(channels, self_similarity=self_similarity)
        last = len(channels) - 1
        # By the number of the level, so that a network that leaves the finest out can start from one that does not.
        self.levels = nn.ModuleDict(
            {
                str(number): _Level(width, 0 if number == last else width, radius)
                for number, width in enumerate(channels)
                if number >= interpolated
            }
        )
        self.lifts = nn.ModuleDict(
            {
                str(number): convolution(coarse, fine, kernel=1)
                for number, (fine, coarse) in enumerate(pairwise(channels))
                if number >= interpolated
            }
        )

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the field ``(B, 3, D / 2, H / 2, W / 2)`` that takes fixed to moving positions, float32."""
        check_pair(fixed, moving, self.multiple)
        pyramid = [features.chunk(2) for features in self.encoder(torch.cat([fixed, moving]))]
        hidden = pyramid[-1][0][:, :0]
        field = at_least_float32(hidden.new_zeros(len(hidden), 3, *hidden.shape[2:]))
        velocity = field
        for number in reversed(range(self.interpolated, len(pyramid))):
            if str(number) in self.lifts:
                hidden = upsample(self.lifts[str(number)](hidden))
                field, velocity = twice_as_fine(field), twice_as_fine(velocity)
            own, other = pyramid[number]
            residual, hidden = self.levels[str(number)](own, displace(other, field), field, hidden)
            if self.integrate:
                velocity = velocity + residual
                field = integrate(velocity, SQUARINGS)
            else:
                field = compose(field, residual)
        for _ in range(self.interpolated):
            field = twice_as_fine(field)
        return field


class _Level(nn.Module):
    """What is still missing from a field at one level, and the features it was read from.

    Shapes: fixed and warped moving features ``(B, C, d, h, w)``, the field ``(B, 3, d, h, w)``, the features of the
    coarser level ``(B, context, d, h, w)`` -> a displacement ``(B, 3, d, h, w)``, features ``(B, C, d, h, w)``.
    """

    def __init__(self, channels: int, context: int, radius: int) -> None:
        super().__init__()
        self.match = Matches(radius)
        incoming = 2 * channels + (2 * radius + 1) ** 3 + 3 + context
        # No normalisation here: it would take out what all nodes have in common, such as a shift.
        self.estimate = nn.Sequential(ConvBlock(incoming, channels), ConvBlock(channels, channels))
        self.last = last_layer(channels)

    def forward(self, fixed: Tensor, warped: Tensor, field: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the missing displacement and the features of this level."""
        cosines, found = self.match(fixed, warped)
        hidden = self.estimate(torch.cat([fixed, warped, cosines, field.to(fixed.dtype), context], 1))
        return found + at_least_float32(self.last(hidden)), hidden
