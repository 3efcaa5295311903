"""Head motion: six curves and the framewise displacement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.series.result import RigidMotion
from DeepRegLib.transforms import LinearTransform, Transform, linear_part

HEAD_RADIUS = 50.0  # mm, Power et al. 2012


def rigid_motion(transforms: Sequence[Transform], centre: NDArray[np.float64]) -> RigidMotion:
    """Return the curves of linear transforms about a centre, ``(3,)`` LPS mm."""
    linear = [linear_part(each) for each in transforms]
    rotations = np.array([_angles(each) for each in linear])
    translations = np.array([each.apply_to_points(centre) - centre for each in linear])
    arcs = np.deg2rad(rotations) * HEAD_RADIUS
    steps = np.abs(np.diff(np.concatenate([translations, arcs], axis=1), axis=0)).sum(axis=1)
    return RigidMotion(rotations, translations, np.concatenate([[0.0], steps]))


def _angles(transform: LinearTransform) -> NDArray[np.float64]:
    """Return the angles about x, y, z in degrees of R = Rz Ry Rx, of the rotation nearest to a matrix."""
    left, _, right = np.linalg.svd(transform.matrix[:3, :3])
    turn = left @ right
    y = -np.arcsin(np.clip(turn[2, 0], -1, 1))
    return np.rad2deg([np.arctan2(turn[2, 1], turn[2, 2]), y, np.arctan2(turn[1, 0], turn[0, 0])])
