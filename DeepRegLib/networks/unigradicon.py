"""uniGradICON, a network of others for any anatomy, run by its own package where the user has installed that."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn

from DeepRegLib.errors import ModelError
from DeepRegLib.networks.fields import RATIO, to_half

PACKAGE = "unigradicon"
SIZE = (175, 175, 175)


class UniGradICON(nn.Module):
    """Four U-Nets, coarse to fine, each of which sees what the ones before it have left (Tian et al. 2024).

    Input: two images ``(B, 1, D, H, W)`` of the size given, 0 to 1. Output: ``(B, 3, ceil(D / 2), ceil(H / 2),
    ceil(W / 2))``, float32. 70.7 million parameters in the package's version 1; the coarsest U-Net sees everything.

    References
    ----------
    Tian et al., "uniGradICON: a foundation model for medical image registration", MICCAI 2024.

    Parameters
    ----------
    size
        Voxels of the images along i, j, k.

    Raises
    ------
    ModelError
        If the package is not installed, or does not load.
    """

    def __init__(self, size: Sequence[int] = SIZE) -> None:
        super().__init__()
        self.shape = (1, 1, *reversed(size))
        self.net: nn.Module = unigradicon_package().make_network(list(self.shape), include_last_step=True).regis_net

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the field ``(B, 3, d, h, w)`` that takes fixed to moving positions, in voxels of its grid."""
        if tuple(fixed.shape[1:]) != self.shape[1:] or moving.shape != fixed.shape:
            found = " and ".join(str(tuple(image.shape)) for image in (fixed, moving))
            raise ValueError(f"uniGradICON takes images of the shape {self.shape}, not {found}")
        # Its positions are shares of the whole image, for which half precision is too coarse.
        with torch.autocast(fixed.device.type, enabled=False):
            pairs = zip(fixed.float().split(1), moving.float().split(1), strict=True)
            return torch.cat([self._field(*pair) for pair in pairs])

    def _field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        nodes = self.net.get_buffer("identity_map")
        displacement = self.net(moving, fixed)(nodes) - nodes
        # Its axes are those of the array, from 0 to 1 between the outer voxels' centres.
        voxels = displacement * displacement.new_tensor(self.shape[2:]).sub(1)[:, None, None, None]
        return to_half(voxels).flip(1) / RATIO


def unigradicon_package() -> ModuleType:
    """Import the package of uniGradICON's authors.

    Raises
    ------
    ModelError
        If it is not installed, or does not load.
    """
    try:
        return import_module(PACKAGE)
    except ImportError as error:
        raise ModelError(
            f"uniGradICON runs by its own Python package, which cannot be imported here: {error}.",
            f"Install it where the engine runs: pip install {PACKAGE}",
        ) from error
