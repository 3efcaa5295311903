"""Mutual information after Mattes: for images of different modalities, in the linear stages above all."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.weighting import VOLUME_AXES, check_images, reciprocal, volume_sum

# Row s holds the cubic B-spline's weight on bin floor(x) - 1 + s, as a polynomial of x - floor(x), lowest power first.
_CUBIC = ((1 / 6, -1 / 2, 1 / 2, -1 / 6), (2 / 3, 0, -1, 1 / 2), (1 / 6, 1 / 2, 1 / 2, -1 / 2), (0, 0, 0, 1 / 6))
_ONE_HOT_VOXELS = 1 << 18


class MattesMI:
    """Mutual information of the joint histogram in nats, in [0, ln(bins)], higher for better explained intensities.

    Mattes et al. 2003 (IEEE TMI 22:120, eq. 7-12), with every voxel instead of random samples: each adds its weight to
    one bin of the fixed intensity (zero-order window) and to four bins of the warped intensity (cubic B-spline window),
    ``S = sum_ab p(a, b) ln(p(a, b) / (pf(a) pm(b)))``. The gradient is exact. Voxels of weight zero have no influence;
    a constant fixed image, or no weight at all, gives value and gradient 0.

    Within a histogram cell (fixed bin, floor of the warped bin) the spline weights are cubic polynomials, so four
    moments a cell make the histogram and three coefficients a cell make the gradient.

    Parameters
    ----------
    fixed
        ``(1 or B, D, H, W)`` float32 or float64. Its bins span its range over voxels with weight.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.
    bins
        Number of bins along either intensity, at least 4.
    moving_range
        Intensities that span the bins of the warped image. Values beyond count as the nearer end and have gradient 0.
    """

    def __init__(
        self, fixed: Tensor, weight: Tensor, bins: int = 32, moving_range: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        check_images(fixed, weight)
        if bins < 4:
            raise InputError(f"Mutual information with {bins} bins.", "Use at least 4 bins.")
        if not moving_range[0] < moving_range[1]:
            raise InputError(f"The moving range {moving_range} is empty.", "Give (low, high) with low < high.")
        self._bins = bins
        self._low, self._high = moving_range
        self._bins_per_unit = (bins - 3) / (self._high - self._low)
        self._share = weight * reciprocal(volume_sum(weight))
        row = _fixed_bins(fixed, weight, bins).mul_(bins)
        self._row = row.add_(_first_cells(len(row), bins, row))
        self._cubic = fixed.new_tensor(_CUBIC, dtype=torch.float32 if fixed.device.type == "mps" else torch.float64)

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        return _mutual_information(self._joint(*self._locate(warped))).to(warped.dtype)

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        cell, fraction = self._locate(warped)
        joint = self._joint(cell, fraction)
        linear, quadratic, cubic = (self._slopes(joint) * self._bins_per_unit).to(warped.dtype).flatten(1)
        places = cell.flatten()
        slope = cubic.index_select(0, places).mul_(fraction.flatten()).add_(quadratic.index_select(0, places))
        slope.mul_(fraction.flatten()).add_(linear.index_select(0, places))
        gradient = slope.view_as(warped).mul_(self._share)
        if self._may_leave_range(warped):
            gradient.mul_((warped >= self._low) & (warped <= self._high))
        return _mutual_information(joint).to(warped.dtype), gradient

    def _may_leave_range(self, warped: Tensor) -> bool:
        """Tell whether intensities may lie beyond the bins; looked up on the CPU alone, where that makes none wait."""
        if warped.device.type != "cpu":
            return True
        lowest, highest = warped.aminmax()
        return bool(lowest < self._low or highest > self._high)

    def _locate(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Histogram cell of each voxel, counted through the batch, and the place in it (0 to 1); ``(B, D, H, W)``."""
        position = (warped - self._low).mul_(self._bins_per_unit).add_(1).clamp_(1, self._bins - 2)
        column = position.floor().clamp_(max=self._bins - 3)
        fraction = position.sub_(column)
        # Whole numbers as floats, which add in a fraction of the time, and exactly up to 2^24.
        cell = column.add_(self._row)
        if len(warped) > len(self._row):
            cell.add_(_first_cells(len(warped), self._bins, cell))
        return cell.long(), fraction

    def _joint(self, cell: Tensor, fraction: Tensor) -> Tensor:
        """Joint probabilities ``(B, fixed bin, warped bin)``."""
        moments = _cell_moments(cell, fraction, self._share, self._bins).to(self._cubic.dtype)
        taps = torch.einsum("pbrc,sp->sbrc", moments, self._cubic)
        joint = torch.zeros_like(moments[0])
        span = self._bins - 3
        for tap in range(4):
            joint[..., tap : tap + span] += taps[tap, ..., 1 : 1 + span]
        return joint.clamp_(min=0)

    def _slopes(self, joint: Tensor) -> Tensor:
        """Derive the information by the warped bin position: three polynomial coefficients ``(3, B, r, c)``."""
        ratio = joint / joint.sum(1, keepdim=True)
        logarithm = torch.where(joint > 0, ratio, torch.ones_like(ratio)).log_()
        power = torch.arange(1, 4, device=joint.device)
        derivative = self._cubic[:, 1:] * power
        slopes = joint.new_zeros(3, *joint.shape)
        slopes[..., 1:-2] = torch.einsum("brcs,sp->pbrc", logarithm.unfold(-1, 4, 1), derivative)
        return slopes


def _fixed_bins(fixed: Tensor, weight: Tensor, bins: int) -> Tensor:
    outside = weight <= 0
    low = fixed.masked_fill(outside, torch.inf).amin(VOLUME_AXES, keepdim=True)
    high = fixed.masked_fill(outside, -torch.inf).amax(VOLUME_AXES, keepdim=True)
    low = low.masked_fill(high <= low, 0)
    return ((fixed - low) * (bins * reciprocal(high - low))).floor().clamp_(0, bins - 1)


def _first_cells(batch: int, bins: int, like: Tensor) -> Tensor:
    """Return the number of each item's first histogram cell, ``(B, 1, 1, 1)``."""
    return (torch.arange(batch, dtype=like.dtype, device=like.device) * bins**2).view(-1, 1, 1, 1)


def _cell_moments(cell: Tensor, fraction: Tensor, share: Tensor, bins: int) -> Tensor:
    """Sum ``share * fraction**p`` over each cell for p = 0 to 3, ``(4, B, bins, bins)``.

    Either branch adds in a fixed order, so results repeat exactly: a serial pass on the CPU, and one-hot matrix
    products elsewhere, where a histogram would need atomic additions.
    """
    if cell.device.type == "cpu":
        return _moments_by_counting(cell, fraction, share, bins)
    return _moments_by_product(cell, fraction, share, bins)


def _moments_by_counting(cell: Tensor, fraction: Tensor, share: Tensor, bins: int) -> Tensor:
    batch, flat, place = len(cell), cell.flatten(), fraction.flatten()
    term = share.expand(cell.shape).flatten()
    moments = torch.zeros(4, batch * bins**2, dtype=torch.float64)
    for power in range(4):
        term = term * place if power else term
        # In double precision: what is added to a full cell is small beside it.
        moments[power].scatter_add_(0, flat, term.double())
    return moments.view(4, batch, bins, bins)


def _moments_by_product(cell: Tensor, fraction: Tensor, share: Tensor, bins: int) -> Tensor:
    batch = cell.shape[0]
    row, column = (cell // bins % bins).flatten(1), (cell % bins).flatten(1)
    place, mass = fraction.flatten(1), share.expand(cell.shape).flatten(1)
    names = torch.arange(bins, device=cell.device)
    moments = fraction.new_zeros(4, batch, bins, bins)
    step = max(_ONE_HOT_VOXELS // batch, 1)
    for start in range(0, row.shape[1], step):
        part = slice(start, start + step)
        left = (row[:, None, part] == names[:, None]) * mass[:, None, part]
        right = (column[:, part, None] == names).to(fraction.dtype)
        for power in range(4):
            moments[power] += left @ right
            left = left * place[:, None, part]
    return moments


def _mutual_information(joint: Tensor) -> Tensor:
    entropies = [torch.xlogy(p, p).flatten(1).sum(1) for p in (joint, joint.sum(1), joint.sum(2))]
    return entropies[0] - entropies[1] - entropies[2]
