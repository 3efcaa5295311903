"""Working images of the synthetic phantom, exact at any place: nothing is interpolated before the code under test."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.transforms import LinearTransform
from Testing.synthetic import CENTRE, blob_values

RADIUS = 45.0
SPACING = 3.0


def cube(side: int = 40, spacing: float = SPACING, centre: NDArray[np.float64] = CENTRE) -> Geometry:
    """Return an isotropic grid of `side` voxels a side about `centre`."""
    x, y, z = centre - spacing * (side - 1) / 2
    return Geometry((side, side, side), (spacing,) * 3, (float(x), float(y), float(z)))


def phantom(
    geometry: Geometry, transform: LinearTransform | None = None, *, seed: int = 0, radius: float = RADIUS
) -> WorkingImage:
    """Return the phantom as it looks after `transform` has moved every point of it; all of it counts."""
    points = geometry.points()
    back = points if transform is None else transform.inverse().apply_to_points(points)
    return image_of(blob_values(back, seed, radius) / 1000, geometry)


def image_of(values: NDArray[np.float64], geometry: Geometry, weight: NDArray | None = None) -> WorkingImage:
    """Return a working image of an array; it counts everywhere unless weights are given."""
    known = np.ones(geometry.shape) if weight is None else weight
    return WorkingImage(as_tensor(np.clip(values, 0, 1)), as_tensor(known), geometry)


def as_tensor(array: NDArray) -> torch.Tensor:
    """Return a float32 tensor of an array."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def depth(points: NDArray[np.float64], radius: float = RADIUS) -> NDArray[np.float64]:
    """Return where points ``(..., 3)`` lie in the phantom: 0 in its middle, 1 on its outline."""
    return np.asarray(np.linalg.norm((points - CENTRE) / (radius * np.array([0.85, 1.0, 0.8])), axis=-1))


def with_foreground_weight(image: WorkingImage) -> WorkingImage:
    """Return the image with weight on the phantom and its outline only, as the pipeline gives it."""
    return WorkingImage(image.intensity, as_tensor(depth(image.geometry.points()) < 1.15), image.geometry)


def in_foreground(geometry: Geometry, radius: float = RADIUS) -> NDArray[np.float64]:
    """Return the voxel centres inside the phantom, ``(n, 3)``, LPS mm."""
    points = geometry.points().reshape(-1, 3)
    return points[depth(points, radius) < 1]


def mean_distance(matrix: NDArray[np.float64], truth: LinearTransform, points: NDArray[np.float64]) -> float:
    """Return how far two linear maps take points apart, on average, in mm."""
    found = LinearTransform(matrix).apply_to_points(points)
    return float(np.linalg.norm(found - truth.apply_to_points(points), axis=1).mean())
