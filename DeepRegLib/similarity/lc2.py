"""LC2: how well brightness and edges of one scan together explain another, for ultrasound beside MR or CT."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.box import SPARSE_STEP, sparse_box_sum, spread
from DeepRegLib.similarity.weighting import VOLUME_AXES, check_images, is_constant, reciprocal, volume_sum

# What is added to variances of windows, in variances of the whole image: flatter windows explain nothing.
_VARIANCE_FLOOR = 1e-3
# Windows with less than this share of the largest possible weight are left out.
_LEAST_WINDOW_WEIGHT = 0.05
_AXES = (-1, -2, -3)


class _Feature(NamedTuple):
    """Brightness or edges of the warped image less their mean, weighted, and what is added to their variances."""

    centred: Tensor
    weighted: Tensor
    floor: Tensor


class _Fit(NamedTuple):
    """What each window is explained by: coefficients and means of both features, and the share explained."""

    slopes: tuple[Tensor, Tensor]
    means: tuple[Tensor, Tensor]
    terms: Tensor


class LC2:
    """Share of the fixed image's variance in cubic windows that the warped image explains, in [0, 1].

    Linear correlation of linear combination (Wein et al. 2013, MICCAI, LNCS 8149:34; Fuerst et al. 2014, Med Image
    Anal 18:1312). In each window the fixed image, an ultrasound, is fitted by least squares by ``a m + b |grad m| + c``
    of the warped image ``m``: tissue scatters by what it is, and borders reflect. With ``E`` the variance of the fit::

        S = sum_x u(x) E(x) / (vf(x) + ef) / sum_x u(x) s(x),   E = c' (V + D)^-1 c

    where ``V`` holds the variances and the covariance of both features in the window about x, ``c`` their covariances
    with the fixed image, ``D`` 1e-3 of their variances in the whole image, ``vf`` and ``ef`` the same of the fixed
    image, ``u`` the weight of x itself and ``s = vf / (vf + ef)``. The value does not change with the gain, the offset
    or the sign of either image. Windows about every second voxel along each axis are looked at; those with less than
    5 % of the full weight are left out. A voxel counts where its six neighbours, which tell its gradient, have weight
    too, so that one of weight zero has no influence at all. A constant image, or no weight, gives value and gradient 0.

    The gradient is exact: every window that contains a voxel contributes, by its brightness and by its edges.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    radius
        Half width of the window in voxels, at least 1.
    """

    @torch.no_grad()
    def __init__(self, fixed: Tensor, weight: Tensor, radius: int = 3) -> None:
        check_images(fixed, weight)
        if radius < 1:
            raise InputError(f"The LC2 window radius is {radius}.", "Give a radius of at least 1.")
        self._radius = radius
        self._weight = _least_of_neighbours(weight)
        self._share = self._weight * reciprocal(volume_sum(self._weight))
        fixed, weight = torch.broadcast_tensors(fixed, self._weight)
        image = self._feature(fixed, fixed)
        self._weighted_fixed = image.weighted
        mass, first, second = self._sums(weight, image.weighted, image.weighted * image.centred)
        full = weight.amax(VOLUME_AXES, keepdim=True) * (2 * radius + 1) ** 3
        self._inverse_mass = reciprocal(mass.masked_fill(mass < _LEAST_WINDOW_WEIGHT * full, 0))
        self._fixed_mean = first * self._inverse_mass
        variance = (second * self._inverse_mass - self._fixed_mean**2).clamp_(min=0)
        middle = weight[..., ::SPARSE_STEP, ::SPARSE_STEP, ::SPARSE_STEP] * (self._inverse_mass > 0)
        precision = (variance + image.floor).reciprocal_()
        share = middle * variance * precision
        self._emphasis = middle * precision * reciprocal(volume_sum(share))

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        length, _ = _edges(warped)
        return self._fit(self._feature(warped, warped), self._feature(length, warped)).terms.sum(VOLUME_AXES)

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        length, along = _edges(warped)
        features = self._feature(warped, warped), self._feature(length, warped)
        fit = self._fit(*features)
        by_brightness, by_edges = self._pulls(features, fit)
        by_edges.mul_(reciprocal(length))
        for dim, slope in zip(_AXES, along, strict=True):
            _add_spread(by_brightness, slope.mul_(by_edges), dim)
        return fit.terms.sum(VOLUME_AXES), by_brightness

    def _feature(self, image: Tensor, source: Tensor) -> _Feature:
        """Centre a feature of an image; where it is constant, as far as rounding can tell, it is 0 throughout."""
        mean = volume_sum(self._share * image)
        centred = image - mean
        variance = volume_sum(self._share * centred.square())
        flat = is_constant(variance, volume_sum(self._share * source).abs() + mean.abs())
        centred = centred.masked_fill_(flat, 0)
        floor = (_VARIANCE_FLOOR * variance).masked_fill_(flat, 1)
        return _Feature(centred, self._weight * centred, floor)

    def _fit(self, brightness: _Feature, edges: _Feature) -> _Fit:
        """Solve the normal equations of each window in closed form."""
        products = (
            brightness.weighted * brightness.centred,
            edges.weighted * edges.centred,
            brightness.weighted * edges.centred,
            self._weighted_fixed * brightness.centred,
            self._weighted_fixed * edges.centred,
        )
        first, second, *moments = self._sums(brightness.weighted, edges.weighted, *products)
        means = first.mul_(self._inverse_mass), second.mul_(self._inverse_mass)
        own, other, mixed, with_first, with_second = (moment.mul_(self._inverse_mass) for moment in moments)
        own = own.addcmul_(means[0], means[0], value=-1).clamp_(min=0).add_(brightness.floor)
        other = other.addcmul_(means[1], means[1], value=-1).clamp_(min=0).add_(edges.floor)
        mixed.addcmul_(means[0], means[1], value=-1)
        with_first.addcmul_(means[0], self._fixed_mean, value=-1)
        with_second.addcmul_(means[1], self._fixed_mean, value=-1)
        inverse = (own * other).addcmul_(mixed, mixed, value=-1).reciprocal_()
        slopes = (
            (other * with_first).addcmul_(mixed, with_second, value=-1).mul_(inverse),
            (own * with_second).addcmul_(mixed, with_first, value=-1).mul_(inverse),
        )
        explained = (slopes[0] * with_first).addcmul_(slopes[1], with_second)
        return _Fit(slopes, means, explained.mul_(self._emphasis))

    def _pulls(self, features: tuple[_Feature, _Feature], fit: _Fit) -> tuple[Tensor, Tensor]:
        """Derive by each voxel's brightness and edges: twice what is left unexplained times the coefficient."""
        scale = self._emphasis * self._inverse_mass * 2
        offset = self._fixed_mean - fit.slopes[0] * fit.means[0] - fit.slopes[1] * fit.means[1]
        scaled = fit.slopes[0] * scale, fit.slopes[1] * scale
        mixed = self._spread(scaled[0] * fit.slopes[1])
        pulls = []
        for number, feature in enumerate(features):
            other = features[1 - number]
            pull = self._spread(scaled[number]).mul_(self._weighted_fixed)
            pull.addcmul_(self._spread(scaled[number] * fit.slopes[number]), feature.weighted, value=-1)
            pull.addcmul_(mixed, other.weighted, value=-1)
            pull.addcmul_(self._spread(scaled[number] * offset), self._weight, value=-1)
            by_floor = volume_sum(self._emphasis * fit.slopes[number].square()) * (2 * _VARIANCE_FLOOR)
            pulls.append(pull.addcmul_(self._share * feature.centred, by_floor, value=-1))
        return pulls[0], pulls[1]

    def _sums(self, *images: Tensor) -> tuple[Tensor, ...]:
        return tuple(sparse_box_sum(image, self._radius) for image in images)

    def _spread(self, values: Tensor) -> Tensor:
        return spread(values, self._weight.shape[-3:], self._radius)


def _edges(image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Length of the gradient of ``(B, D, H, W)`` per voxel, and its parts along i, j, k; 0 at the border."""
    along = tuple(_slope(image, dim) for dim in _AXES)
    length = along[0].square().addcmul_(along[1], along[1]).addcmul_(along[2], along[2]).sqrt_()
    return length, along


def _slope(image: Tensor, dim: int) -> Tensor:
    slope = torch.zeros_like(image, memory_format=torch.contiguous_format)
    size = image.shape[dim] - 2
    if size > 0:
        ahead, behind = image.narrow(dim, 2, size), image.narrow(dim, 0, size)
        slope.narrow(dim, 1, size).copy_((ahead - behind).mul_(0.5))
    return slope


def _add_spread(total: Tensor, slope: Tensor, dim: int) -> None:
    """Add the adjoint of `_slope`."""
    size = total.shape[dim] - 2
    if size > 0:
        inner = slope.narrow(dim, 1, size) * 0.5
        total.narrow(dim, 2, size).add_(inner)
        total.narrow(dim, 0, size).sub_(inner)


def _least_of_neighbours(weight: Tensor) -> Tensor:
    """Least weight of a voxel and its six neighbours, 0 at the border; along an axis of one voxel it has none."""
    least = weight.clone(memory_format=torch.contiguous_format)
    for dim in _AXES:
        size = weight.shape[dim] - 2
        if size < 0:
            continue
        inner = least.narrow(dim, 1, size)
        torch.minimum(inner, weight.narrow(dim, 2, size), out=inner)
        torch.minimum(inner, weight.narrow(dim, 0, size), out=inner)
        least.narrow(dim, 0, 1).zero_()
        least.narrow(dim, size + 1, 1).zero_()
    return least
