"""Features that describe the same anatomy alike, whatever the contrast of the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.networks.anatomix import Anatomix
from DeepRegLib.networks.blocks import (
    ConvBlock,
    Encoder,
    UpBlock,
    check_image,
    convolution,
    require,
    require_channels,
    self_similarities,
)
from DeepRegLib.similarity.mind import CHANNELS as SELF_SIMILARITIES


class FeatureNet(nn.Module):
    """Describe each voxel of an image by a unit vector.

    A U-Net with instance normalisation. Trained to describe one voxel alike in images of different contrast and
    different voxels differently, its features serve as a similarity across modalities (Dey et al. 2025, anatomix).

    Shapes: images ``(B, 1, D, H, W)`` -> features ``(B, out, D, H, W)`` of length 1 at each voxel. By default 861,824
    parameters; each voxel sees up to 142 voxels along each axis, and with self-similarities six more.

    Parameters
    ----------
    channels
        Features of each level, fine to coarse, beginning at full resolution.
    out
        Length of the description of a voxel.
    self_similarity
        Begin with what does not depend on the contrast. Without it, a thousand steps of training did not teach to tell
        a place from those near it; with it, a quarter of them taught it better than the self-similarities alone do.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(
        self, channels: Sequence[int] = (16, 32, 48, 64, 64), out: int = 16, self_similarity: bool = True
    ) -> None:
        require_channels(channels, 2)
        require(out >= 1, "out", out, "1 or more")
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        self.self_similarity = self_similarity
        self.first = ConvBlock(SELF_SIMILARITIES + 1 if self_similarity else 1, channels[0], norm=True)
        self.encoder = Encoder(channels[1:], self_similarity=self_similarity)
        self.up = nn.ModuleList(UpBlock(coarse, fine, fine, norm=True) for fine, coarse in pairwise(channels))
        self.last = convolution(channels[0], out)

    def forward(self, image: Tensor) -> Tensor:
        """Return the features ``(B, out, D, H, W)`` of images ``(B, 1, D, H, W)``."""
        check_image(image, self.multiple)
        finest = self_similarities(image) if self.self_similarity else image
        levels: list[Tensor] = [self.first(finest), *self.encoder(image)]
        *skips, features = levels
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            features = block(features, skip)
        return functional.normalize(self.last(features), dim=1)


def describe(network: FeatureNet | Anatomix, image: Tensor) -> Tensor:
    """Return the features ``(B, C, D, H, W)`` of images ``(B, D, H, W)`` of any size.

    They are padded with zeros to what the network takes.
    """
    depth, height, width = image.shape[1:]
    missing = [-n % network.multiple for n in (width, height, depth)]
    padded = functional.pad(image[:, None], (0, missing[0], 0, missing[1], 0, missing[2]))
    features: Tensor = network(padded)
    return features[:, :, :depth, :height, :width]
