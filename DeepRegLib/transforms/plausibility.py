"""Whether a transform can be one between scans: what a file holds, or a scene, may be anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import FARTHEST
from DeepRegLib.transforms.composite import Transform, parts_of
from DeepRegLib.transforms.linear import LinearTransform

LARGEST_DISPLACEMENT = 1e4  # mm


def require_plausible(transform: Transform) -> None:
    """Make sure that a transform leads nowhere beyond all scans.

    Raises
    ------
    InputError
        If a displacement is longer than 10 m along an axis, or a linear part holds a number beyond a million.

    Examples
    --------
    >>> require_plausible(LinearTransform.identity())
    """
    for part in parts_of(transform):
        linear = isinstance(part, LinearTransform)
        most = np.abs(part.matrix).max() if isinstance(part, LinearTransform) else _longest(part.array)
        if most > (FARTHEST if linear else LARGEST_DISPLACEMENT):
            what = "The linear transform holds a number" if linear else "The displacement field holds a displacement"
            raise InputError(
                f"{what} of {most:g}{'' if linear else ' mm'}: it leads farther away than any scan lies.",
                "Check the transform file, or the unit of what it holds.",
            )


def _longest(array: NDArray[np.floating]) -> float:
    return float(max(array.max(), -array.min())) if array.size else 0.0
