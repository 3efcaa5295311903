"""Where a registration starts: scanner positions, landmark pairs, or a transform the user gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import FARTHEST

# Fixed and moving points ``(n, 3)``, LPS mm; row n of one belongs to row n of the other.
Landmarks = tuple[NDArray[np.float64], NDArray[np.float64]]

LEAST_SPREAD = 1e-3


def rigid_from_landmarks(fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rigid matrix that takes fixed landmarks nearest to their moving partners (least squares).

    Kabsch's solution; a translation where fewer than three pairs, or pairs on one line, leave the rotation open.

    Parameters
    ----------
    fixed, moving
        Points of shape ``(n, 3)``, LPS mm; row n of one belongs to row n of the other.

    Returns
    -------
    ndarray
        ``(4, 4)``, fixed to moving.
    """
    centre_f, centre_m = fixed.mean(0), moving.mean(0)
    left, spread, right = np.linalg.svd((fixed - centre_f).T @ (moving - centre_m))
    matrix = np.eye(4)
    if spread[1] > LEAST_SPREAD * max(spread[0], 1e-12):
        # The last axis is turned where needed, so that the result never mirrors.
        handedness = np.diag([1, 1, np.sign(np.linalg.det(right.T @ left.T))])
        matrix[:3, :3] = right.T @ handedness @ left.T
    matrix[:3, 3] = centre_m - matrix[:3, :3] @ centre_f
    return matrix


def check_landmarks(fixed: NDArray[np.floating] | None, moving: NDArray[np.floating] | None) -> Landmarks | None:
    """Return both landmark lists as float64 arrays, or None if neither was given.

    Raises
    ------
    InputError
        If only one was given, they differ in length, or they are not finite ``(n, 3)`` points.
    """
    if fixed is None and moving is None:
        return None
    if fixed is None or moving is None:
        raise InputError("Landmarks were given on one image only.", "Give both fixed and moving landmarks.")
    try:
        a, b = np.asarray(fixed, dtype=np.float64), np.asarray(moving, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("The landmarks are not lists of numbers.", "Give (n, 3) points in LPS mm.") from error
    if a.ndim != 2 or a.shape[1:] != (3,) or a.shape != b.shape or len(a) == 0:
        raise InputError(
            f"The landmarks have shapes {a.shape} and {b.shape}.", "Give as many fixed as moving points, (n, 3) each."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("A landmark position is NaN or infinite.", "Remove or place that landmark.")
    if max(np.abs(a).max(), np.abs(b).max()) > FARTHEST:
        raise InputError("A landmark lies farther away than any scan.", "Remove or place that landmark.")
    return a, b
