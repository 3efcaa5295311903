"""Displacement fields: a vector in mm at every voxel of a grid, linear in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry

POINTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """The map x -> x + u(x), u trilinear on a grid and zero outside its voxel box, as ITK has it.

    Parameters
    ----------
    array
        Displacements in mm, LPS, shape ``(k, j, i, 3)``, float32 or float64.
    geometry
        The grid the displacements live on.

    Raises
    ------
    InputError
        If the shape does not fit the grid or a displacement is not finite.

    Examples
    --------
    >>> grid = Geometry((4, 4, 4), spacing=(10.0, 10.0, 10.0))
    >>> vectors = np.zeros((*grid.shape, 3))
    >>> vectors[..., 0] = 2.0  # mm, along x
    >>> field = DisplacementField(vectors, grid)
    >>> field.apply_to_points([[5.0, 5.0, 5.0], [500.0, 0.0, 0.0]]).tolist()  # nothing moves outside the grid
    [[7.0, 5.0, 5.0], [500.0, 0.0, 0.0]]
    """

    array: NDArray[np.floating]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != (*self.geometry.shape, 3):
            raise InputError(
                f"The displacement field has shape {self.array.shape}, its grid needs {(*self.geometry.shape, 3)}.",
                "Give one (x, y, z) vector in mm a voxel.",
            )
        if not _all_finite(self.array):
            raise InputError("The displacement field holds NaN or infinite vectors.", "Compute the field again.")

    def apply_to_points(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape ``(..., 3)``, LPS mm.

        Examples
        --------
        >>> grid = Geometry((2, 1, 1), spacing=(10.0, 1.0, 1.0))
        >>> field = DisplacementField(np.array([[[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]]]), grid)
        >>> field.apply_to_points([2.5, 0.0, 0.0]).tolist()  # a quarter of the way from 0 to 4 mm
        [3.5, 0.0, 0.0]
        """
        world = np.asarray(points, dtype=np.float64)
        flat = world.reshape(-1, 3)
        moved = np.empty_like(flat)
        for start in range(0, len(flat), POINTS_AT_ONCE):
            part = flat[start : start + POINTS_AT_ONCE]
            moved[start : start + POINTS_AT_ONCE] = part + self.displacement_at(part)
        return moved.reshape(world.shape)

    def displacement_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate the displacement (mm, LPS) at points of shape ``(n, 3)``, LPS mm.

        Examples
        --------
        >>> grid = Geometry((2, 1, 1), spacing=(10.0, 1.0, 1.0))
        >>> field = DisplacementField(np.array([[[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]]]), grid)
        >>> field.displacement_at(np.array([[2.5, 0.0, 0.0]])).tolist()
        [[1.0, 0.0, 0.0]]
        """
        size = np.array(self.geometry.size)
        index = self.geometry.to_index(points)
        # Both of ITK's rules: the box reaches half a voxel past the outer centres, and there the edge value holds.
        inside = np.all((index >= -0.5) & (index < size - 0.5), axis=1)
        index = np.clip(np.where(inside[:, None], index, 0.0), 0, size - 1)
        low = np.minimum(index.astype(np.int64), np.maximum(size - 2, 0))
        high = np.minimum(low + 1, size - 1)
        fraction = index - low
        vectors = self.array.reshape(-1, 3)
        result = np.zeros((len(points), 3))
        for corner in range(8):
            upper = [(corner >> axis) & 1 for axis in range(3)]
            weight = np.ones(len(points))
            for axis in range(3):
                weight *= fraction[:, axis] if upper[axis] else 1 - fraction[:, axis]
            i, j, k = ((high if upper[axis] else low)[:, axis] for axis in range(3))
            result += weight[:, None] * vectors[(k * size[1] + j) * size[0] + i]
        return np.where(inside[:, None], result, 0.0)


def _all_finite(array: NDArray[np.floating]) -> bool:
    # Quicker than a mask: a sum is not finite if one of its terms is not. It may also overflow, so only then all count.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return True
    return bool(np.all(np.isfinite(array)))
