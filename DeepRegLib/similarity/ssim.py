"""Structural similarity: for images of one modality on one intensity scale, judged window by window."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.similarity.weighting import VOLUME_AXES, check_images, reciprocal, volume_sum

# Wang's K1 and K2: differences below these shares of the dynamic range are taken for none.
_LUMINANCE_SHARE, _CONTRAST_SHARE = 0.01, 0.03
# Windows with less than this share of the largest possible weight are left out.
_LEAST_WINDOW_WEIGHT = 0.05


class _Windows(NamedTuple):
    """The warped image and how its windows compare, each ``(B, D, H, W)``."""

    shifted: Tensor
    mean: Tensor
    luminance: Tensor
    luminance_precision: Tensor
    structure: Tensor
    structure_precision: Tensor


class SSIM:
    """Weighted mean of the structural similarity index in cubic windows, in [-1, 1], 1 for equal images.

    Wang et al. 2004 (IEEE TIP 13:600, eq. 13) in three dimensions and with weights inside the window sums::

        S = sum_x u(x) l(x) s(x) / sum_x u(x)
        l = (2 mf mm + C1) / (mf^2 + mm^2 + C1)       s = (2 c + C2) / (vf + vm + C2)

    where ``mf``, ``mm``, ``vf``, ``vm`` and ``c`` are the weighted means, variances and covariance in the window about
    x, ``u`` is the weight of x itself, ``C1 = (0.01 L)^2`` and ``C2 = (0.03 L)^2``. The dynamic range ``L`` is that of
    the fixed image over voxels with weight, and intensities count from its least value, so that a common offset of both
    images changes nothing and CT numbers below zero make no false match. Windows with less than 5 % of the full weight
    are left out. A voxel of weight zero has no influence at all; a constant fixed image, or no weight, gives value and
    gradient 0.

    Unlike LNCC it sees the brightness and contrast of a window as well as its pattern. The gradient is exact: every
    window that contains a voxel contributes, which takes three more window sums.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    radius
        Half width of the window in voxels, at least 1.
    """

    def __init__(self, fixed: Tensor, weight: Tensor, radius: int = 2) -> None:
        check_images(fixed, weight)
        if radius < 1:
            raise InputError(f"The SSIM window radius is {radius}.", "Give a radius of at least 1.")
        self._radius = radius
        self._weight = weight
        low, span = _dynamic_range(fixed, weight)
        # Window variances are differences of squares: taken about the image's own mean they lose least to rounding.
        self._shift = volume_sum(weight * fixed) * reciprocal(volume_sum(weight))
        self._above_low = self._shift - low
        is_constant = span <= 0
        self._luminance_floor = ((_LUMINANCE_SHARE * span) ** 2).masked_fill(is_constant, 1)
        self._contrast_floor = ((_CONTRAST_SHARE * span) ** 2).masked_fill(is_constant, 1)
        shifted = fixed - self._shift
        self._weighted_fixed = weight * shifted
        squares = self._weighted_fixed * shifted
        mass, first, second = self._boxes(weight.expand_as(shifted), self._weighted_fixed, squares)
        full = weight.amax(VOLUME_AXES, keepdim=True) * (2 * radius + 1) ** 3
        self._inverse_mass = reciprocal(mass.masked_fill(mass < _LEAST_WINDOW_WEIGHT * full, 0))
        self._fixed_mean = first.mul_(self._inverse_mass)
        self._fixed_variance = second.mul_(self._inverse_mass).addcmul_(first, first, value=-1).clamp_(min=0)
        kept = weight * (self._inverse_mass > 0)
        self._share = kept * reciprocal(volume_sum(kept)).masked_fill(is_constant, 0)

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        windows = self._windows(warped)
        return windows.structure.mul_(windows.luminance).mul_(self._share).sum(VOLUME_AXES)

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        windows = self._windows(warped)
        by_luminance = self._share * windows.structure
        value = (by_luminance * windows.luminance).sum(VOLUME_AXES)
        by_covariance = (windows.structure_precision.mul_(windows.luminance)).mul_(self._share)
        by_covariance.mul_(self._inverse_mass).mul_(2)
        by_variance = windows.structure.mul_(by_covariance)
        by_mean = self._by_mean(windows, by_luminance)
        by_mean.addcmul_(by_covariance, self._fixed_mean, value=-1).addcmul_(by_variance, windows.mean)
        on_fixed, on_warped, constant = self._boxes(by_covariance, by_variance, by_mean)
        gradient = constant.addcmul_(on_warped, windows.shifted, value=-1).mul_(self._weight)
        return value, gradient.addcmul_(on_fixed, self._weighted_fixed)

    def _windows(self, warped: Tensor) -> _Windows:
        shifted = warped - self._shift
        weighted = self._weight * shifted
        first, second, mixed = self._boxes(weighted, weighted * shifted, self._weighted_fixed * shifted)
        mean = first.mul_(self._inverse_mass)
        variance = second.mul_(self._inverse_mass).addcmul_(mean, mean, value=-1).clamp_(min=0)
        covariance = mixed.mul_(self._inverse_mass).addcmul_(self._fixed_mean, mean, value=-1)
        structure_precision = variance.add_(self._fixed_variance).add_(self._contrast_floor).reciprocal_()
        structure = covariance.mul_(2).add_(self._contrast_floor).mul_(structure_precision)
        luminance_precision = ((mean + self._above_low) ** 2).add_(self._luminance_floor)
        luminance_precision.add_((self._fixed_mean + self._above_low) ** 2).reciprocal_()
        luminance = 1 - (mean - self._fixed_mean).square_().mul_(luminance_precision)
        return _Windows(shifted, mean, luminance, luminance_precision, structure, structure_precision)

    def _by_mean(self, windows: _Windows, by_luminance: Tensor) -> Tensor:
        """Derive by the sum of the warped image in each window, as far as its luminance goes."""
        fixed_mean, mean = self._fixed_mean + self._above_low, windows.mean + self._above_low
        slope = torch.addcmul(fixed_mean, mean, windows.luminance, value=-1)
        return slope.mul_(windows.luminance_precision).mul_(by_luminance).mul_(self._inverse_mass).mul_(2)

    def _boxes(self, *images: Tensor) -> tuple[Tensor, ...]:
        return tuple(box_sum(image, self._radius) for image in images)


def _dynamic_range(fixed: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Least value and range over voxels with weight, ``(1 or B, 1, 1, 1)``; range 0 if rounding can explain it."""
    outside = weight <= 0
    low = fixed.masked_fill(outside, torch.inf).amin(VOLUME_AXES, keepdim=True)
    high = fixed.masked_fill(outside, -torch.inf).amax(VOLUME_AXES, keepdim=True)
    low, high = (limit.masked_fill(high < low, 0) for limit in (low, high))
    span = high - low
    rounding = 16 * torch.finfo(fixed.dtype).eps * torch.maximum(low.abs(), high.abs())
    return low, span.masked_fill(span <= rounding, 0)
