"""Means over cubic windows, and how alike two images are in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

FLAT = 1e-6  # of the target's variance: a window with less is flat and resembles nothing


def padded_slab(array: NDArray[np.floating], slab: slice, margin: int) -> Doubles:
    """Return the planes of a slab with `margin` voxels around it; past the border the last voxels go on."""
    low, high = slab.start - margin, slab.stop + margin
    inner = array[max(low, 0) : min(high, len(array))].astype(np.float64)
    missing = max(-low, 0), max(high - len(array), 0)
    return np.pad(inner, (missing, (margin, margin), (margin, margin)), mode="edge")


def window_means(values: Doubles, radius: int) -> Doubles:
    """Return the mean over the ``(2 radius + 1)**3`` voxels about each voxel whose window lies inside."""
    width = 2 * radius + 1
    for axis in range(3):
        totals = np.cumsum(values, axis=axis)
        sums = totals[_from(axis, width - 1)].copy()
        sums[_from(axis, 1)] -= totals[_from(axis, 0, -width)]
        values = sums / width
    return values


def _from(axis: int, start: int, stop: int | None = None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if each == axis else slice(None) for each in range(3))


class Windows:
    """Mean and spread of an image in the window about each voxel, kept to be compared with others.

    Parameters
    ----------
    values
        float64, with a margin of the window's radius.
    radius
        Of the window in voxels.
    """

    def __init__(self, values: Doubles, radius: int) -> None:
        offset = float(values.mean())  # sums of squares of large numbers lose their last digits
        self.values = values - offset
        self.radius = radius
        self.mean = window_means(self.values, radius)
        self.variance = np.maximum(window_means(self.values**2, radius) - self.mean**2, 0)


def correlation(first: Windows, second: Windows, shift: tuple[int, int, int], reach: int) -> Doubles:
    """Return the correlation in the windows of an image and of another, shifted, -1 to 1; 0 where one is flat.

    Parameters
    ----------
    first
        With a margin of its radius.
    second
        With a margin of its radius and `reach` more.
    shift
        Voxels (k, j, i) from the first's window to the second's, at most `reach` each.
    reach
        Largest shift.
    """
    inner = tuple(slice(reach + s, n - reach + s) for s, n in zip(shift, second.values.shape, strict=True))
    here = tuple(slice(reach + s, n - reach + s) for s, n in zip(shift, second.mean.shape, strict=True))
    product = window_means(first.values * second.values[inner], first.radius)
    covariance = product - first.mean * second.mean[here]
    spread = np.sqrt(first.variance * second.variance[here])
    flat = (first.variance <= FLAT * first.variance.max(initial=0)) | (
        second.variance[here] <= FLAT * second.variance.max(initial=0)
    )
    return np.where(flat, 0.0, np.clip(covariance / np.where(flat, 1.0, spread), -1, 1))
