"""How far corresponding landmarks end from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.transforms import Transform


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
