"""Starting poses from landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import apply_matrix
from DeepRegLib.landmark_alignment import check_landmarks, rigid_from_landmarks
from DeepRegLib.transforms import LinearTransform
from Testing.synthetic import random_linear

POINTS = np.random.default_rng(0).normal(scale=40, size=(8, 3)) + np.array([100, -50, 20])


def is_rotation(matrix: np.ndarray) -> bool:
    return np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3)) and np.linalg.det(matrix[:3, :3]) > 0


@pytest.mark.parametrize("angle", [0.0, 30.0, 120.0, 180.0])
@pytest.mark.parametrize("count", [3, 4, 8])
def test_exact_landmarks_give_the_exact_pose(angle, count):
    truth = random_linear(4, angle=angle, shift=150)
    fixed = POINTS[:count]
    np.testing.assert_allclose(rigid_from_landmarks(fixed, truth.apply_to_points(fixed)), truth.matrix, atol=1e-8)


def test_noisy_landmarks_give_the_least_squares_pose():
    truth = random_linear(4, angle=60, shift=30)
    moving = truth.apply_to_points(POINTS) + np.random.default_rng(1).normal(scale=2, size=POINTS.shape)
    best = rigid_from_landmarks(POINTS, moving)
    assert is_rotation(best)

    def error(matrix: np.ndarray) -> float:
        return float(np.sum((apply_matrix(matrix, POINTS) - moving) ** 2))

    for seed in range(20):
        nudged = random_linear(seed, angle=1, shift=0.5).after(LinearTransform(best))
        assert error(nudged.matrix) > error(best)


@pytest.mark.parametrize("flat", [False, True])
def test_mirrored_landmarks_do_not_mirror_the_pose(flat):
    fixed = POINTS * [1, 1, 0] if flat else POINTS
    assert is_rotation(rigid_from_landmarks(fixed, fixed * [-1, 1, 1]))


@pytest.mark.parametrize(
    "fixed",
    [
        np.array([[1.0, 2, 3]]),
        np.array([[1.0, 2, 3], [40, 5, 6]]),
        np.array([[0.0, 0, 0], [10, 10, 10], [25, 25, 25]]),
        np.array([[5.0, 5, 5], [5, 5, 5], [5, 5, 5]]),
    ],
    ids=["one", "two", "on a line", "at one place"],
)
def test_what_leaves_the_rotation_open_gives_a_translation(fixed):
    matrix = rigid_from_landmarks(fixed, fixed + np.array([7, -8, 9]))
    np.testing.assert_allclose(matrix[:3, :3], np.eye(3))
    np.testing.assert_allclose(matrix[:3, 3], [7, -8, 9])


def test_landmarks_are_checked():
    assert check_landmarks(None, None) is None
    fixed, moving = check_landmarks([[1, 2, 3]], np.array([[4, 5, 6]], dtype=np.float32))
    assert fixed.dtype == moving.dtype == np.float64
    for wrong in (
        (POINTS, None),
        (None, POINTS),
        (POINTS, POINTS[:3]),
        (POINTS[:, :2], POINTS[:, :2]),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (POINTS[0], POINTS[0]),
        (POINTS, np.where(POINTS > 100, np.nan, POINTS)),
        (POINTS, np.where(POINTS > 100, np.inf, POINTS)),
    ):
        with pytest.raises(InputError, match="andmark"):
            check_landmarks(*wrong)
