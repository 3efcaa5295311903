"""A convolutional autoencoder that takes noise out of one image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from DeepRegLib.networks.blocks import last_layer
from DeepRegLib.networks.encoder_decoder import EncoderDecoder


class DenoisingAutoencoder(EncoderDecoder):
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
        super().__init__(channels)
        self.last = last_layer(channels[0], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return images ``(B, 1, D, H, W)`` with less noise."""
        cleaned: Tensor = image - self.last(self.decoded(self.encoded(image)))
        return cleaned
