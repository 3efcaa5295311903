"""What each of two aligned images would look like in the other's contrast, and how much of it that explains."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.similarity import contrast_curve, correlation_ratio


def recoloured(fixed: WorkingImage, moving: WorkingImage, weight: Tensor) -> tuple[WorkingImage, WorkingImage]:
    """Return both images with the contrast of the other beside their own.

    Parameters
    ----------
    fixed, moving
        Aligned, on one grid.
    weight
        How much each voxel counts in learning what becomes what, ``(D, H, W)``.
    """
    to_moving = contrast_curve(fixed.intensity, moving.intensity, weight)
    to_fixed = contrast_curve(moving.intensity, fixed.intensity, weight)
    return (
        replace(fixed, recoloured=to_moving(fixed.intensity)),
        replace(moving, recoloured=to_fixed(moving.intensity)),
    )


def share_explained(fixed: WorkingImage, moving: WorkingImage, weight: Tensor) -> float:
    """Return how much of the variance of either image the other explains, recoloured; the mean of both, 0 to 1.

    That is the correlation ratio (Roche et al., MICCAI 1998), both ways. The parameters are what `recoloured` was given
    and returned.
    """
    pairs = zip(fixed.contrasts, moving.contrasts.flip(0), strict=True)
    return float(torch.stack([correlation_ratio(image, other, weight) for image, other in pairs]).mean())
