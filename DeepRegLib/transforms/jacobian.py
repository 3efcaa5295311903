"""How much a transform stretches space, voxel by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.transforms.composite import Transform
from DeepRegLib.transforms.io import displacement_on_grid


def jacobian_determinant(transform: Transform, geometry: Geometry) -> Image:
    """Return det(dT/dx) in the world frame at every voxel of a grid.

    1 keeps volume, above 1 the moving tissue is larger than its place in the fixed image, 0 or below is a fold.
    Central differences inside, one-sided at the border; float32.
    """
    jacobian = displacement_gradient(displacement_on_grid(transform, geometry), geometry)
    jacobian += np.eye(3)
    return Image(np.linalg.det(jacobian).astype(np.float32), geometry, "Jacobian determinant")


def displacement_gradient(displacement: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """Return du_a/dx_b in the world frame, shape ``(k, j, i, 3, 3)``, of a field of shape ``(k, j, i, 3)`` in mm."""
    by_index = np.stack([_difference(displacement, axis) for axis in (2, 1, 0)], axis=-1)
    return by_index @ geometry.world_to_index[:3, :3]


def _difference(array: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    if array.shape[axis] < 2:
        return np.zeros_like(array)
    return np.asarray(np.gradient(array, axis=axis))
