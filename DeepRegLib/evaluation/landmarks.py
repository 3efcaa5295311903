"""How far corresponding landmarks end from each other, and whether they fit together at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.landmark_alignment import rigid_from_landmarks
from DeepRegLib.transforms import Transform

FEWEST_FITTED = 5
MOST_LEFT_OUT = 50


def target_registration_error(
    transform: Transform, fixed_points: ArrayLike, moving_points: ArrayLike
) -> NDArray[np.float64]:
    """Return the distance in mm between each transformed fixed landmark and its moving landmark.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    fixed_points, moving_points
        Corresponding landmarks, shape ``(n, 3)``, LPS mm.

    Returns
    -------
    NDArray
        Shape ``(n,)``.

    Raises
    ------
    InputError
        If the landmarks are not two equally long lists of 3-D points.

    References
    ----------
    Fitzpatrick and West, "The distribution of target registration error in rigid-body point-based registration",
    TMI 2001.
    """
    fixed = np.asarray(fixed_points, dtype=np.float64)
    moving = np.asarray(moving_points, dtype=np.float64)
    if fixed.ndim != 2 or fixed.shape[1] != 3 or fixed.shape != moving.shape:
        raise InputError(
            f"The landmarks have shapes {fixed.shape} and {moving.shape}.", "Give two (n, 3) lists in the same order."
        )
    return np.asarray(np.linalg.norm(transform.apply_to_points(fixed) - moving, axis=1))


@dataclass(frozen=True)
class LandmarkFit:
    """What pairs of landmarks say of themselves, without any image.

    Parameters
    ----------
    spread
        Root mean square distance of the fixed landmarks from their centre in mm.
    residual
        Mean distance in mm that is left when each pair is predicted by the best rigid map of the other pairs; NaN with
        fewer than five pairs, which say little of each other.
    """

    spread: float
    residual: float


def landmark_fit(fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> LandmarkFit:
    """Return how well pairs of landmarks fit each other.

    Parameters
    ----------
    fixed, moving
        Corresponding points ``(n, 3)``, LPS mm. In the wrong order, or with one axis turned round, they leave residuals
        about as large as their spread.
    """
    spread = float(np.sqrt(((fixed - fixed.mean(0)) ** 2).sum(1).mean()))
    if len(fixed) < FEWEST_FITTED:
        return LandmarkFit(spread, math.nan)
    chosen = np.unique(np.linspace(0, len(fixed) - 1, min(len(fixed), MOST_LEFT_OUT)).astype(int))
    left = []
    for n in chosen:
        others = np.arange(len(fixed)) != n
        matrix = rigid_from_landmarks(fixed[others], moving[others])
        left.append(float(np.linalg.norm(matrix[:3, :3] @ fixed[n] + matrix[:3, 3] - moving[n])))
    return LandmarkFit(spread, float(np.mean(left)))


def count_outside(points: NDArray[np.float64], scan: Geometry, margin: float = 0.0) -> int:
    """Return how many points ``(n, 3)``, LPS mm, lie more than a margin in mm outside a scan's box."""
    index = scan.to_index(points)
    reach = 0.5 + margin / np.asarray(scan.spacing)
    return int(np.count_nonzero(np.any((index < -reach) | (index > np.asarray(scan.size) - 1 + reach), axis=1)))
