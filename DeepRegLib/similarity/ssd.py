"""Mean squared difference: for images of one modality with the same intensity scale."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.similarity.weighting import VOLUME_AXES, check_images, reciprocal, volume_sum


class SSD:
    """Minus the weighted mean squared intensity difference, in (-inf, 0], 0 for equal images.

    ``S = -sum w (m - f)^2 / sum w``. Voxels of weight zero have no influence; without any weight value and gradient
    are 0.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    """

    def __init__(self, fixed: Tensor, weight: Tensor) -> None:
        check_images(fixed, weight)
        self._fixed = fixed
        self._share = weight * reciprocal(volume_sum(weight))

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        difference = warped - self._fixed
        return -(self._share * difference * difference).sum(VOLUME_AXES)

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        difference = warped - self._fixed
        weighted = self._share * difference
        return -(weighted * difference).sum(VOLUME_AXES), weighted.mul_(-2)
