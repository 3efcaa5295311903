"""Grids and frames: where the voxels of an image lie in the world (LPS, mm)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError

ORTHONORMALITY_TOLERANCE = 1e-3
# Between directions; over a thousand voxels an axis that is off by so little ends a thousandth of one away.
SAME_AXES = 1e-6
# In mm; numbers beyond these are damage. Stages of microscopes count from far off, and see nanometres.
FARTHEST = 1e6
SMALLEST_SPACING, LARGEST_SPACING = 1e-6, 1e4
IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Geometry:
    """A regular 3-D grid in the world.

    Parameters
    ----------
    size
        Voxels along the i, j and k axis. Arrays on this grid have shape ``(k, j, i)``.
    spacing
        Distance between voxel centres along i, j, k in mm.
    origin
        World position (LPS, mm) of the centre of voxel (0, 0, 0).
    direction
        Nine direction cosines, row by row; column a is the world direction of index axis a.

    Raises
    ------
    InputError
        If a size is below 1, a number is not finite or beyond any scan, a spacing is not positive, or the direction is
        not orthonormal.

    Examples
    --------
    >>> grid = Geometry(size=(4, 3, 2), spacing=(1.0, 2.0, 5.0), origin=(10.0, 0.0, 0.0))
    >>> grid.shape  # arrays are (k, j, i)
    (2, 3, 4)
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY_DIRECTION

    def __post_init__(self) -> None:
        if np.size(self.size) != 3 or min(self.size) < 1:
            raise InputError(f"A grid of size {self.size} is not a 3-D volume.", "Give a volume with three axes.")
        numbers = np.array([*self.spacing, *self.origin, *self.direction], dtype=np.float64)
        if numbers.size != 15 or not np.all(np.isfinite(numbers)):
            raise InputError(
                f"The grid's spacing {self.spacing}, origin {self.origin} or direction {self.direction} is not finite.",
                "Repair the image header.",
            )
        if min(self.spacing) <= 0:
            raise InputError(f"The voxel spacing {self.spacing} is not positive.", "Repair the image header.")
        if min(self.spacing) < SMALLEST_SPACING or max(self.spacing) > LARGEST_SPACING:
            raise InputError(
                f"A voxel spacing of {_listed(self.spacing)} mm is no scan's: it must lie between {SMALLEST_SPACING:g} "
                f"and {LARGEST_SPACING:g} mm.",
                "Repair the image header.",
            )
        if np.abs(self.origin).max() > FARTHEST:
            raise InputError(
                f"An origin of {_listed(self.origin)} mm is farther away than any scan lies.",
                "Repair the image header.",
            )
        axes = self.axes
        if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHONORMALITY_TOLERANCE:
            raise InputError(
                f"The direction matrix {tuple(round(d, 4) for d in self.direction)} is degenerate or sheared.",
                "Repair the image header, or resample the image onto an orthogonal grid.",
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape ``(k, j, i)``.

        Examples
        --------
        >>> Geometry((4, 3, 2)).shape
        (2, 3, 4)
        """
        return self.size[2], self.size[1], self.size[0]

    @property
    def axes(self) -> NDArray[np.float64]:
        """Direction cosines as a ``(3, 3)`` matrix, one index axis a column.

        Examples
        --------
        >>> Geometry((4, 3, 2)).axes.tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        """
        return np.array(self.direction, dtype=np.float64).reshape(3, 3)

    @property
    def index_to_world(self) -> NDArray[np.float64]:
        """``(4, 4)`` matrix taking an index (i, j, k) to LPS mm.

        Examples
        --------
        >>> grid = Geometry((4, 3, 2), spacing=(1.0, 2.0, 5.0), origin=(10.0, 0.0, 0.0))
        >>> (grid.index_to_world @ [1, 1, 1, 1]).tolist()
        [11.0, 2.0, 5.0, 1.0]
        """
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes * np.array(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def world_to_index(self) -> NDArray[np.float64]:
        """``(4, 4)`` matrix taking LPS mm to a continuous index (i, j, k).

        Examples
        --------
        >>> grid = Geometry((4, 3, 2), spacing=(1.0, 2.0, 5.0), origin=(10.0, 0.0, 0.0))
        >>> (grid.world_to_index @ [11, 2, 5, 1]).tolist()
        [1.0, 1.0, 1.0, 1.0]
        """
        return np.linalg.inv(self.index_to_world).astype(np.float64)

    @property
    def extent(self) -> NDArray[np.float64]:
        """Edge lengths in mm along i, j, k, voxel borders included.

        Examples
        --------
        >>> Geometry((4, 3, 2), spacing=(1.0, 2.0, 5.0)).extent.tolist()
        [4.0, 6.0, 10.0]
        """
        return np.array(self.size) * np.array(self.spacing)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in mm^3.

        Examples
        --------
        >>> Geometry((4, 3, 2), spacing=(1.0, 2.0, 5.0)).voxel_volume
        10.0
        """
        return float(np.prod(self.spacing))

    @property
    def centre(self) -> NDArray[np.float64]:
        """World position (LPS, mm) of the middle of the grid.

        Examples
        --------
        >>> Geometry((4, 3, 2)).centre.tolist()
        [1.5, 1.0, 0.5]
        """
        return self.to_world((np.array(self.size) - 1) / 2)

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Take continuous indices (i, j, k), shape ``(..., 3)``, to LPS mm.

        Examples
        --------
        >>> grid = Geometry((4, 3, 2), spacing=(1.0, 2.0, 5.0), origin=(10.0, 0.0, 0.0))
        >>> grid.to_world([[0, 0, 0], [1, 0, 0.5]]).tolist()
        [[10.0, 0.0, 0.0], [11.0, 0.0, 2.5]]
        """
        return apply_matrix(self.index_to_world, index)

    def to_index(self, points: ArrayLike) -> NDArray[np.float64]:
        """Take LPS mm points, shape ``(..., 3)``, to continuous indices (i, j, k).

        Examples
        --------
        >>> Geometry((4, 3, 2), spacing=(1.0, 2.0, 5.0)).to_index([2.0, 1.0, 5.0]).tolist()
        [2.0, 0.5, 1.0]
        """
        return apply_matrix(self.world_to_index, points)

    def points(self, slab: slice = slice(None)) -> NDArray[np.float64]:
        """World position (LPS, mm) of every voxel centre, or of the slices k of a slab, shape ``(k, j, i, 3)``.

        Examples
        --------
        >>> Geometry((4, 3, 2)).points().shape
        (2, 3, 4, 3)
        >>> Geometry((4, 3, 2)).points()[1, 2, 3].tolist()  # of array element (k, j, i), as (x, y, z)
        [3.0, 2.0, 1.0]
        """
        axes = [np.arange(n, dtype=np.float64) for n in self.shape]
        k, j, i = np.meshgrid(axes[0][slab], *axes[1:], indexing="ij")
        return self.to_world(np.stack([i, j, k], axis=-1))

    def corners(self) -> NDArray[np.float64]:
        """World positions (LPS, mm) of the eight outer corners of the voxel box, shape ``(8, 3)``.

        Examples
        --------
        >>> Geometry((4, 3, 2)).corners()[0].tolist()  # half a voxel outside the first centre
        [-0.5, -0.5, -0.5]
        """
        steps = np.array([[i, j, k] for k in (0, 1) for j in (0, 1) for i in (0, 1)], dtype=np.float64)
        return self.to_world(steps * np.array(self.size) - 0.5)

    def resized(self, spacing: ArrayLike, margin: float = 0.0) -> Geometry:
        """Return a grid of the same orientation covering this one with another spacing.

        Parameters
        ----------
        spacing
            New spacing along i, j, k in mm.
        margin
            Distance in mm by which the new grid reaches past this one on every side.

        Returns
        -------
        Geometry
            Centred on this grid, its voxel box at least as large as this grid's box plus the margin.

        Examples
        --------
        >>> grid = Geometry((8, 8, 8))
        >>> grid.resized(2.0).size
        (4, 4, 4)
        >>> grid.resized(2.0, margin=1.0).size
        (5, 5, 5)
        """
        step = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,))
        size = np.maximum(np.ceil((self.extent + 2 * margin) / step - 1e-6), 1).astype(int)
        return self.recentred(size, step)

    def planes(self, first: int, last: int) -> Geometry:
        """Return the grid of the planes k from `first` up to, but without, `last`; those past the end are left out.

        Examples
        --------
        >>> Geometry((4, 3, 10)).planes(8, 12).size
        (4, 3, 2)
        """
        stop = min(last, self.size[2])
        x, y, z = self.to_world((0, 0, first)).tolist()
        return replace(self, size=(*self.size[:2], stop - first), origin=(x, y, z))

    def padded(self, before: ArrayLike, after: ArrayLike) -> Geometry:
        """Return this grid with so many more voxels along i, j, k before its first and behind its last ones.

        Examples
        --------
        >>> grid = Geometry((4, 3, 2)).padded((1, 0, 0), (2, 0, 0))
        >>> grid.size, grid.origin
        ((7, 3, 2), (-1.0, 0.0, 0.0))
        """
        first, last = np.asarray(before, dtype=int), np.asarray(after, dtype=int)
        i, j, k = (np.array(self.size) + first + last).tolist()
        x, y, z = self.to_world(-first).tolist()
        return replace(self, size=(i, j, k), origin=(x, y, z))

    def recentred(self, size: ArrayLike, spacing: ArrayLike) -> Geometry:
        """Return a grid of the given size and spacing with this grid's centre and direction.

        Examples
        --------
        >>> grid = Geometry((8, 8, 8))
        >>> bool((grid.recentred((2, 2, 2), (4.0, 4.0, 4.0)).centre == grid.centre).all())
        True
        """
        count = np.asarray(size, dtype=int)
        step = np.asarray(spacing, dtype=np.float64)
        origin = self.centre - self.axes @ (step * (count - 1) / 2)
        return Geometry(
            (int(count[0]), int(count[1]), int(count[2])),
            (float(step[0]), float(step[1]), float(step[2])),
            (float(origin[0]), float(origin[1]), float(origin[2])),
            self.direction,
        )

    def has_axes_of(self, other: Geometry) -> bool:
        """Tell whether the axes of both grids are parallel and run the same way, to a thousandth of a voxel.

        Examples
        --------
        >>> flipped = Geometry((4, 3, 2), direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
        >>> Geometry((9, 9, 9)).has_axes_of(flipped)
        False
        """
        return bool(np.allclose(self.axes, other.axes, rtol=0, atol=SAME_AXES))

    def is_close(self, other: Geometry, tolerance: float = 1e-2) -> bool:
        """Tell whether both grids have the same size and their corners agree to `tolerance` voxels.

        Examples
        --------
        >>> Geometry((4, 3, 2)).is_close(Geometry((4, 3, 2), origin=(0.001, 0.0, 0.0)))
        True
        """
        if self.size != other.size:
            return False
        return bool(np.abs(self.corners() - other.corners()).max() <= tolerance * min(self.spacing))


def geometry_from(table: Mapping[str, Any]) -> Geometry:
    """Return the grid that its fields as plain values make, such as those of a JSON file.

    Raises
    ------
    KeyError, TypeError, ValueError
        If one is missing, or they make no grid.

    Examples
    --------
    >>> from dataclasses import asdict
    >>> grid = Geometry((4, 3, 2), (1.0, 1.0, 2.0))
    >>> geometry_from(asdict(grid)) == grid
    True
    """
    return Geometry(*(tuple(table[name]) for name in ("size", "spacing", "origin", "direction")))


def apply_matrix(matrix: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    """Apply a ``(4, 4)`` affine matrix to points of shape ``(..., 3)``.

    Examples
    --------
    >>> shift = np.eye(4)
    >>> shift[:3, 3] = (1.0, 2.0, 3.0)
    >>> apply_matrix(shift, [[0.0, 0.0, 0.0], [5.0, 5.0, 5.0]]).tolist()
    [[1.0, 2.0, 3.0], [6.0, 7.0, 8.0]]
    """
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def _listed(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
