"""What the metrics share: the check of their images, weighted means, and what counts as a constant image."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.errors import InputError

VOLUME_AXES = (-3, -2, -1)


def check_images(fixed: Tensor, weight: Tensor) -> None:
    """Raise InputError unless ``fixed`` and ``weight`` are floating point ``(1 or B, D, H, W)`` on one grid."""
    if fixed.ndim != 4 or weight.ndim != 4 or fixed.shape[1:] != weight.shape[1:]:
        raise InputError(
            f"The fixed image {tuple(fixed.shape)} and weight {tuple(weight.shape)} are not (B, D, H, W) on one grid."
        )
    if fixed.shape[0] != weight.shape[0] and 1 not in (fixed.shape[0], weight.shape[0]):
        raise InputError(f"The fixed image has batch {fixed.shape[0]}, its weight batch {weight.shape[0]}.")
    if not fixed.is_floating_point() or fixed.dtype != weight.dtype or fixed.device != weight.device:
        raise InputError("The fixed image and the weight must be floating point, of one type, on one device.")


def reciprocal(x: Tensor) -> Tensor:
    """``1 / x`` where ``x`` is positive, 0 elsewhere."""
    return torch.where(x > 0, 1 / x, torch.zeros_like(x))


def volume_sum(x: Tensor) -> Tensor:
    """Sum over the last three axes, kept as axes of length 1 so that it broadcasts against volumes."""
    return x.sum(VOLUME_AXES, keepdim=True)


def centre(image: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Subtract the weighted mean.

    Parameters
    ----------
    image
        ``(B, D, H, W)``.
    share
        ``(1 or B, D, H, W)``, the weight divided by its sum.

    Returns
    -------
    centred, variance, is_constant
        ``(B, D, H, W)``; ``(B, 1, 1, 1)`` weighted variance; ``(B, 1, 1, 1)`` bool, true where the variance is no more
        than the rounding of the mean can explain.
    """
    mean = volume_sum(share * image)
    centred = image - mean
    variance = volume_sum(share * centred * centred)
    return centred, variance, is_constant(variance, mean)


def is_constant(variance: Tensor, mean: Tensor) -> Tensor:
    """Tell whether a variance is no more than the rounding of the mean can explain."""
    limits = torch.finfo(variance.dtype)
    return variance <= (16 * limits.eps * mean) ** 2 + limits.tiny
