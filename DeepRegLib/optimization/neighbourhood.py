"""Poses about a given one: for scans that are tracked, and so start near where they belong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.monitoring import Poll
from DeepRegLib.optimization.linear import score_poses
from DeepRegLib.optimization.rotations import rotation_from_vector
from DeepRegLib.optimization.working import WorkingImage, weighted_centroid, weighted_radius

STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the reach
TURN = 0.5  # of the reach, as the arc at the anatomy's radius
MOST_DEGREES = 20.0
AT_ONCE = 16  # poses


def poses_around(fixed: WorkingImage, pose: NDArray[np.float64], reach: float) -> list[NDArray[np.float64]]:
    """Return a pose, and the same displaced within a ball about it, each turned about each axis and not.

    Parameters
    ----------
    fixed
        What turns: about the centre of its weight.
    pose
        World matrix ``(4, 4)``, fixed to moving.
    reach
        Radius of the ball, mm.
    """
    centre = weighted_centroid(fixed)
    angle = min(TURN * reach / weighted_radius(fixed, centre), np.radians(MOST_DEGREES))
    turns = np.concatenate([np.zeros((1, 3)), angle * np.eye(3), -angle * np.eye(3)])
    shifts = [shift for shift in itertools.product(STEPS, repeat=3) if np.linalg.norm(shift) <= 1]
    rotations = rotation_from_vector(torch.from_numpy(turns)).numpy()
    found = []
    for rotation, shift in itertools.product(rotations, sorted(shifts, key=lambda each: float(np.linalg.norm(each)))):
        moved = np.eye(4)
        moved[:3, :3] = rotation
        moved[:3, 3] = centre - rotation @ centre + reach * np.array(shift)
        found.append(pose @ moved)
    return found


def best_around(
    fixed: WorkingImage,
    moving: WorkingImage,
    poses: Sequence[NDArray[np.float64]],
    similarity: str,
    count: int,
    poll: Poll,
) -> list[NDArray[np.float64]]:
    """Return the first pose, and the best others by `DeepRegLib.optimization.linear.score_poses`, best first."""
    scores = []
    for begin in range(0, len(poses), AT_ONCE):
        poll()
        scores += score_poses(fixed, moving, poses[begin : begin + AT_ONCE], similarity).tolist()
    order = np.argsort(-np.array(scores), kind="stable")
    return [poses[0], *(poses[n] for n in order.tolist() if n)][: max(count, 1)]
