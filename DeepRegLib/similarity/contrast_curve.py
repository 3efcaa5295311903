"""What an image would look like in the contrast of another that it is aligned with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 64
# In bins; from how many neighbours a bin with few voxels of its own learns.
CURVE_SIGMA = 1.5
# So few numbers are known as well from a part of the voxels.
VOXELS_TO_LEARN_FROM = 1 << 18
VOXELS_AT_ONCE = 1 << 15
# A bin into which next to nothing falls goes to the mean.
EMPTY_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class ContrastCurve:
    """What intensities of one image become in another: piecewise linear, constant beyond its ends.

    Parameters
    ----------
    values
        At the knots, ``(knots,)``.
    low, knots_per_unit
        The intensity of the first knot, and the knots a unit of intensity; tensors of no axes.
    """

    values: Tensor
    low: Tensor
    knots_per_unit: Tensor

    def __call__(self, image: Tensor) -> Tensor:
        """Return an image of any shape in the other contrast."""
        last = len(self.values) - 1
        position = ((image - self.low) * self.knots_per_unit).clamp_(0, last)
        number = position.floor().clamp_(max=last - 1)
        fraction = position.sub_(number)
        knot = number.long()
        return self.values.take(knot).lerp_(self.values.take(knot + 1), fraction)


@torch.no_grad()
def contrast_curve(source: Tensor, target: Tensor, weight: Tensor) -> ContrastCurve:
    """Return the curve that makes one of two aligned images look most like the other.

    At an intensity it is the mean of the other image where this one has that intensity: the regression behind the
    correlation ratio (Roche et al., MICCAI 1998). It may send several tissues to the same grey.

    Parameters
    ----------
    source, target, weight
        ``(D, H, W)``, on one grid; voxels of weight 0 have no influence.
    """
    outside = weight <= 0
    low = source.masked_fill(outside, torch.inf).amin()
    high = source.masked_fill(outside, -torch.inf).amax()
    low = low.masked_fill(high <= low, 0)
    knots_per_unit = torch.where(high > low, (BINS - 1) / (high - low), 0)
    step = max(1, round((source.numel() / VOXELS_TO_LEARN_FROM) ** (1 / 3)))
    part = (slice(step // 2, None, step),) * 3
    exact = torch.float32 if source.device.type == "mps" else torch.float64
    known = weight[part].flatten().to(exact)
    position = ((source[part] - low) * knots_per_unit).flatten().to(exact).masked_fill(known <= 0, 0)
    seen = target[part].flatten().to(exact).masked_fill(known <= 0, 0)
    total = known.sum().clamp_min(torch.finfo(exact).tiny)
    mean = (known * seen).sum() / total
    mass, excess = _summed_at_knots(position, torch.stack([known, known * (seen - mean)]))
    knots = torch.arange(BINS, device=source.device, dtype=exact)
    spread = torch.exp(-0.5 * ((knots[:, None] - knots) / CURVE_SIGMA).square())
    values = mean + (excess @ spread) / (mass @ spread + EMPTY_SHARE * total)
    return ContrastCurve(values.to(source.dtype), low, knots_per_unit)


def correlation_ratio(image: Tensor, mapped: Tensor, weight: Tensor) -> Tensor:
    """Return the share of the weighted variance of an image that another, mapped like it, explains; at least 0.

    Parameters
    ----------
    image, mapped, weight
        ``(D, H, W)``; the second from the curve that was learned with that weight.
    """
    total = weight.sum().clamp_min(1e-6)
    mean = (weight * image).sum() / total
    variance = (weight * (image - mean).square()).sum()
    left = (weight * (image - mapped).square()).sum()
    return (1 - left / variance.clamp_min(1e-12)).clamp_min(0)


def _summed_at_knots(position: Tensor, terms: Tensor) -> Tensor:
    """Share terms ``(n, voxels)`` between the two knots next to each voxel, ``(n, knots)``; in a fixed order."""
    knots = torch.arange(BINS, device=position.device, dtype=position.dtype)
    sums = terms.new_zeros(len(terms), BINS)
    for some, at in zip(terms.split(VOXELS_AT_ONCE, dim=1), position.split(VOXELS_AT_ONCE), strict=True):
        sums += some @ (1 - (at[:, None] - knots).abs()).clamp_(min=0)
    return sums
