"""Smoothing over time: a local line through the displacements of neighbouring frames, around a cycle too.

A local line with Gaussian weights (Cleveland 1979) does not flatten a steady drift at the ends of a series, and bridges
frames that are missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_WEIGHT = 1e-3
BRIDGE = 1.0  # frame intervals: the kernel where a frame has no displacement of its own


@dataclass(frozen=True, eq=False)
class Clock:
    """When frames were taken, and whether the last leads to the first.

    Parameters
    ----------
    times
        Ascending, ``(n,)``.
    period
        Of the cycle in the same unit; None where there is none.
    """

    times: NDArray[np.float64]
    period: float | None

    @property
    def interval(self) -> float:
        """The usual time between two frames."""
        return float(np.median(np.diff(self.times)))

    def since(self, index: int) -> NDArray[np.float64]:
        """Return the time from one frame to every frame, the shorter way around a cycle, in frame intervals."""
        apart = self.times - self.times[index]
        if self.period is not None:
            apart = (apart + self.period / 2) % self.period - self.period / 2
        return np.asarray(apart / self.interval)


def smoothing_weights(clock: Clock, index: int, sigma: float, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each frame in the smoothed displacement of one, ``(n,)``; they sum to 1.

    Parameters
    ----------
    clock
        When the frames were taken.
    index
        Which frame.
    sigma
        Of the Gaussian, in frame intervals; 0 leaves a frame as it is.
    known
        Which frames have a displacement; at least one.
    """
    result = np.zeros(len(clock.times))
    if sigma == 0 and known[index]:
        result[index] = 1.0
        return result
    apart = clock.since(index)
    width = max(sigma, 0.0 if known[index] else BRIDGE)
    nearest = np.abs(apart[known]).min()
    # Shifting the exponent keeps far frames from rounding to nothing where no near one is known.
    weight = np.where(known, np.exp(-(apart**2 - nearest**2) / (2 * width**2)), 0.0)
    weight[weight < LEAST_WEIGHT] = 0.0
    s0, s1, s2 = weight.sum(), (weight * apart).sum(), (weight * apart**2).sum()
    determinant = s0 * s2 - s1**2
    if determinant < 1e-9 * max(s0 * s2, 1e-12):  # a single frame: no line
        return np.asarray(weight / s0)
    return np.asarray(weight * (s2 - apart * s1) / determinant)


def roughness(path: NDArray[np.float64], *, cyclic: bool) -> float:
    """Return how rough the paths of points are: the mean length of their second differences in time, mm.

    Parameters
    ----------
    path
        ``(frames, points, 3)``, mm.
    cyclic
        Whether the last frame leads to the first.
    """
    whole = np.concatenate([path[-1:], path, path[:1]]) if cyclic else path
    if len(whole) < 3:
        return 0.0
    return float(np.linalg.norm(np.diff(whole, n=2, axis=0), axis=-1).mean())
