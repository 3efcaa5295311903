"""Global normalised cross-correlation: for images whose intensities are linearly related."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.similarity.weighting import VOLUME_AXES, centre, check_images, reciprocal, volume_sum


class NCC:
    """Weighted correlation coefficient, in [-1, 1], 1 for images equal up to a positive gain and an offset.

    ``S = cov(f, m) / sqrt(var(f) var(m))`` with moments weighted by ``w / sum w``. Voxels of weight zero have no
    influence; a constant image, or no weight at all, gives value and gradient 0.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    """

    def __init__(self, fixed: Tensor, weight: Tensor) -> None:
        check_images(fixed, weight)
        self._share = weight * reciprocal(volume_sum(weight))
        centred, variance, is_constant = centre(fixed, self._share)
        self._direction = self._share * centred * variance.rsqrt().masked_fill(is_constant, 0)

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        return self._correlate(warped)[0].flatten()

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        value, centred, inverse_deviation = self._correlate(warped)
        own = centred.mul_(self._share).mul_(value * inverse_deviation**2)
        return value.flatten(), (self._direction * inverse_deviation).sub_(own)

    def _correlate(self, warped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Value ``(B, 1, 1, 1)``, centred image, and one over its standard deviation ``(B, 1, 1, 1)``."""
        centred, variance, is_constant = centre(warped, self._share)
        inverse_deviation = variance.rsqrt().masked_fill(is_constant, 0)
        value = (self._direction * centred).sum(VOLUME_AXES, keepdim=True) * inverse_deviation
        return value, centred, inverse_deviation
