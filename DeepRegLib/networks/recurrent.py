"""One block that corrects a displacement, applied as often as wanted: an optimiser that was learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from DeepRegLib.networks.blocks import ConvBlock, Encoder, Matches, check_pair, convolution, last_layer, require
from DeepRegLib.networks.fields import at_least_float32, compose, displace, twice_as_fine, upsample

WIDTHS = (16, 32, 48, 64)
RADIUS = 1


class RecurrentNet(nn.Module):
    """Register two images by correcting the field again and again with the same weights.

    One encoder describes both images. At 1/16, 1/8, 1/4 and 1/2 of their resolution a gated recurrent unit is given the
    fixed features, the moving ones warped by the field so far, their correlation and the field, and corrects the field
    by at most a node a step, as far as the correlation sees. The weights are the same at each step and level, so the
    number of steps may differ between training and use. After Teed and Deng 2020 (RAFT), with levels in place of all
    pairs of nodes.

    Shapes: two images ``(B, 1, D, H, W)`` -> a field ``(B, 3, D / 2, H / 2, W / 2)``, in nodes of that grid. By default
    331,301 parameters; each node sees about 1460 voxels along each axis, most of them at 1/16 only.

    Parameters
    ----------
    channels
        Features of the recurrent unit, and those it is given of each image.
    iterations
        Steps at each level.

    Attributes
    ----------
    iterations
        May be changed at any time.
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, channels: int = 16, iterations: int = 2) -> None:
        require(channels >= 1, "channels", channels, "1 or more")
        require(iterations >= 1, "iterations", iterations, "1 or more")
        super().__init__()
        self.iterations = iterations
        self.multiple = 2 ** len(WIDTHS)
        self.encoder = Encoder(WIDTHS)
        self.describe = nn.ModuleList(convolution(width, channels, kernel=1) for width in WIDTHS)
        self.begin = convolution(channels, channels, kernel=1)
        self.update = _Update(channels)

    def forward(self, fixed: Tensor, moving: Tensor, iterations: int | None = None) -> Tensor:
        """Return the field ``(B, 3, D / 2, H / 2, W / 2)`` that takes fixed to moving positions, float32.

        `iterations` stands in for the attribute this once.
        """
        check_pair(fixed, moving, self.multiple)
        steps = self.iterations if iterations is None else iterations
        features = self.encoder(torch.cat([fixed, moving]))
        pyramid = [describe(level).chunk(2) for describe, level in zip(self.describe, features, strict=True)]
        coarsest = pyramid[-1][0]
        hidden = torch.tanh(self.begin(coarsest))
        field = at_least_float32(coarsest.new_zeros(len(coarsest), 3, *coarsest.shape[2:]))
        for number, (own, other) in enumerate(reversed(pyramid)):
            if number > 0:
                hidden, field = upsample(hidden), twice_as_fine(field)
            for _ in range(steps):
                step, hidden = self.update(own, displace(other, field), field, hidden)
                field = compose(field, step)
        return field


class _Update(nn.Module):
    """One step: fixed and warped moving features and the hidden state, each ``(B, C, d, h, w)``, and the field."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.match = Matches(RADIUS)
        seen = 2 * channels + (2 * RADIUS + 1) ** 3 + 3
        self.look = nn.Sequential(ConvBlock(seen, channels, kernel=1), ConvBlock(channels, channels))
        self.gates = nn.Conv3d(3 * channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv3d(3 * channels, channels, 3, padding=1)
        self.answer = ConvBlock(channels, channels)
        self.last = last_layer(channels)

    def forward(self, fixed: Tensor, warped: Tensor, field: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the displacement of this step ``(B, 3, d, h, w)`` and the new hidden state."""
        cosines, found = self.match(fixed, warped)
        seen = torch.cat([fixed, self.look(torch.cat([fixed, warped, cosines, field.to(fixed.dtype)], 1))], 1)
        renew, keep = torch.sigmoid(self.gates(torch.cat([hidden, seen], 1))).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([keep * hidden, seen], 1)))
        hidden = hidden + renew * (candidate - hidden)
        missing = found + at_least_float32(self.last(self.answer(hidden)))
        return RADIUS * torch.tanh(missing / RADIUS), hidden
