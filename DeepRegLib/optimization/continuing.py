"""Intensities continued into what is unknown, so that nothing there looks like an edge."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def continued(intensity: Tensor, known: Tensor) -> Tensor:
    """Return an image whose unknown voxels have the mean of the known ones about them.

    Each is looked up on the finest of ever coarser grids on which something is known where it lies (pull-push: Gortler
    et al., The Lumigraph, SIGGRAPH 1996). Black there would be an edge, across which the field is drawn wherever the
    fixed image gets darker: it left the vertex of a stripped brain.

    Parameters
    ----------
    intensity
        ``(D, H, W)``; its unknown voxels are not looked at.
    known
        The same shape, bool.

    Returns
    -------
    Tensor
        ``(D, H, W)``: the same where it is known; all zero where nothing is.
    """
    share = known.to(intensity.dtype)
    return _filled(torch.where(known, intensity, 0.0)[None, None], share[None, None])[0, 0]


def _filled(product: Tensor, share: Tensor) -> Tensor:
    """Return ``product / share``, from a grid half as fine where the share is 0."""
    own = product / share.clamp_min(torch.finfo(share.dtype).tiny)
    shape = product.shape[2:]
    if max(shape) == 1:
        return torch.where(share > 0, own, 0.0)
    odd = [n % 2 for n in reversed(shape)]
    padding = [number for axis in odd for number in (0, axis)]
    coarse = _filled(*(functional.avg_pool3d(functional.pad(each, padding), 2) for each in (product, share)))
    twice = [2 * n for n in coarse.shape[2:]]
    finer = functional.interpolate(coarse, size=twice, mode="trilinear", align_corners=False)
    depth, height, width = shape
    return torch.where(share > 0, own, finer[:, :, :depth, :height, :width])
