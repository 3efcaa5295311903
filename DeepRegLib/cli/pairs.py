"""Landmark pairs from two files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from DeepRegLib.image import Image

logger = logging.getLogger(__name__)


def read_landmark_pairs(fixed: Path, moving: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read two point lists and pair them, by label where both have labels, and log which points have no partner.

    Raises
    ------
    InputError
        If a file cannot be read or the points cannot be paired.
    """
    from DeepRegLib.landmarks import paired, read_point_list

    pairs = paired(read_point_list(fixed), read_point_list(moving))
    for remark in pairs.remarks:
        logger.warning("%s", remark)
    return pairs.fixed, pairs.moving


def warn_of_points_outside(
    fixed_landmarks: NDArray[np.float64] | None,
    moving_landmarks: NDArray[np.float64] | None,
    fixed: Image,
    moving: Image,
) -> None:
    """Log a warning for each scan that some of its landmarks lie outside of."""
    from DeepRegLib.landmarks import outside_message

    for points, image, side in ((fixed_landmarks, fixed, "fixed"), (moving_landmarks, moving, "moving")):
        if points is None:
            continue
        for warning in outside_message(points, image.geometry, f"the {side} landmarks", image.name):
            logger.warning("%s", warning)
