"""What networks that make an image of an image share: features of each level, and the way back up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from DeepRegLib.networks.blocks import ConvBlock, UpBlock, check_image, require_channels


class EncoderDecoder(nn.Module):
    """An encoder and a decoder of convolutions with the detail of each level passed across, without normalisation.

    Shapes: images ``(B, 1, D, H, W)`` -> features ``(B, channels[0], D, H, W)``.

    Parameters
    ----------
    channels
        Features of each level, fine to coarse, beginning at full resolution.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        require_channels(channels, 2)
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        downs = [ConvBlock(1, channels[0]), *(ConvBlock(a, b, kernel=2, stride=2) for a, b in pairwise(channels))]
        self.encoder = nn.ModuleList(
            nn.Sequential(down, ConvBlock(size, size)) for down, size in zip(downs, channels, strict=True)
        )
        self.decoder = nn.ModuleList(UpBlock(coarse, fine, fine) for fine, coarse in pairwise(channels))

    def encoded(self, image: Tensor) -> list[Tensor]:
        """Return the features of each level of images ``(B, 1, D, H, W)``, fine to coarse."""
        check_image(image, self.multiple)
        levels: list[Tensor] = []
        for block in self.encoder:
            levels.append(block(levels[-1] if levels else image))
        return levels

    def decoded(self, levels: Sequence[Tensor]) -> Tensor:
        """Return features at full resolution, ``(B, channels[0], D, H, W)``, from those of each level."""
        *skips, features = levels
        for block, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            features = block(features, skip)
        return features
