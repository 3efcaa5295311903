"""A convolutional autoencoder that takes noise out of one image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from DeepRegLib.networks.blocks import ConvBlock, UpBlock, check_image, last_layer, require_channels


class DenoisingAutoencoder(nn.Module):
    """Encode an image with noise, decode what is noise of it, and take that away.

    An encoder and a decoder of convolutions with the detail of each level passed across (Mao et al. 2016, RED-Net),
    which predict the noise instead of the image (Zhang et al. 2017, DnCNN). There is no normalisation: how strong the
    noise is must not be lost. An untrained one changes almost nothing. By default 204,113 parameters.

    Shapes: images ``(B, 1, D, H, W)`` -> images ``(B, 1, D, H, W)``.

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
        self.last = last_layer(channels[0], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return images ``(B, 1, D, H, W)`` with less noise."""
        check_image(image, self.multiple)
        levels: list[Tensor] = []
        for block in self.encoder:
            levels.append(block(levels[-1] if levels else image))
        *skips, features = levels
        for block, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            features = block(features, skip)
        cleaned: Tensor = image - self.last(features)
        return cleaned
