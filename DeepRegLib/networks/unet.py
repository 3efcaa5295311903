"""A U-Net on both images at once: the baseline that other architectures are measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.networks.blocks import ConvBlock, UpBlock, check_pair, last_layer
from DeepRegLib.networks.fields import at_least_float32, integrate

DOWN, UP, AFTER = (16, 32, 32, 32), (32, 32, 32, 32), (32, 16, 16)
SQUARINGS = 7


class UNet(nn.Module):
    """Predict a field from both images as two channels (VoxelMorph, Balakrishnan et al. 2019).

    Convolutions without normalisation, 16 features at full resolution and 32 below, down to 1/16 and up to 1/2.

    Shapes: two images ``(B, 1, D, H, W)`` -> a field ``(B, 3, D / 2, H / 2, W / 2)``, in nodes of that grid. 313,507
    parameters; each node sees up to 158 voxels along each axis.

    Parameters
    ----------
    integrate
        Take the prediction for a velocity and integrate it (Dalca et al. 2019), so that the field has an inverse.

    Attributes
    ----------
    multiple
        What each side of the images must be a multiple of, in voxels.
    """

    def __init__(self, integrate: bool = False) -> None:
        super().__init__()
        self.multiple = 2 ** len(DOWN)
        self.integrate = integrate
        self.down = nn.ModuleList(ConvBlock(before, out) for before, out in zip((2, *DOWN), DOWN, strict=False))
        self.bottom = ConvBlock(DOWN[-1], UP[0])
        # What was seen at full resolution is not needed at half of it.
        steps = zip(UP, reversed(DOWN[1:]), UP[1:], strict=False)
        self.up = nn.ModuleList(UpBlock(coarse, skip, out) for coarse, skip, out in steps)
        after = zip((UP[-1], *AFTER), AFTER, strict=False)
        self.after = nn.Sequential(*(ConvBlock(before, out) for before, out in after))
        self.last = last_layer(AFTER[-1])

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the field ``(B, 3, D / 2, H / 2, W / 2)`` that takes fixed to moving positions, float32."""
        check_pair(fixed, moving, self.multiple)
        features = torch.cat([fixed, moving], 1)
        skips = []
        for block in self.down:
            features = block(features)
            skips.append(features)
            features = functional.max_pool3d(features, 2)
        features = self.bottom(features)
        for block in self.up:
            features = block(features, skips.pop())
        field = at_least_float32(self.last(self.after(features)))
        return integrate(field, SQUARINGS) if self.integrate else field
