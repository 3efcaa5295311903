"""Squared local normalised cross-correlation: for one modality, with bias fields and local contrast changes."""

from __future__ import annotations

import enum
from typing import NamedTuple

import torch
from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.box import SPARSE_STEP, box_sum, sparse_box_sum, spread
from DeepRegLib.similarity.weighting import VOLUME_AXES, check_images, is_constant, reciprocal, volume_sum

# A window counts by how far its variance stands above this share of the whole image's variance.
_VARIANCE_FLOOR = 1e-4
# Windows with less than this share of the largest possible weight are left out.
_LEAST_WINDOW_WEIGHT = 0.05


class Windows(enum.Enum):
    """Which windows count: all; all, but in the gradient at a voxel its own alone; every second along each axis.

    `OWN` is the approximation of Avants et al., times the weight in the window. It saves three window sums, and tells
    neighbours apart that share most windows. `SPARSE` is an eighth of all windows, in a third of the time.
    """

    ALL = enum.auto()
    OWN = enum.auto()
    SPARSE = enum.auto()


class _Statistics(NamedTuple):
    """The weighted, centred warped image ``(B, D, H, W)``, and of each window its mean and so on.

    `raised` is the covariance, farther from zero by the geometric mean of both floors; `floor_ratio` is that mean by
    the warped image's floor.
    """

    weighted: Tensor
    mean: Tensor
    raised: Tensor
    precision: Tensor
    floor_ratio: Tensor


class LNCC:
    """Weighted mean of the squared correlation coefficient in cubic windows, in [0, 1].

    The local cross-correlation of Avants et al. 2008 (Med Image Anal 12:26, eq. 4), with weights inside the window
    sums (normalised convolution)::

        S = sum_x u(x) s(x) (|c(x)| + sqrt(ef em))^2 / ((vf(x) + ef) (vm(x) + em)) / sum_x u(x) s(x)

    where ``vf``, ``vm`` and ``c`` are the weighted variances and covariance in the window about x, ``u`` is the weight
    of x itself, ``ef`` and ``em`` are 1e-4 of the variance of the whole image, and ``s`` is vf / (vf + ef). So flat
    windows of the fixed image fade out of the mean, flat windows of the warped image count as unmatched, and the value
    does not change with the gain, offset or sign of either image. It is 1 for equal images and, by the inequality of
    Cauchy and Schwarz, at most 1 for others: without the floors in the numerator, more contrast would be rewarded.
    Windows with less than 5 % of the full weight are left out. A voxel of weight zero has no influence at all; a
    constant image, or no weight, gives value and gradient 0.

    The gradient is exact: every window that contains a voxel contributes, which takes three more window sums.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    radius
        Half width of the window in voxels, at least 1.
    windows
        Over which the sums above go, and whether the gradient is exact.
    """

    def __init__(self, fixed: Tensor, weight: Tensor, radius: int = 2, windows: Windows = Windows.ALL) -> None:
        check_images(fixed, weight)
        if radius < 1:
            raise InputError(f"The LNCC window radius is {radius}.", "Give a radius of at least 1.")
        self._radius = radius
        self._windows = windows
        self._weight = weight
        self._per_weight = reciprocal(volume_sum(weight))
        self._share = weight * self._per_weight
        centred, self._weighted_fixed, squares, floor = self._centred(fixed)
        mass, first, second = self._sums(weight.expand_as(centred), self._weighted_fixed, squares)
        full = weight.amax(VOLUME_AXES, keepdim=True) * (2 * radius + 1) ** 3
        self._inverse_mass = reciprocal(mass.masked_fill(mass < _LEAST_WINDOW_WEIGHT * full, 0))
        self._fixed_mean = first * self._inverse_mass
        local_variance = (second * self._inverse_mass - self._fixed_mean**2).clamp_(min=0)
        middle = weight[..., ::SPARSE_STEP, ::SPARSE_STEP, ::SPARSE_STEP] if windows is Windows.SPARSE else weight
        share = middle * (self._inverse_mass > 0) * local_variance / (local_variance + floor)
        self._emphasis = share * reciprocal(volume_sum(share)) / (local_variance + floor)
        self._floor = floor

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        found = self._statistics(warped)
        return (self._emphasis * found.precision).mul_(found.raised).mul_(found.raised).sum(VOLUME_AXES)

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        found = self._statistics(warped)
        by_covariance = (self._emphasis * found.precision).mul_(found.raised)
        terms = by_covariance * found.raised
        value = terms.sum(VOLUME_AXES)
        by_variance = terms.mul_(found.precision)
        by_floor = volume_sum(by_variance) - volume_sum(by_covariance.abs()) * found.floor_ratio
        by_floor = by_floor * self._per_weight * (2 * _VARIANCE_FLOOR)
        gradient = (self._own_pull if self._windows is Windows.OWN else self._pull)(found, by_covariance, by_variance)
        return value, gradient.addcmul_(found.weighted, by_floor, value=-1)

    def _pull(self, found: _Statistics, by_covariance: Tensor, by_variance: Tensor) -> Tensor:
        """Return what all windows with a voxel pull at it; overwrites the derivatives."""
        by_covariance.mul_(self._inverse_mass).mul_(2)
        by_variance.mul_(self._inverse_mass).mul_(2)
        by_mean = (by_variance * found.mean).addcmul_(by_covariance, self._fixed_mean, value=-1)
        on_fixed, on_warped, constant = self._adjoint_sums(by_covariance, by_variance, by_mean)
        gradient = on_fixed.mul_(self._weighted_fixed).addcmul_(on_warped, found.weighted, value=-1)
        return gradient.addcmul_(constant, self._weight)

    def _own_pull(self, found: _Statistics, by_covariance: Tensor, by_variance: Tensor) -> Tensor:
        """Return what the window about each voxel pulls at it, times the weight in the window."""
        gradient = (self._weighted_fixed - self._weight * self._fixed_mean).mul_(by_covariance)
        return gradient.addcmul_(by_variance, found.weighted - self._weight * found.mean, value=-1).mul_(2)

    def _statistics(self, warped: Tensor) -> _Statistics:
        centred, weighted, squares, floor = self._centred(warped)
        first, second, mixed = self._sums(weighted, squares, self._weighted_fixed * centred)
        mean = first.mul_(self._inverse_mass)
        local_variance = second.mul_(self._inverse_mass).addcmul_(mean, mean, value=-1).clamp_(min=0)
        covariance = mixed.mul_(self._inverse_mass).addcmul_(self._fixed_mean, mean, value=-1)
        counts = torch.isfinite(floor) & torch.isfinite(self._floor) & (floor > 0)
        ratio = torch.where(counts, torch.sqrt(self._floor / floor), 0.0)
        both = torch.where(counts, floor, 0.0) * ratio
        raised = torch.copysign(covariance.abs() + both, covariance)
        return _Statistics(weighted, mean, raised, local_variance.add_(floor).reciprocal_(), ratio)

    def _centred(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the image less its mean, that weighted once and squared, and what is added to local variances.

        The last is infinite for a constant image, so that its windows count for nothing.
        """
        mean = volume_sum(self._share * image)
        centred = image - mean
        weighted = self._weight * centred
        squares = weighted * centred
        variance = volume_sum(squares) * self._per_weight
        floor = (_VARIANCE_FLOOR * variance).masked_fill(is_constant(variance, mean), torch.inf)
        return centred, weighted, squares, floor

    def _sums(self, *images: Tensor) -> tuple[Tensor, ...]:
        summed = sparse_box_sum if self._windows is Windows.SPARSE else box_sum
        return tuple(summed(image, self._radius) for image in images)

    def _adjoint_sums(self, *values: Tensor) -> tuple[Tensor, ...]:
        if self._windows is not Windows.SPARSE:
            return tuple(box_sum(value, self._radius) for value in values)
        return tuple(spread(value, self._weight.shape[-3:], self._radius) for value in values)
