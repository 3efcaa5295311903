"""anatomix, for the weights that its authors published."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.networks.blocks import check_image, require


class Anatomix(nn.Module):
    """Describe each voxel of an image by a unit vector, as the network of Dey et al. 2025 (ICLR) does.

    A U-Net of two convolutions a level, maxima on the way down, the nearest voxel on the way up, images continued by
    reflection. What batch normalisation does after training, a gain and an offset of each channel, is in the
    convolutions. By default 5,897,872 parameters.

    Shapes: images ``(B, 1, D, H, W)`` -> features ``(B, out, D, H, W)`` of length 1 at each voxel.

    Parameters
    ----------
    channels
        Features of the finest level; twice as many on each coarser one.
    out
        Length of the description of a voxel.
    levels
        How often the resolution is halved.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, channels: int = 16, out: int = 16, levels: int = 4) -> None:
        require(1 <= channels <= 512, "channels", channels, "1 to 512")
        require(1 <= out <= 512, "out", out, "1 to 512")
        require(1 <= levels <= 6, "levels", levels, "1 to 6")
        super().__init__()
        # One step more, so that the coarsest grid has a voxel to reflect at its border.
        self.multiple = 2 ** (levels + 1)
        widths = [channels * 2**level for level in range(levels + 1)]
        self.first = _convolved(1, channels)
        self.down = nn.ModuleList(
            nn.Sequential(_convolved(incoming, width), _convolved(width, width))
            for incoming, width in zip((channels, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Sequential(_convolved(3 * width, width), _convolved(width, width)) for width in reversed(widths[:-1])
        )
        self.last = nn.Conv3d(channels, out, 3, padding=1, padding_mode="reflect")

    def forward(self, image: Tensor) -> Tensor:
        """Return the features ``(B, out, D, H, W)`` of images ``(B, 1, D, H, W)``."""
        check_image(image, self.multiple)
        features = self.down[0](self.first(image))
        skips: list[Tensor] = []
        for block in self.down[1:]:
            skips.append(features)
            features = block(functional.max_pool3d(features, 2))
        for block in self.up:
            finer = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([skips.pop(), finer], 1))
        return functional.normalize(self.last(features), dim=1)


def describe(network: Anatomix, image: Tensor) -> Tensor:
    """Return the features ``(B, C, D, H, W)`` of images ``(B, D, H, W)`` of any size.

    They are padded with zeros to what the network takes.
    """
    depth, height, width = image.shape[1:]
    missing = [-n % network.multiple for n in (width, height, depth)]
    padded = functional.pad(image[:, None], (0, missing[0], 0, missing[1], 0, missing[2]))
    features: Tensor = network(padded)
    return features[:, :, :depth, :height, :width]


def _convolved(incoming: int, outgoing: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(incoming, outgoing, 3, padding=1, padding_mode="reflect"), nn.ReLU())
