"""A field on fewer voxels, where a smooth one is enough."""

from __future__ import annotations

import numpy as np

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms.composite import Transform
from DeepRegLib.transforms.displacement import DisplacementField

MOST_VOXELS = 40**3


def thinned(transform: Transform) -> Transform:
    """Return a field on every second, third, ... voxel of its grid, so that it has few; others as they are.

    Examples
    --------
    >>> fine = DisplacementField(np.zeros((80, 80, 80, 3), np.float32), Geometry((80, 80, 80), (1.0, 1.0, 1.0)))
    >>> thinned(fine).geometry.size, thinned(fine).geometry.spacing
    ((40, 40, 40), (2.0, 2.0, 2.0))
    """
    if not isinstance(transform, DisplacementField):
        return transform
    grid = transform.geometry
    step = int(np.ceil((np.prod(grid.size) / MOST_VOXELS) ** (1 / 3)))
    if step <= 1:
        return transform
    array = np.ascontiguousarray(transform.array[::step, ::step, ::step])
    k, j, i = array.shape[:3]
    x, y, z = (step * each for each in grid.spacing)
    return DisplacementField(array, Geometry((i, j, k), (x, y, z), grid.origin, grid.direction))
