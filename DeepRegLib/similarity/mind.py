"""MIND-SSC: self-similarity descriptors, for images of different modalities in the deformable stage."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.similarity.weighting import VOLUME_AXES, check_images, reciprocal, volume_sum

MIND_DILATION = 2

_Offset = tuple[int, ...]
CHANNELS = 12
# The patch distances' local mean is kept within these multiples of its mean over the image.
_LEAST_NOISE, _LARGEST_NOISE = 1e-3, 1e3
_CPU_SLAB_VOXELS = 1 << 16


class _Line(NamedTuple):
    """Two of the 12 pairs of neighbours: both join a neighbour ``anchor`` to the neighbour ``anchor + step``."""

    step: _Offset
    anchors: tuple[_Offset, _Offset]

    @property
    def low(self) -> _Offset:
        return tuple(map(min, *self.anchors))

    @property
    def extent(self) -> _Offset:
        return tuple(abs(a - b) for a, b in zip(*self.anchors, strict=True))


def _lines() -> tuple[_Line, ...]:
    lines = []
    for (i, j), sign in itertools.product(itertools.combinations(range(3), 2), (-1, 1)):
        step, across, back = [0, 0, 0], [0, 0, 0], [0, 0, 0]
        step[i], step[j] = 1, sign
        across[j], back[i] = -sign, -1
        lines.append(_Line(tuple(step), (tuple(across), tuple(back))))
    return tuple(lines)


_LINES = _lines()


class MIND:
    """Minus the weighted mean squared difference of MIND-SSC features, in [-1, 0], 0 for equal images.

    Heinrich et al. 2013 (MICCAI, LNCS 8149:187, eq. 2-3): ``S = -sum_x w(x) sum_c (Fm_c(x) - Ff_c(x))^2 / (12 sum w)``
    with the features of ``mind_features``. Features look ``radius + 2 dilation`` voxels around, so unlike in the other
    metrics an image value of weight zero still acts on features nearby that have weight: erode the weight by as much
    where that matters. Without any weight value and gradient are 0.

    The gradient is exact through the exponential, the smallest distance (ties share it evenly) and the local noise
    estimate, with one exception: the limits that the noise estimate is clamped to are taken as constant.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    radius
        Half width of the patches in voxels, at least 0.
    dilation
        Distance of the six neighbours in voxels, at least 1.
    """

    def __init__(self, fixed: Tensor, weight: Tensor, radius: int = 1, dilation: int = MIND_DILATION) -> None:
        check_images(fixed, weight)
        self._radius, self._dilation = radius, dilation
        self._features = mind_features(fixed, radius, dilation).movedim(1, 0)
        self._share = weight * reciprocal(CHANNELS * volume_sum(weight))

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        distances = _Distances(warped, self._radius, self._dilation)
        value = warped.new_zeros(warped.shape[0])
        for planes in _slabs(warped):
            value -= self._compare(distances.describe(planes).features, planes)[0]
        return value

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        distances = _Distances(warped, self._radius, self._dilation)
        value = warped.new_zeros(warped.shape[0])
        for planes in _slabs(warped):
            descriptors = distances.describe(planes)
            cost, difference = self._compare(descriptors.features, planes)
            value -= cost
            distances.pull(planes, descriptors, difference.mul_(-2 * self._share[:, planes]))
        return value, distances.gradient()

    def _compare(self, features: Tensor, planes: slice) -> tuple[Tensor, Tensor]:
        """Cost ``(B,)`` of some planes and the differences of features there."""
        difference = features - self._features[:, :, planes]
        return (difference.square().sum(0) * self._share[:, planes]).sum(VOLUME_AXES), difference


@torch.no_grad()
def mind_features(image: Tensor, radius: int = 1, dilation: int = MIND_DILATION) -> Tensor:
    """MIND-SSC features: how alike the patches about 12 pairs of neighbours of a voxel are.

    ``F_c = exp(-(D_c - min_c D_c) / V)``, where ``D_c`` is the mean squared difference of two patches centred
    ``dilation`` voxels from the voxel along two different axes, and ``V = mean_c D_c``, kept within 1e-3 and 1e3 of its
    mean over the image (Heinrich et al. 2013). The image is continued past its border by its border values. A constant
    image has features 1. A different gain, offset or sign of the image leaves the features as they are.

    Parameters
    ----------
    image
        ``(B, D, H, W)`` float32 or float64.
    radius
        Half width of the patches in voxels, at least 0.
    dilation
        Distance of the six neighbours in voxels, at least 1.

    Returns
    -------
    Tensor
        ``(B, 12, D, H, W)`` in [0, 1], type and device of ``image``.

    Raises
    ------
    InputError
        If the radius, the dilation or the shape of the image is impossible.
    """
    if radius < 0 or dilation < 1:
        raise InputError(
            f"MIND with patch radius {radius} and dilation {dilation}.", "Use a radius from 0 and a dilation from 1."
        )
    if image.ndim != 4:
        raise InputError(f"MIND features need an image (B, D, H, W), not shape {tuple(image.shape)}.")
    distances = _Distances(image, radius, dilation)
    features = image.new_empty(CHANNELS, *image.shape)
    for planes in _slabs(image):
        features[:, :, planes] = distances.describe(planes).features
    return features.movedim(0, 1)


class _Descriptors(NamedTuple):
    """Features of some planes and what their derivative needs: two ``(12, B, d, H, W)``, then two ``(B, d, H, W)``."""

    features: Tensor
    exponent: Tensor
    inverse_noise: Tensor
    unclamped: Tensor


class _Distances:
    """Patch distances of an image to itself, and the way back from their gradient to the image's.

    The squared difference of a pair's two neighbours is an image of its own that two pairs share, shifted. So six
    window sums give the twelve distances, as views into six volumes.
    """

    def __init__(self, image: Tensor, radius: int, dilation: int) -> None:
        self._radius, self._dilation = radius, dilation
        self._margin = radius + dilation
        self._size = image.shape[1:]
        self._patch_share = 1 / (2 * radius + 1) ** 3
        self._padded = functional.pad(image, (self._margin,) * 6, mode="replicate")
        self._sums = [box_sum(self._difference(line) ** 2, radius).mul_(self._patch_share) for line in _LINES]
        self._views = self._channels(self._sums)
        noise = torch.stack([view.mean(VOLUME_AXES, keepdim=True) for view in self._views]).mean(0)
        self._noise = torch.where(noise > 0, noise, torch.ones_like(noise))
        self._pulls: list[Tensor] = []
        self._pull_views: list[Tensor] = []

    def describe(self, planes: slice) -> _Descriptors:
        """MIND-SSC features at some planes."""
        exponent = torch.stack([view[:, planes] for view in self._views])
        mean = exponent.mean(0)
        noise = mean.clamp(_LEAST_NOISE * self._noise, _LARGEST_NOISE * self._noise)
        inverse_noise = noise.reciprocal()
        exponent.sub_(exponent.amin(0)).mul_(-inverse_noise)
        return _Descriptors(exponent.exp(), exponent, inverse_noise, noise == mean)

    def pull(self, planes: slice, descriptors: _Descriptors, by_features: Tensor) -> None:
        """Add the derivative by the features at some planes, ``(12, B, d, H, W)``, which is overwritten."""
        if not self._pulls:
            self._pulls = [torch.zeros_like(total) for total in self._sums]
            self._pull_views = self._channels(self._pulls)
        pull = by_features.mul_(descriptors.features).mul_(-descriptors.inverse_noise)
        total = pull.sum(0)
        by_noise = (pull * descriptors.exponent).sum(0).mul_(descriptors.unclamped).div_(CHANNELS)
        smallest = (descriptors.exponent == 0).to(pull.dtype)
        pull.add_(by_noise).sub_(smallest.mul_(total / smallest.sum(0)))
        for view, part in zip(self._pull_views, pull.unbind(0), strict=True):
            view[:, planes].add_(part)

    def gradient(self) -> Tensor:
        """Return the derivative by the image ``(B, D, H, W)``, once all planes are pulled."""
        padded = torch.zeros_like(self._padded)
        for line, volume in zip(_LINES, self._pulls, strict=True):
            slope = box_sum(volume, self._radius).mul_(2 * self._patch_share).mul_(self._difference(line))
            self._ends(padded, line)[1].add_(slope)
            self._ends(padded, line)[0].sub_(slope)
        return _unpad_replicated(padded, self._margin)

    def _difference(self, line: _Line) -> Tensor:
        start, end = self._ends(self._padded, line)
        return end - start

    def _ends(self, padded: Tensor, line: _Line) -> tuple[Tensor, Tensor]:
        """View the padded image at one and the other neighbour of a line's pairs, patches included."""
        size = tuple(n + 2 * self._radius + self._dilation * e for n, e in zip(self._size, line.extent, strict=True))
        start = tuple(self._dilation * (1 + low) for low in line.low)
        end = tuple(at + self._dilation * step for at, step in zip(start, line.step, strict=True))
        return _crop(padded, start, size), _crop(padded, end, size)

    def _channels(self, volumes: list[Tensor]) -> list[Tensor]:
        """Twelve views ``(B, D, H, W)`` into the volumes of six lines."""
        return [
            _crop(
                volume,
                tuple(self._radius + self._dilation * (a - low) for a, low in zip(anchor, line.low, strict=True)),
                self._size,
            )
            for line, volume in zip(_LINES, volumes, strict=True)
            for anchor in line.anchors
        ]


def _crop(image: Tensor, start: _Offset, size: _Offset) -> Tensor:
    for axis, (first, length) in enumerate(zip(start, size, strict=True), start=1):
        image = image.narrow(axis, first, length)
    return image


def _unpad_replicated(padded: Tensor, margin: int) -> Tensor:
    """Adjoint of padding with border values: what fell on the padding goes to the border voxel it was copied from."""
    for axis in range(1, 4):
        inner = padded.narrow(axis, margin, padded.shape[axis] - 2 * margin)
        inner.narrow(axis, 0, 1).add_(padded.narrow(axis, 0, margin).sum(axis, keepdim=True))
        last = inner.shape[axis] - 1
        inner.narrow(axis, last, 1).add_(padded.narrow(axis, margin + last + 1, margin).sum(axis, keepdim=True))
        padded = inner
    return padded.contiguous()


def _slabs(image: Tensor) -> list[slice]:
    """Ranges of planes whose twelve channels fit a CPU cache; all planes at once elsewhere."""
    batch, depth, height, width = image.shape
    thickness = max(_CPU_SLAB_VOXELS // (batch * height * width), 1) if image.device.type == "cpu" else depth
    return [slice(start, start + thickness) for start in range(0, depth, thickness)]
