"""Which label a place between the voxels of a label map belongs to."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

HALF_WAY = 1e-6  # of a voxel, what rounding makes of a half
TAPS = 4  # voxels along an axis that a cubic kernel reaches
Indices = NDArray[np.float64]
Whole = NDArray[np.int64]
Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Voter:
    """Tells the label at places between the voxels of a label map: the most probable one.

    The probability of a label is its indicator, interpolated linearly. A voxel that loses its label at its own centre
    when the indicators are smoothed by a cubic B-spline is thin: part of a line, or alone. It decides at all places
    nearest to it, where interpolation would take it away.

    Parameters
    ----------
    labels
        Shape ``(k, j, i)``, whole numbers or bool.

    Examples
    --------
    >>> voter = Voter(np.array([[[5, 5, 9, 9]]]))
    >>> voter.winners(np.array([[1.4, 0.0, 0.0], [1.6, 0.0, 0.0]])).tolist()
    [5, 9]
    """

    def __init__(self, labels: NDArray[np.generic]) -> None:
        self._flat = np.ascontiguousarray(labels).reshape(-1)
        self._size = np.array(labels.shape[::-1])

    def winners(self, index: Indices) -> NDArray[np.generic]:
        """Return the labels at (i, j, k) indices ``(n, 3)``; 0 outside of the voxel box.

        Examples
        --------
        >>> Voter(np.array([[[5, 9]]])).winners(np.array([[0.2, 0.0, 0.0], [4.0, 0.0, 0.0]])).tolist()
        [5, 0]
        """
        inside = np.all((index >= -0.5) & (index < self._size - 0.5), axis=1)
        index = np.clip(index, 0, self._size - 1)
        low = np.minimum(index.astype(np.int64), np.maximum(self._size - 2, 0))
        corners = np.stack([self._at(low + np.array(step)) for step in itertools.product((0, 1), repeat=3)])
        winner = np.where(inside, corners[0], np.zeros((), dtype=self._flat.dtype))
        mixed = np.flatnonzero(inside & np.any(corners[1:] != corners[0], axis=0))
        # Half way between two voxels the nearest is the upper one, so that a label keeps its size when moved by that.
        nearest = np.where(index[mixed] - low[mixed] > 0.5 - HALF_WAY, low[mixed] + 1, low[mixed])
        nearest = np.minimum(nearest, self._size - 1)
        preferred = self._at(nearest)
        voted = self._voted(index[mixed], low[mixed], corners[:, mixed], preferred, _linear)
        differs = np.flatnonzero(voted != preferred)
        thin = differs[self._is_thin(nearest[differs])]
        voted[thin] = preferred[thin]
        winner[mixed] = voted
        return winner

    def _at(self, index: Whole) -> NDArray[np.generic]:
        i, j, k = np.clip(index, 0, self._size - 1).T
        return self._flat[(k * self._size[1] + j) * self._size[0] + i]

    def _is_thin(self, voxels: Whole) -> NDArray[np.bool_]:
        """Tell which voxels lose their label at their own centre."""
        known, back = np.unique(voxels, axis=0, return_inverse=True)
        low = np.minimum(known, np.maximum(self._size - 2, 0))
        corners = np.stack([self._at(low + np.array(step)) for step in itertools.product((0, 1), repeat=3)])
        own = self._at(known)
        return np.asarray(self._voted(known.astype(np.float64), low, corners, own, _smooth) != own)[back.reshape(-1)]

    def _voted(
        self,
        index: Indices,
        low: Whole,
        corners: NDArray[np.generic],
        preferred: NDArray[np.generic],
        kernel: Kernel,
    ) -> NDArray[np.generic]:
        """Return of the labels at the eight corners the most probable; on a tie the preferred one, else the lowest."""
        taps, weights = self._taps(index, low, kernel)
        best_label, best_score = corners[0].copy(), _score(taps, weights, corners[0])
        for number in range(1, len(corners)):
            candidate = corners[number]
            fresh = np.flatnonzero(np.all(corners[:number] != candidate, axis=0))
            candidate = candidate[fresh]
            score = _score(taps[:, fresh], weights[:, fresh], candidate)
            held, before = best_label[fresh], best_score[fresh]
            tie = np.abs(score - before) <= HALF_WAY
            lower = (candidate < held) & (held != preferred[fresh])
            wins = np.where(tie, lower | (candidate == preferred[fresh]), score > before)
            best_label[fresh[wins]], best_score[fresh[wins]] = candidate[wins], score[wins]
        return best_label

    def _taps(self, index: Indices, low: Whole, kernel: Kernel) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
        """Return labels and weights of the voxels that a kernel about each place reaches, ``(8 or 64, n)``."""
        along = [kernel(index[:, axis] - low[:, axis]) for axis in range(3)]
        used = range(1, 3) if kernel is _linear else range(TAPS)
        steps = list(itertools.product(used, repeat=3))
        labels = np.stack([self._at(low + np.array(step) - 1) for step in steps])
        weights = np.stack([along[0][a] * along[1][b] * along[2][c] for a, b, c in steps])
        return labels, weights


def _score(taps: NDArray[np.generic], weights: NDArray[np.float64], label: NDArray[np.generic]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = np.sum(weights, axis=0, where=taps == label)
    return scores


def _linear(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the linear weights of four voxels, a fraction after the second of them, ``(4, n)``."""
    return np.stack([np.zeros_like(t), 1 - t, t, np.zeros_like(t)])


def _smooth(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the cubic B-spline in the same way."""
    rest = 1 - t
    return np.stack([rest**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * rest**2 + 3 * rest**3, t**3]) / 6
