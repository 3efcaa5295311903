"""Scans as a network of one image sees them: along the axes of the world, on cubic voxels, scaled to [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.intensity import finite, normalise
from DeepRegLib.preprocessing.resampling import smooth_and_resample

# A scan that ends in the middle of a voxel does not get another one for it.
LEAST_PART = 1e-3


def on_grid(
    image: Image, geometry: Geometry, *, poll: Poll = never_cancel
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the intensities of a scan scaled to [0, 1] on a grid, 0 where it was not scanned, and where it was."""
    clean, bad = finite(image)
    everywhere = image.with_array(np.ones(image.array.shape, dtype=np.uint8))
    known = resample(everywhere, geometry, interpolation="nearest", poll=poll).array.astype(np.bool_)
    measured = None if bad is None else image.with_array(~bad.array.astype(np.bool_))
    scaled = normalise(clean, mask=measured, poll=poll)
    return np.where(known, smooth_and_resample(scaled, geometry, poll=poll).array, 0).astype(np.float32), known


def world_grid(scan: Geometry, spacing: float, least: Sequence[int] = (1, 1, 1)) -> Geometry:
    """Return the grid along the axes of the world (LPS) that covers a scan.

    Parameters
    ----------
    scan
        The grid to cover, in any direction.
    spacing
        Width of a voxel in mm.
    least
        Voxels along i, j, k at least; what is added lies on both sides.
    """
    corners = scan.corners()
    low, high = corners.min(0), corners.max(0)
    size = np.maximum(np.ceil((high - low) / spacing - LEAST_PART).astype(int), np.asarray(least, dtype=int))
    origin = (low + high) / 2 - spacing * (size - 1) / 2
    x, y, z = (float(value) for value in origin)
    return Geometry((int(size[0]), int(size[1]), int(size[2])), (spacing,) * 3, (x, y, z))
