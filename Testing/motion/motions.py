"""A series of transforms whose two components of motion are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.transforms import DisplacementField
from Testing.synthetic import geometry_in

GRID = geometry_in("LPS", (12, 14, 10), 5.0)
FIELD_GRID = GRID.resized([8.0, 8.0, 8.0], margin=8.0)


def bump(direction: tuple[float, float, float], at: float) -> NDArray[np.float32]:
    """Return a displacement of 1 mm at most about a part of the grid, ``(k, j, i, 3)``."""
    points = FIELD_GRID.points().reshape(*FIELD_GRID.shape, 3)
    centre = GRID.centre + np.array([at, 0.0, 0.0])
    envelope = np.exp(-0.5 * np.sum(((points - centre) / 18.0) ** 2, axis=-1, keepdims=True))
    return (envelope * np.array(direction)).astype(np.float32)


def transform_of(amounts: NDArray[np.float64]) -> DisplacementField:
    """Return the transform of one frame: so many mm of each of two bumps, and a mean displacement."""
    both = amounts[0] * bump((0.0, 1.0, 0.2), 12.0) + amounts[1] * bump((1.0, 0.0, 0.0), -12.0)
    return DisplacementField((both + 0.5 * bump((0.0, 0.0, 1.0), 0.0)).astype(np.float32), FIELD_GRID)


def amounts(count: int, interval: float = 0.1) -> NDArray[np.float64]:
    """Return how much of each bump there is at each frame of a breath of 4 s, ``(count, 2)``, mm."""
    phase = 2 * np.pi * interval * np.arange(count) / 4.0
    return np.stack([3 * (1 - np.cos(phase)), 1.0 * np.sin(phase)], axis=1)
