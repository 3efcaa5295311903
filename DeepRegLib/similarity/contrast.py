"""Whether two aligned images have the same contrast, judged window by window."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.similarity.box import box_sum

# Variances below this share of the mean variance are mostly noise.
NOISE_FLOOR = 0.1
FILLED_SHARE = 0.6


@torch.no_grad()
def contrast_agreement(fixed: Tensor, moving: Tensor, weight: Tensor, radius: int = 3) -> Tensor:
    """Share of the local correlation that is positive, from -1 (inverted contrast) over 0 (unrelated) to 1 (same).

    With c the correlation coefficient in the window about a voxel, the value is sum(c |c|) / sum(c^2). Unlike a global
    correlation, it is not carried by the outline of the body, which is bright on dark in every modality.

    Parameters
    ----------
    fixed, moving
        Aligned images on one grid, ``(D, H, W)``.
    weight
        Same shape, at least 0.
    radius
        Half width of the window in voxels.
    """
    mass = box_sum(weight, radius)
    filled = (mass > FILLED_SHARE * (2 * radius + 1) ** 3) & (weight > 0.5)
    mass = mass.clamp_min(1e-3)

    def mean(image: Tensor) -> Tensor:
        return box_sum(weight * image, radius) / mass

    mean_f, mean_m = mean(fixed), mean(moving)
    variance_f = (mean(fixed * fixed) - mean_f**2).clamp_min(0)
    variance_m = (mean(moving * moving) - mean_m**2).clamp_min(0)
    covariance = mean(fixed * moving) - mean_f * mean_m
    share = filled.to(fixed.dtype)
    count = share.sum().clamp_min(1)
    floor_f = NOISE_FLOOR * (variance_f * share).sum() / count
    floor_m = NOISE_FLOOR * (variance_m * share).sum() / count
    correlation = share * covariance * torch.rsqrt((variance_f + floor_f) * (variance_m + floor_m) + 1e-12)
    return (correlation * correlation.abs()).sum() / correlation.square().sum().clamp_min(1e-12)
