"""How alike two images are inside a mask: correlation, mutual information, and how much of it is seen at all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation.grids import require_one_grid
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel

TAILS = (0.1, 99.9)  # percentiles; a few voxels of metal must not squeeze the histogram


def ncc(fixed: Image, warped: Image, mask: Image) -> float:
    """Return the normalised cross correlation inside a mask.

    Parameters
    ----------
    fixed, warped, mask
        Two images and a bool image on one grid. Voxels that are not finite are left out.

    Returns
    -------
    float
        -1 to 1; 0 if the mask is empty or one of the images is constant in it.

    Raises
    ------
    InputError
        If the grids differ.
    """
    first, second = _values(fixed, warped, mask)
    if first.size == 0:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    norm = math.sqrt(float(first @ first) * float(second @ second))
    return float(np.clip(float(first @ second) / norm, -1, 1)) if norm > 0 else 0.0


def normalised_mutual_information(
    fixed: Image, warped: Image, mask: Image, bins: int = 64, *, poll: Poll = never_cancel
) -> float:
    """Return (H(fixed) + H(warped)) / H(fixed, warped) inside a mask.

    Parameters
    ----------
    fixed, warped, mask
        Two images and a bool image on one grid. Voxels that are not finite are left out.
    bins
        Grey levels an image, between the 0.1 and 99.9 percentiles.
    poll
        Called between the steps; may raise to stop.

    Returns
    -------
    float
        1 (independent) to 2 (each determines the other); 1 if the mask is empty or an image is constant in it.

    Raises
    ------
    InputError
        If the grids differ.

    References
    ----------
    Studholme et al., "An overlap invariant entropy measure of 3D medical image alignment", Pattern Recognition 1999.
    """
    first, second = _values(fixed, warped, mask)
    if first.size == 0:
        return 1.0
    poll()
    levels = _grey_levels(first, bins) * bins
    poll()
    levels += _grey_levels(second, bins)
    poll()
    joint = np.bincount(levels, minlength=bins * bins).reshape(bins, bins) / first.size
    both = entropy(joint)
    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / both if both > 0 else 1.0


def overlap(foreground: Image, field_of_view: Image) -> float:
    """Return the share of a foreground that a field of view covers, 0 to 1; 0 for an empty foreground.

    Parameters
    ----------
    foreground, field_of_view
        Bool images on one grid.

    Raises
    ------
    InputError
        If the grids differ.
    """
    require_one_grid(foreground, field_of_view)
    inside = foreground.array.astype(np.bool_)
    covered = int(np.count_nonzero(inside & field_of_view.array.astype(np.bool_)))
    return covered / max(int(np.count_nonzero(inside)), 1)


def value_range(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the range that carries the contrast: the `TAILS` percentiles, or the extremes where these coincide."""
    low, high = (float(v) for v in np.percentile(values, TAILS))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def _values(fixed: Image, warped: Image, mask: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    require_one_grid(fixed, warped, mask)
    inside = mask.array.astype(np.bool_)
    first = fixed.array[inside].astype(np.float64)
    second = warped.array[inside].astype(np.float64)
    usable = np.isfinite(first) & np.isfinite(second)
    return (first, second) if usable.all() else (first[usable], second[usable])


def _grey_levels(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    low, high = value_range(values)
    if high <= low:
        return np.zeros(values.size, dtype=np.int64)
    return np.clip((values - low) * (bins / (high - low)), 0, bins - 1).astype(np.int64)


def entropy(probabilities: NDArray[np.float64]) -> float:
    """Return the entropy of a distribution in nats."""
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
