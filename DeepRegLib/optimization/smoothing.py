"""Gaussian smoothing as a few box means, whose cost does not grow with the width."""

from __future__ import annotations

from torch import Tensor

from DeepRegLib.similarity.box import box_sum

# The variance of a box of radius r is ((2 r + 1)^2 - 1) / 12.
BOX_VARIANCE = {1: 2 / 3, 2: 2.0, 3: 4.0}


def smooth(volume: Tensor, sigma: float) -> Tensor:
    """Blur the last three axes about like a Gaussian; zero outside.

    Box means are convolved until their variances add up to sigma squared (central limit); what is left below the
    narrowest box is a mixture of that box and the image.

    Parameters
    ----------
    volume
        Shape ``(..., D, H, W)``.
    sigma
        In voxels, 0 for none.
    """
    left = sigma**2
    smoothed = volume
    while left > 1e-6:
        radius = max((r for r, variance in BOX_VARIANCE.items() if variance <= left), default=1)
        mean = box_sum(smoothed, radius).div_((2 * radius + 1) ** 3)
        share = min(1.0, left / BOX_VARIANCE[radius])
        smoothed = mean if share == 1 else smoothed.lerp(mean, share)
        left -= share * BOX_VARIANCE[radius]
    return smoothed
