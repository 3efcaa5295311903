"""Displacements of transforms on a common grid, mixed without folds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation import digital_folds
from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll
from DeepRegLib.transforms import DisplacementField, Transform, displacement_on_grid, parts_of

Field = NDArray[np.float32]
HALVINGS = 6


def common_grid(transforms: Iterable[Transform], fixed: Geometry) -> Geometry:
    """Return the finest grid of the transforms' first fields, which covers the fixed image; that itself without any."""
    grids = [part.geometry for each in transforms for part in parts_of(each)[:1] if isinstance(part, DisplacementField)]
    return min(grids, key=lambda grid: float(np.prod(grid.spacing)), default=fixed)


def field_of(transform: Transform, grid: Geometry, poll: Poll) -> Field:
    """Return T(x) - x at the voxels of a grid, ``(k, j, i, 3)``, mm."""
    if isinstance(transform, DisplacementField) and transform.geometry == grid:
        return transform.array.astype(np.float32, copy=False)
    return displacement_on_grid(transform, grid, poll=poll).astype(np.float32)


def without_folds(wanted: Field, own: Field, grid: Geometry, fixed: Geometry) -> DisplacementField:
    """Return the displacement wanted, or as much of the way to it from one's own as folds on neither of two grids."""
    share = 1.0
    for _ in range(HALVINGS):
        mixed = DisplacementField((share * wanted + (1 - share) * own).astype(np.float32), grid)
        if digital_folds(mixed, grid) == 0 and digital_folds(mixed, fixed) == 0:
            return mixed
        share /= 2
    return DisplacementField(own, grid)
