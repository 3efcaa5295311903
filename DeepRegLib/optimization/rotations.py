"""Rotations: an even sampling of all of them, and the exponential map."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PHI = np.sqrt(2.0)
PSI = 1.533751168755204288118041  # root of x^4 = x + 4 (Alexa, 2022)


def rotation_grid(angle: float) -> NDArray[np.float64]:
    """Return rotations so that every rotation has a neighbour within about `angle` degrees, on average 0.6 `angle`.

    The identity and the other 23 rotations of the cube come first, since scanners differ most often by these; then a
    super-Fibonacci spiral over all rotations (Alexa, "Super-Fibonacci Spirals", CVPR 2022).

    Returns
    -------
    ndarray
        Shape ``(n, 3, 3)``, float64.
    """
    # The half sphere of unit quaternions has volume pi^2; rotating by an angle moves a quaternion by half of it.
    count = int(np.ceil(np.pi**2 / (np.radians(angle) / 2) ** 3 / 2))
    return np.concatenate([_cube_rotations(), _from_quaternions(_super_fibonacci(count))])


def skew(vector: Tensor) -> Tensor:
    """Return the cross-product matrices, shape ``(..., 3, 3)``, of vectors of shape ``(..., 3)``."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape[:-1], 3, 3)


def rotation_from_vector(vector: Tensor) -> Tensor:
    """Return the rotation about each axis by its length in radians (Rodrigues' formula)."""
    angle = vector.norm(dim=-1, keepdim=True)[..., None]
    safe = angle.clamp_min(1e-12)
    cross = skew(vector)
    identity = torch.eye(3, device=vector.device, dtype=vector.dtype)
    first = torch.where(angle < 1e-6, torch.ones_like(angle), torch.sin(safe) / safe)
    second = torch.where(angle < 1e-6, torch.full_like(angle, 0.5), (1 - torch.cos(safe)) / safe**2)
    return identity + first * cross + second * cross @ cross


def rotation_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angle in degrees between rotation matrices of shape ``(..., 3, 3)``."""
    trace = np.einsum("...ij,...ij->...", a, b)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def _cube_rotations() -> NDArray[np.float64]:
    found = []
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        for signs in np.ndindex(2, 2, 2):
            matrix = np.zeros((3, 3))
            matrix[range(3), axes] = 1 - 2 * np.array(signs)
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return np.array(found)


def _super_fibonacci(count: int) -> NDArray[np.float64]:
    s = np.arange(count) + 0.5
    t = s / count
    r, big_r = np.sqrt(t), np.sqrt(1 - t)
    alpha, beta = 2 * np.pi * s / PHI, 2 * np.pi * s / PSI
    return np.stack([r * np.sin(alpha), r * np.cos(alpha), big_r * np.sin(beta), big_r * np.cos(beta)], axis=1)


def _from_quaternions(q: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, z, w = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
