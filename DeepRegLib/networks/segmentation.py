"""Networks that say of each voxel of one image which label it has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from DeepRegLib.networks.blocks import (
    SLOPE,
    ConvBlock,
    InstanceNorm,
    UpBlock,
    check_image,
    convolution,
    draw_he,
    require,
    require_channels,
)

# Steps between the voxels that each layer of the small network looks at, in turn.
DILATIONS = (1, 2, 4, 2, 1)


class SegmentationUNet(nn.Module):
    """A 3-D U-Net for segmentation (Çiçek et al. 2016), with instance normalisation as nnU-Net (Isensee et al. 2021).

    Two convolutions a level on the way down, one on the way up, strided convolutions between. By default 845,298
    parameters.

    Shapes: images ``(B, 1, D, H, W)`` -> logits ``(B, out, D, H, W)``.

    Parameters
    ----------
    channels
        Features of each level, fine to coarse, beginning at full resolution.
    out
        Classes, the background (0) among them.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64, 96), out: int = 2) -> None:
        require_channels(channels, 2)
        require(2 <= out <= 1024, "out", out, "2 to 1024")
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        downs = [
            ConvBlock(1, channels[0], norm=True),
            *(ConvBlock(fine, coarse, kernel=2, stride=2, norm=True) for fine, coarse in pairwise(channels)),
        ]
        self.down = nn.ModuleList(
            nn.Sequential(down, ConvBlock(size, size, norm=True)) for down, size in zip(downs, channels, strict=True)
        )
        self.up = nn.ModuleList(UpBlock(coarse, fine, fine, norm=True) for fine, coarse in pairwise(channels))
        self.last = convolution(channels[0], out, kernel=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``(B, out, D, H, W)`` of images ``(B, 1, D, H, W)``."""
        check_image(image, self.multiple)
        levels: list[Tensor] = []
        for block in self.down:
            levels.append(block(levels[-1] if levels else image))
        *skips, features = levels
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            features = block(features, skip)
        logits: Tensor = self.last(features)
        return logits


class SegmentationCNN(nn.Module):
    """A small 3-D network of dilated convolutions at full resolution (as Li et al. 2017, HighRes3DNet, only smaller).

    Each of its layers adds to what came in. Few numbers to learn, for few scans; slower a voxel than the U-Net. By
    default 35,218 parameters.

    Shapes: images ``(B, 1, D, H, W)`` of any size -> logits ``(B, out, D, H, W)``; each voxel sees 23 along each axis.

    Parameters
    ----------
    channels
        Features of each voxel.
    out
        Classes, the background (0) among them.
    """

    def __init__(self, channels: int = 16, out: int = 2) -> None:
        require(1 <= channels <= 512, "channels", channels, "1 to 512")
        require(2 <= out <= 1024, "out", out, "2 to 1024")
        super().__init__()
        self.multiple = 1
        self.first = ConvBlock(1, channels, norm=True)
        self.layers = nn.ModuleList(_dilated(channels, dilation) for dilation in DILATIONS)
        self.last = convolution(channels, out, kernel=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``(B, out, D, H, W)`` of images ``(B, 1, D, H, W)``."""
        check_image(image, self.multiple)
        features = self.first(image)
        for layer in self.layers:
            features = features + layer(features)
        logits: Tensor = self.last(features)
        return logits


def _dilated(channels: int, dilation: int) -> nn.Sequential:
    layer = nn.Conv3d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
    draw_he(layer.weight)
    return nn.Sequential(layer, InstanceNorm(channels), nn.LeakyReLU(SLOPE))
