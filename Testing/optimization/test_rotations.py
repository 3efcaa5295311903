"""Rotations: the grid covers all of them, and the exponential map is the one of the power series."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegLib.optimization.rotations import rotation_distance, rotation_from_vector, rotation_grid, skew


def random_rotations(count: int, seed: int = 0) -> np.ndarray:
    quaternions = np.random.default_rng(seed).normal(size=(count, 4))
    x, y, z, w = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def exponential(matrix: np.ndarray) -> np.ndarray:
    """Matrix exponential by its power series."""
    term = result = np.eye(3)
    for n in range(1, 40):
        term = term @ matrix / n
        result = result + term
    return result


@pytest.mark.parametrize("angle", [20.0, 30.0, 45.0])
def test_every_rotation_has_a_near_neighbour(angle):
    grid = rotation_grid(angle)
    nearest = np.array([rotation_distance(grid, rotation).min() for rotation in random_rotations(400)])
    assert nearest.max() < 1.25 * angle
    assert 0.4 * angle < nearest.mean() < 0.7 * angle


def test_the_grid_holds_proper_rotations_and_those_of_the_cube_first():
    grid = rotation_grid(30)
    np.testing.assert_allclose(grid @ grid.transpose(0, 2, 1), np.broadcast_to(np.eye(3), grid.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(grid), 1)
    np.testing.assert_array_equal(grid[0], np.eye(3))
    cube = {tuple(matrix.astype(int).ravel()) for matrix in grid[:24]}
    assert len(cube) == 24
    np.testing.assert_array_equal(np.abs(grid[:24]).sum((1, 2)), 3)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 0.3, 2.0, np.pi, 5.0])
def test_the_exponential_map(angle):
    axes = np.random.default_rng(1).normal(size=(5, 3))
    vectors = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    found = rotation_from_vector(torch.from_numpy(vectors)).numpy()
    for vector, matrix in zip(vectors, found, strict=True):
        np.testing.assert_allclose(matrix, exponential(skew(torch.from_numpy(vector)).numpy()), atol=1e-10)


def test_the_exponential_map_in_single_precision_stays_a_rotation():
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 2
    matrices = rotation_from_vector(vectors)
    torch.testing.assert_close(matrices @ matrices.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)


def test_skew_is_the_cross_product():
    a, b = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close((skew(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))


def test_rotation_distance():
    turn = rotation_from_vector(torch.tensor([0.0, 0.0, np.radians(50)], dtype=torch.float64)).numpy()
    other = random_rotations(1)[0]
    assert rotation_distance(other @ turn, other) == pytest.approx(50)
    assert rotation_distance(other, other) == pytest.approx(0, abs=1e-5)
