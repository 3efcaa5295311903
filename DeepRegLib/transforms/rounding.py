"""Displacements as multiples of a small step: the last digits of a float are noise, and noise does not compress."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms.composite import Transform, compose, parts_of
from DeepRegLib.transforms.displacement import DisplacementField

# At most these, of mm and of a voxel: what an inverse is solved to is some times more.
INVERSE_STEP, INVERSE_STEP_VOXELS = 2e-3, 2e-3


def inverse_step(geometry: Geometry) -> float:
    """Return the step in mm of an inverse's displacements on a grid, a power of two.

    Examples
    --------
    >>> inverse_step(Geometry((8, 8, 8))) == 2**-9
    True
    """
    return power_of_two(min(INVERSE_STEP, INVERSE_STEP_VOXELS * min(geometry.spacing)))


def rounded_inverse(inverse: Transform) -> Transform:
    """Return an inverse whose displacements are float32 multiples of the step of their grid, linear parts as they are.

    A file of it takes two thirds of the bytes, and holds the very numbers that were judged.

    Examples
    --------
    >>> field = DisplacementField(np.full((2, 2, 2, 3), 0.0051), Geometry((2, 2, 2)))
    >>> float(rounded_inverse(field).array.max()) == 3 * 2**-9
    True
    """
    return compose(*(_rounded_part(part) for part in parts_of(inverse)))


def rounded(array: NDArray[np.floating], step: float) -> NDArray[np.float32]:
    """Return an array with its values rounded to multiples of a step, float32, same shape.

    Examples
    --------
    >>> rounded(np.array([0.3, 0.7]), 0.5).tolist()
    [0.5, 0.5]
    """
    values = np.multiply(array, 1 / step, dtype=np.float64 if array.dtype == np.float64 else np.float32)
    np.rint(values, out=values)
    values *= step
    return values.astype(np.float32, copy=False)


def power_of_two(most: float) -> float:
    """Return the largest power of two that is no larger.

    Examples
    --------
    >>> power_of_two(0.3)
    0.25
    """
    return float(2.0 ** math.floor(math.log2(most)))


def _rounded_part(part: Transform) -> Transform:
    if not isinstance(part, DisplacementField):
        return part
    return DisplacementField(rounded(part.array, inverse_step(part.geometry)), part.geometry)
