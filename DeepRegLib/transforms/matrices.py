"""What text files of linear transforms have in common: rows of numbers, and the world of the tool that wrote them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.transforms.linear import LinearTransform

# Takes RAS mm to LPS mm, and back.
RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def matrix_of_text(text: str, name: str) -> NDArray[np.float64]:
    r"""Return the four rows of four numbers that a text consists of.

    Raises
    ------
    InputError
        If it consists of anything else.

    Examples
    --------
    >>> matrix_of_text("1 0 0 5\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "shift.mat")[0].tolist()
    [1.0, 0.0, 0.0, 5.0]
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if [len(row) for row in rows] != [4] * 4:
        raise InputError(f"{name} does not hold four rows of four numbers.", "Check the transform file.")
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{name} holds something that is no number.", "Check the transform file.") from error


def from_ras(matrix: NDArray[np.float64]) -> LinearTransform:
    """Return the transform whose ``(4, 4)`` matrix takes fixed points to moving points in RAS mm.

    Examples
    --------
    >>> shift = np.eye(4)
    >>> shift[:3, 3] = (1.0, 2.0, 3.0)  # to the right, forwards, upwards
    >>> from_ras(shift).apply_to_points([0.0, 0.0, 0.0]).tolist()
    [-1.0, -2.0, 3.0]
    """
    return LinearTransform(RAS_LPS @ matrix @ RAS_LPS)


def inverted(matrix: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return the inverse of a ``(4, 4)`` matrix that a file holds the other way round.

    Raises
    ------
    InputError
        If it has none.

    Examples
    --------
    >>> inverted(np.diag([2.0, 1.0, 1.0, 1.0]), "wider.mat")[0, 0].item()
    0.5
    """
    try:
        return np.linalg.inv(matrix).astype(np.float64)
    except np.linalg.LinAlgError as error:
        raise InputError(f"{name} is singular: it flattens space.", "Check the transform file.") from error
