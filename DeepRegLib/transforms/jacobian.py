"""How much a transform stretches space, voxel by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.composite import Transform
from DeepRegLib.transforms.itk import displacement_on_grid

# A slab stays in the processor's cache, and little time passes between two polls.
VOXELS_AT_ONCE = 1 << 16


def jacobian_determinant(transform: Transform, geometry: Geometry, *, poll: Poll = never_cancel) -> Image:
    """Return det(dT/dx) in the world frame at every voxel of a grid.

    1 keeps volume, above 1 the moving tissue is larger than its place in the fixed image, 0 or below is a fold.
    Central differences inside, one-sided at the border; float32. `poll` is called now and then and may raise to stop.

    Examples
    --------
    >>> from DeepRegLib.transforms.linear import LinearTransform
    >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> jacobian_determinant(wider, Geometry((3, 3, 3))).array[1, 1, 1].item()
    2.0
    """
    displacement = displacement_on_grid(transform, geometry, poll=poll)
    result = np.empty(geometry.shape, dtype=np.float32)
    depth, height, width = geometry.shape
    thickness = max(1, VOXELS_AT_ONCE // (height * width))
    for start in range(0, depth, thickness):
        poll()
        stop = min(start + thickness, depth)
        # A slice more on either side, so that the differences are those of the whole volume.
        first, last = max(start - 1, 0), min(stop + 1, depth)
        jacobian = displacement_gradient(displacement[first:last], geometry)
        jacobian += np.eye(3)
        result[start:stop] = _determinant(jacobian[start - first : stop - first])
    return Image(result, geometry, "Jacobian determinant")


def displacement_gradient(displacement: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """Return du_a/dx_b in the world frame, shape ``(k, j, i, 3, 3)``, of a field of shape ``(k, j, i, 3)`` in mm.

    Examples
    --------
    >>> grid = Geometry((3, 3, 3), spacing=(2.0, 2.0, 2.0))
    >>> displacement = grid.points() * np.array([0.5, 0.0, 0.0])  # u = (x / 2, 0, 0)
    >>> displacement_gradient(displacement, grid)[1, 1, 1].tolist()
    [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    by_index = np.stack([_difference(displacement, axis) for axis in (2, 1, 0)], axis=-1)
    return by_index @ geometry.world_to_index[:3, :3]


def _difference(array: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    if array.shape[axis] < 2:
        return np.zeros_like(array)
    return np.asarray(np.gradient(array, axis=axis))


def _determinant(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the determinants of ``(..., 3, 3)``, written out: much quicker than an LU decomposition of each."""
    (a, b, c), (d, e, f), (g, h, i) = np.moveaxis(matrices, (-2, -1), (0, 1))
    determinant: NDArray[np.float64] = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return determinant
