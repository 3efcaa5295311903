"""Landmark pairs from two files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_landmark_pairs(fixed: Path, moving: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read two point lists whose rows belong together.

    Raises
    ------
    InputError
        If a file cannot be read or they hold different numbers of points.
    """
    from DeepRegLib.landmarks import read_points

    points = read_points(fixed), read_points(moving)
    if len(points[0]) != len(points[1]):
        raise InputError(
            f"{fixed} holds {len(points[0])} points and {moving} holds {len(points[1])}.",
            "Give both files the same number of points, in the same order.",
        )
    return points
