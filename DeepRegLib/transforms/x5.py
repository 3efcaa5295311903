"""Linear transforms in X5, the HDF5 format that nitransforms writes: fixed (reference) to moving, RAS mm.

Reading it needs h5py, which only this format does: it is not part of what DeepReg installs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.matrices import from_ras


def read_x5(path: Path) -> LinearTransform:
    """Read a file that holds one linear transform.

    Raises
    ------
    InputError
        If h5py is not installed, the file is no X5, or holds something else than one linear transform.

    Examples
    --------
    >>> read_x5(Path("nothing.x5"))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    InputError: nothing.x5 is not a readable X5 file. Give an .x5 file as nitransforms writes it.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} is an X5 file, and reading it needs h5py.", "Install h5py, or convert the file to .tfm."
        ) from error
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("Format") != "X5":
                raise InputError(f"{path} is HDF5, but not X5.", "Give an .x5 file as nitransforms writes it.")
            group = file["TransformGroup"]
            matrices = [_matrix_of(group[number], path) for number in sorted(group, key=int)]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a readable X5 file.", "Give an .x5 file as nitransforms writes it.") from error
    if len(matrices) != 1:
        raise InputError(f"{path} holds {len(matrices)} transforms.", "Give a file that holds one.")
    return from_ras(matrices[0])


def _matrix_of(node: Any, path: Path) -> NDArray[np.float64]:
    kind = node.attrs.get("Type")
    matrix = np.asarray(node["Transform"], dtype=np.float64) if kind == "linear" else np.zeros(0)
    if kind == "linear" and matrix.shape == (1, 4, 4):
        matrix = matrix[0]
    if matrix.shape != (4, 4):
        raise InputError(f"{path} holds a {kind} transform.", "Only one linear 4 x 4 matrix an entry is read.")
    return matrix
