"""Linear transforms: 12 numbers, exact to compose and invert."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import apply_matrix


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """An affine map of fixed points to moving points.

    Parameters
    ----------
    matrix
        ``(4, 4)`` float64, LPS mm to LPS mm, last row (0, 0, 0, 1).

    Raises
    ------
    InputError
        If the matrix is not affine, not finite, or singular.

    Examples
    --------
    >>> matrix = np.diag([2.0, 1.0, 1.0, 1.0])
    >>> transform = LinearTransform(matrix)  # the moving anatomy is twice as wide
    >>> transform.apply_to_points([3.0, 4.0, 5.0]).tolist()
    [6.0, 4.0, 5.0]
    """

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.all(np.isfinite(matrix)) or not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise InputError("The linear transform is not a finite affine 4 x 4 matrix.", "Check the transform file.")
        if abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise InputError("The linear transform is singular: it flattens space.", "Check the transform file.")
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> LinearTransform:
        """Return the transform that moves nothing.

        Examples
        --------
        >>> LinearTransform.identity().apply_to_points([1.0, 2.0, 3.0]).tolist()
        [1.0, 2.0, 3.0]
        """
        return cls(np.eye(4))

    def apply_to_points(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape ``(..., 3)``, LPS mm.

        Examples
        --------
        >>> LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0])).apply_to_points([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]]).tolist()
        [[2.0, 1.0, 1.0], [6.0, 0.0, 0.0]]
        """
        return apply_matrix(self.matrix, points)

    def inverse(self) -> LinearTransform:
        """Return the exact inverse.

        Examples
        --------
        >>> LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0])).inverse().apply_to_points([6.0, 4.0, 5.0]).tolist()
        [3.0, 4.0, 5.0]
        """
        return LinearTransform(np.linalg.inv(self.matrix).astype(np.float64))

    def after(self, first: LinearTransform) -> LinearTransform:
        """Return the transform that applies `first`, then this one.

        Examples
        --------
        >>> wider, shift = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0])), np.eye(4)
        >>> shift[0, 3] = 10.0
        >>> wider.after(LinearTransform(shift)).apply_to_points([1.0, 0.0, 0.0]).tolist()  # shifted, then widened
        [22.0, 0.0, 0.0]
        """
        return LinearTransform(self.matrix @ first.matrix)


def from_matrix_and_centre(
    matrix: NDArray[np.float64], translation: NDArray[np.float64], centre: NDArray[np.float64]
) -> LinearTransform:
    """Return ITK's x -> M (x - c) + c + t.

    Parameters
    ----------
    matrix, translation, centre
        M, shape ``(3, 3)``; t and c, shape ``(3,)``, LPS mm.

    Examples
    --------
    >>> wider = from_matrix_and_centre(np.diag([2.0, 1.0, 1.0]), np.zeros(3), np.array([10.0, 0.0, 0.0]))
    >>> wider.apply_to_points([[10.0, 0.0, 0.0], [11.0, 0.0, 0.0]]).tolist()  # about the centre
    [[10.0, 0.0, 0.0], [12.0, 0.0, 0.0]]
    """
    whole = np.eye(4)
    whole[:3, :3] = matrix
    # In this order, so that a file written and read again maps to the same bits.
    whole[:3, 3] = translation + (centre - matrix @ centre)
    return LinearTransform(whole)
