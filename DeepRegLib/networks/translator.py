"""A U-Net that shows a scan as another modality would."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from DeepRegLib.networks.blocks import ConvBlock, convolution
from DeepRegLib.networks.encoder_decoder import EncoderDecoder


class Translator(EncoderDecoder):
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
        super().__init__(channels)
        self.last = nn.Sequential(ConvBlock(channels[0], channels[0], kernel=1), convolution(channels[0], 1, kernel=1))

    def forward(self, image: Tensor) -> Tensor:
        """Return images ``(B, 1, D, H, W)`` in the other modality."""
        translated: Tensor = self.last(self.decoded(self.encoded(image)))
        return translated
