"""How much of either anatomy the other scan shows."""

from __future__ import annotations

import numpy as np

from DeepRegLib.image import Image
from DeepRegLib.transforms import Transform

COVERAGE_POINTS = 20_000


def covered(foreground: Image, scanned: Image, transform: Transform) -> float:
    """Return the share of a foreground that another scan shows.

    Parameters
    ----------
    foreground
        Bool image of one side.
    scanned
        Bool image of the other side: what was scanned.
    transform
        Points of the foreground's side to points of the other.

    Returns
    -------
    float
        0 to 1, of a regular sample of the voxels; 0 for an empty foreground.
    """
    inside = np.flatnonzero(foreground.array)
    if not inside.size:
        return 0.0
    # An odd step does not stay in one column of voxels.
    k, j, i = np.unravel_index(inside[:: max(inside.size // COVERAGE_POINTS, 1) | 1], foreground.array.shape)
    points = transform.apply_to_points(foreground.geometry.to_world(np.stack([i, j, k], axis=-1)))
    index = np.rint(scanned.geometry.to_index(points)).astype(np.int64)
    within = np.all((index >= 0) & (index < scanned.geometry.size), axis=1)
    i, j, k = index[within].T
    return float(np.count_nonzero(scanned.array[k, j, i])) / len(points)
