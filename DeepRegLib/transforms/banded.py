"""What acts along each axis of a volume alone, as one matrix an axis: Gaussians, their slopes, linear interpolation.

Each row of such a matrix has few entries beside each other that are not zero. A product with some rows at a time, and
with only the voxels that these need, takes a tenth of the time of ITK's recursive filters, whose results it has to 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel

# Standard deviations to each side; beyond, a Gaussian is below 4e-6 of its peak.
REACH = 5.0
ROWS_AT_ONCE = 32
# Of a Gaussian, its full width at half maximum: 2 sqrt(2 ln 2).
FWHM_PER_SIGMA = 2.3548

Matrix = NDArray[np.float32]


def gaussian(size: int, sigma: float) -> Matrix:
    """Return the Gaussian along an axis, sampled, ``(size, size)``; the voxels at the ends go on past them.

    Parameters
    ----------
    size
        Of the axis.
    sigma
        In voxels; 0 for none.

    Examples
    --------
    >>> gaussian(3, 0.0).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    >>> (gaussian(5, 1.0) @ np.full(5, 7.0)).round(3).tolist()  # what is the same everywhere stays
    [7.0, 7.0, 7.0, 7.0, 7.0]
    """
    return _shifted(size, sigma, lambda weights, _: weights / weights.sum())


def slope(size: int, sigma: float) -> Matrix:
    """Return the derivative by the voxel of what `gaussian` smooths, ``(size, size)``; of a ramp it is exact.

    A Gaussian narrower than .2 voxels has none.

    Examples
    --------
    >>> (slope(9, 0.7) @ (3.0 * np.arange(9)))[4].round(3).item()
    3.0
    """
    return _shifted(size, sigma, lambda weights, steps: weights * steps / (weights * steps**2).sum())


def interpolation(size: int, at: NDArray[np.float64]) -> Matrix:
    """Return linear interpolation at continuous indices ``(m,)`` along an axis, ``(m, size)``.

    Half a voxel past the ends the values there are repeated; further out the row is zero, as ITK has it.

    Examples
    --------
    >>> (interpolation(3, np.array([0.5, 1.0, 2.4, 9.0])) @ [10.0, 20.0, 40.0]).round(3).tolist()
    [15.0, 20.0, 40.0, 0.0]
    """
    inside = np.clip(at, 0, size - 1)
    below = np.minimum(inside.astype(np.int64), max(size - 2, 0))
    above, rows = np.minimum(below + 1, size - 1), np.arange(len(at))
    matrix = np.zeros((len(at), size), dtype=np.float32)
    matrix[rows, below] = 1 - (inside - below)
    matrix[rows, above] += inside - below
    matrix[(at < -0.5) | (at >= size - 0.5)] = 0
    return matrix


def interpolation_between(old: Geometry, new: Geometry) -> list[Matrix]:
    """Return linear interpolation along k, j and i from a grid to another with the same axes.

    Examples
    --------
    >>> [matrix.shape for matrix in interpolation_between(Geometry((4, 3, 2)), Geometry((8, 6, 5)))]
    [(5, 2), (6, 3), (8, 4)]
    """
    first, step = old.to_index(new.origin), np.array(new.spacing) / np.array(old.spacing)
    return [interpolation(old.size[axis], first[axis] + step[axis] * np.arange(new.size[axis])) for axis in (2, 1, 0)]


def along_axes(
    volume: NDArray[np.float32], matrices: Sequence[Matrix | None], *, poll: Poll = never_cancel
) -> NDArray[np.float32]:
    """Apply a matrix along each axis.

    Parameters
    ----------
    volume
        Shape ``(k, j, i)``.
    matrices
        For k, j and i: ``(K, k)``, ``(J, j)`` and ``(I, i)``; None leaves an axis as it is.
    poll
        Called at each product; may raise to stop.

    Returns
    -------
    NDArray
        Shape ``(K, J, I)``; the volume itself where there is nothing to do.

    Examples
    --------
    >>> volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    >>> along_axes(volume, [None, None, interpolation(4, np.array([0.5]))]).shape
    (2, 3, 1)
    """
    for axis, matrix in enumerate(matrices):
        if matrix is None:
            continue
        result = np.empty((*volume.shape[:axis], len(matrix), *volume.shape[axis + 1 :]), dtype=np.float32)
        for rows, columns, band in _bands(matrix):
            poll()
            if axis == 2:
                result[..., rows] = volume[..., columns] @ band.T
            elif axis == 1:
                np.matmul(band, volume[:, columns], out=result[:, rows])
            else:
                np.matmul(band, volume[columns].reshape(band.shape[1], -1), out=result[rows].reshape(len(band), -1))
        volume = result
    return volume


def _shifted(
    size: int, sigma: float, normalised: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
) -> Matrix:
    reach = math.ceil(REACH * sigma)
    steps = np.arange(-reach, reach + 1, dtype=np.float64)
    with np.errstate(over="ignore"):  # of a Gaussian much narrower than a voxel
        weights = np.exp(-0.5 * (steps / sigma) ** 2) if sigma > 0 else np.ones(1)
    rows = np.arange(size)
    matrix = np.zeros((size, size), dtype=np.float32)
    for step, weight in zip(steps.astype(np.int64), normalised(weights, steps), strict=True):
        matrix[rows, np.clip(rows + step, 0, size - 1)] += np.float32(weight)
    return matrix


def _bands(matrix: Matrix) -> Iterator[tuple[slice, slice, Matrix]]:
    """Yield some rows of a matrix at a time, the columns that they need, and that part of it."""
    for start in range(0, len(matrix), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        needed = np.flatnonzero(matrix[rows].any(axis=0))
        columns = slice(needed[0], needed[-1] + 1) if len(needed) else slice(0, 1)
        yield rows, columns, np.ascontiguousarray(matrix[rows, columns])
