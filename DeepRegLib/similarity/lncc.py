"""Squared local normalised cross-correlation: for one modality, with bias fields and local contrast changes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.similarity.weighting import VOLUME_AXES, centre, check_images, reciprocal, volume_sum

# A window counts by how far its variance stands above this share of the whole image's variance.
_VARIANCE_FLOOR = 1e-4
# Windows with less than this share of the largest possible weight are left out.
_LEAST_WINDOW_WEIGHT = 0.05


class _Windows(NamedTuple):
    """Statistics of the warped image in each window, each ``(B, D, H, W)``."""

    centred: Tensor
    weighted: Tensor
    mean: Tensor
    covariance: Tensor
    precision: Tensor


class LNCC:
    """Weighted mean of the squared correlation coefficient in cubic windows, in [0, 1].

    The local cross-correlation of Avants et al. 2008 (Med Image Anal 12:26, eq. 4), with weights inside the window
    sums (normalised convolution)::

        S = sum_x u(x) c(x)^2 / ((vf(x) + ef) (vm(x) + em)) / sum_x u(x) vf(x) / (vf(x) + ef)

    where ``vf``, ``vm`` and ``c`` are the weighted variances and covariance in the window about x, ``u`` is the weight
    of x itself, and ``ef``, ``em`` are 1e-4 of the variance of the whole image. So flat windows of the fixed image fade
    out of the mean, flat windows of the warped image count as unmatched, and the value does not change with the gain,
    offset or sign of either image. Windows with less than 5 % of the full weight are left out. A voxel of weight zero
    has no influence at all; a constant image, or no weight, gives value and gradient 0.

    The gradient is exact: every window that contains a voxel contributes, which takes three more window sums.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    radius
        Half width of the window in voxels, at least 1.
    own_window
        Let the gradient at a voxel be that of its own window alone, times the weight in it: the approximation of Avants
        et al., which saves three window sums. It tells neighbours apart that share most windows.
    """

    def __init__(self, fixed: Tensor, weight: Tensor, radius: int = 2, *, own_window: bool = False) -> None:
        check_images(fixed, weight)
        if radius < 1:
            raise InputError(f"The LNCC window radius is {radius}.", "Give a radius of at least 1.")
        self._radius = radius
        self._own_window = own_window
        self._weight = weight
        self._share = weight * reciprocal(volume_sum(weight))
        centred, variance, is_constant = centre(fixed, self._share)
        self._weighted_fixed = weight * centred
        squares = self._weighted_fixed * centred
        mass, first, second = self._boxes(weight.expand_as(centred), self._weighted_fixed, squares)
        full = weight.amax(VOLUME_AXES, keepdim=True) * (2 * radius + 1) ** 3
        self._inverse_mass = reciprocal(mass.masked_fill(mass < _LEAST_WINDOW_WEIGHT * full, 0))
        self._fixed_mean = first * self._inverse_mass
        local_variance = (second * self._inverse_mass - self._fixed_mean**2).clamp_(min=0)
        emphasis = weight * (self._inverse_mass > 0) / (local_variance + _floor(variance, is_constant))
        self._emphasis = emphasis * reciprocal(volume_sum(emphasis * local_variance))

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        windows = self._windows(warped)
        return (self._emphasis * windows.precision).mul_(windows.covariance).mul_(windows.covariance).sum(VOLUME_AXES)

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        windows = self._windows(warped)
        by_covariance = (self._emphasis * windows.precision).mul_(windows.covariance)
        terms = by_covariance * windows.covariance
        value = terms.sum(VOLUME_AXES)
        by_variance = terms.mul_(windows.precision)
        by_floor = volume_sum(by_variance) * (2 * _VARIANCE_FLOOR)
        gradient = (self._own_pull if self._own_window else self._pull)(windows, by_covariance, by_variance)
        return value, gradient.sub_(windows.centred.mul_(self._share).mul_(by_floor))

    def _pull(self, windows: _Windows, by_covariance: Tensor, by_variance: Tensor) -> Tensor:
        """Return what all windows with a voxel pull at it; overwrites the derivatives."""
        by_covariance.mul_(self._inverse_mass).mul_(2)
        by_variance.mul_(self._inverse_mass).mul_(2)
        by_mean = (by_variance * windows.mean).addcmul_(by_covariance, self._fixed_mean, value=-1)
        on_fixed, on_warped, constant = self._boxes(by_covariance, by_variance, by_mean)
        gradient = on_fixed.mul_(self._weighted_fixed).addcmul_(on_warped, windows.weighted, value=-1)
        return gradient.addcmul_(constant, self._weight)

    def _own_pull(self, windows: _Windows, by_covariance: Tensor, by_variance: Tensor) -> Tensor:
        """Return what the window about each voxel pulls at it, times the weight in the window."""
        gradient = (self._weighted_fixed - self._weight * self._fixed_mean).mul_(by_covariance)
        return gradient.addcmul_(by_variance, windows.weighted - self._weight * windows.mean, value=-1).mul_(2)

    def _windows(self, warped: Tensor) -> _Windows:
        centred, variance, is_constant = centre(warped, self._share)
        weighted = self._weight * centred
        first, second, mixed = self._boxes(weighted, weighted * centred, self._weighted_fixed * centred)
        mean = first.mul_(self._inverse_mass)
        local_variance = second.mul_(self._inverse_mass).addcmul_(mean, mean, value=-1).clamp_(min=0)
        covariance = mixed.mul_(self._inverse_mass).addcmul_(self._fixed_mean, mean, value=-1)
        precision = local_variance.add_(_floor(variance, is_constant)).reciprocal_()
        return _Windows(centred, weighted, mean, covariance, precision)

    def _boxes(self, *images: Tensor) -> tuple[Tensor, ...]:
        return tuple(box_sum(image, self._radius) for image in images)


def _floor(variance: Tensor, is_constant: Tensor) -> Tensor:
    """Return what is added to local variances: infinite for a constant image, so that its windows count for nothing."""
    return (_VARIANCE_FLOOR * variance).masked_fill(is_constant, torch.inf)
