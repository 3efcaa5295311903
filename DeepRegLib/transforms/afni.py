"""Linear transforms of AFNI's 3dAllineate and 3dvolreg (`.aff12.1D`).

A line of twelve numbers, the first three rows of a matrix, takes points of the fixed image (AFNI's *base*) to points of
the moving one (its *source*). Both are in what AFNI calls DICOM order, which is LPS mm, but AFNI takes each image for
one that lies straight: the axes of a tilted one are turned to the nearest axes of the world, about the middle of its
first voxel. So a file means nothing without both images. (AFNI's help of `3dAllineate`, option -1Dmatrix_save, and of
`3drefit`, options -deoblique and -oblique_origin.)
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.matrices import inverted

NUMBERS = 12


def afni_transform(text: str, fixed: Geometry, moving: Geometry, name: str = "transform") -> LinearTransform:
    r"""Return the transform that an AFNI matrix stands for, fixed to moving, LPS mm.

    Parameters
    ----------
    text
        What the file holds: twelve numbers in a line, or in three of four; lines that begin with ``#`` are comments.
    fixed, moving
        Grids of AFNI's base and of its source.
    name
        Of the file, for errors.

    Raises
    ------
    InputError
        If the text is no matrix, holds several (of the frames of a series), or the matrix is singular.

    Examples
    --------
    >>> grid = Geometry((10, 10, 10))
    >>> text = "# 3dAllineate matrices (DICOM-to-DICOM, row-by-row):\n1 0 0 2  0 1 0 0  0 0 1 -3\n"
    >>> afni_transform(text, grid, grid).apply_to_points([4.0, 5.0, 6.0]).tolist()
    [6.0, 5.0, 3.0]
    """
    matrix = np.vstack([_numbers(text, name).reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
    inverted(matrix, name)  # or it is refused
    return LinearTransform(np.linalg.inv(_straightened(moving)) @ matrix @ _straightened(fixed))


def _numbers(text: str, name: str) -> NDArray[np.float64]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        rows = [[float(word) for word in line.split()] for line in lines]
    except ValueError as error:
        raise InputError(f"{name} holds something that is no number.", "Check the transform file.") from error
    if len(rows) > 1 and all(len(row) == NUMBERS for row in rows):
        raise InputError(
            f"{name} holds {len(rows)} transforms, one for each frame of a series.", "Keep the line of one frame."
        )
    if sum(map(len, rows)) != NUMBERS:
        raise InputError(f"{name} does not hold the twelve numbers of a matrix of AFNI.", "Check the transform file.")
    return np.concatenate([np.array(row, dtype=np.float64) for row in rows])


def _straightened(grid: Geometry) -> NDArray[np.float64]:
    """Return the ``(4, 4)`` matrix that takes LPS mm to where AFNI takes the same voxel to be."""
    nearest = max(permutations(range(3)), key=lambda rows: float(np.abs(grid.axes[rows, range(3)]).sum()))
    straight = np.zeros((3, 3))
    straight[nearest, range(3)] = np.where(grid.axes[nearest, range(3)] < 0, -1.0, 1.0)
    placed = np.eye(4)
    placed[:3, :3] = straight * grid.spacing
    placed[:3, 3] = grid.origin
    return placed @ grid.world_to_index
