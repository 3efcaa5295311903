"""A transform beside the true one, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.transforms import Transform, displacement_on_grid

VOXELS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class TruthError:
    """Distances in mm between where a transform and the true one take the same voxels.

    Parameters
    ----------
    mean, median, p95, p99, largest
        Over the voxels that count.
    moved
        Mean distance by which the truth moves them: the error of a registration that does nothing.
    voxels
        How many count.
    """

    mean: float
    median: float
    p95: float
    p99: float
    largest: float
    moved: float
    voxels: int


def error_map(transform: Transform, truth: Transform, mask: Image) -> tuple[Image, TruthError]:
    """Compare a transform with the true one at every voxel of a mask.

    Parameters
    ----------
    transform, truth
        Fixed points to moving points, LPS mm.
    mask
        On the fixed grid; nonzero where voxels count.

    Returns
    -------
    Image
        float32, mm, on the mask's grid; 0 outside of it.
    TruthError
        The numbers.

    Raises
    ------
    InputError
        If the mask is empty.
    """
    grid = mask.geometry
    inside = mask.array.astype(np.bool_)
    if not inside.any():
        raise InputError(f"{mask.name} holds no voxel to compare at.", "Give another mask.")
    errors = np.zeros(grid.shape, dtype=np.float32)
    moved = 0.0
    step = max(1, VOXELS_AT_ONCE // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], step):
        slab = slice(start, start + step)
        part = grid.planes(start, start + step)
        true = displacement_on_grid(truth, part)
        errors[slab] = np.linalg.norm(displacement_on_grid(transform, part) - true, axis=-1)
        moved += float(np.linalg.norm(true[inside[slab]], axis=-1).sum())
    values = errors[inside].astype(np.float64)
    errors[~inside] = 0
    median, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    numbers = TruthError(
        float(values.mean()), median, p95, p99, float(values.max()), moved / values.size, int(values.size)
    )
    return Image(errors, grid, "error"), numbers
