"""A U-Net that shows a scan as another modality would."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from DeepRegLib.networks.blocks import ConvBlock, UpBlock, check_image, convolution, require_channels


class Translator(nn.Module):
    """Encode a scan of one modality, decode what it would look like in another (as Isola et al. 2017, in 3-D).

    There is no normalisation: how bright a tissue is must not depend on what else a window shows. By default 203,969
    parameters.

    Shapes: images ``(B, 1, D, H, W)`` -> images ``(B, 1, D, H, W)``, about 0 to 1.

    Parameters
    ----------
    channels
        Features of each level, fine to coarse, beginning at full resolution.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 48)) -> None:
        require_channels(channels, 2)
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        downs = [ConvBlock(1, channels[0]), *(ConvBlock(a, b, kernel=2, stride=2) for a, b in pairwise(channels))]
        self.encoder = nn.ModuleList(
            nn.Sequential(down, ConvBlock(size, size)) for down, size in zip(downs, channels, strict=True)
        )
        self.decoder = nn.ModuleList(UpBlock(coarse, fine, fine) for fine, coarse in pairwise(channels))
        self.last = nn.Sequential(ConvBlock(channels[0], channels[0], kernel=1), convolution(channels[0], 1, kernel=1))

    def forward(self, image: Tensor) -> Tensor:
        """Return images ``(B, 1, D, H, W)`` in the other modality."""
        check_image(image, self.multiple)
        *skips, features = self.encoded(image)
        for block, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            features = block(features, skip)
        translated: Tensor = self.last(features)
        return translated

    def encoded(self, image: Tensor) -> list[Tensor]:
        """Return the features of each level of images ``(B, 1, D, H, W)``, fine to coarse."""
        levels: list[Tensor] = []
        for block in self.encoder:
            levels.append(block(levels[-1] if levels else image))
        return levels
