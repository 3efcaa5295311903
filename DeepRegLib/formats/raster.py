"""What every format is read into, and how much of a file's claims can be true."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError

ORTHONORMALITY_TOLERANCE = 1e-3
LARGEST_HEADER = 1 << 20
MOST_VOXELS = 1 << 40
LARGEST_VALUE = float(np.finfo(np.float32).max)  # what computes with images does it in single precision


class DamagedFileError(InputError):
    """A file whose content contradicts its header, or a header that contradicts itself."""

    def __init__(self, message: str, hint: str = "Copy or export the file again.") -> None:
        super().__init__(message, hint)


@dataclass(frozen=True, eq=False)
class Raster:
    """Voxels of any number of axes and where they lie, as a file has them.

    Parameters
    ----------
    array
        Shape ``(..., k, j, i)``, or ``(..., k, j, i, channels)``.
    channels
        How many numbers a voxel has; the array has an axis for them only if there is more than one.
    spacing, origin
        One number an axis, in mm; the first three are those of i, j, k (LPS).
    direction
        ``(3, 3)``, one index axis a column; None if the file's axes are not orthonormal.
    marks
        What the file says of the meaning of its numbers, by the format's own names.
    remarks
        What the user should know of how it was read, one sentence each.
    """

    array: NDArray[np.generic]
    channels: int
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: NDArray[np.float64] | None
    marks: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Spooled:
    """Voxels that stay on disk until they are looked at.

    Parameters
    ----------
    raster
        Its array is that of the file, in the file's byte order and unscaled; it must not be written to.
    finished
        Makes of a copy of some of its voxels what reading the whole file would have made of them.
    """

    raster: Raster
    finished: Callable[[NDArray[Any]], NDArray[Any]]


def checked_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of an array's axes, if such an array can be.

    Raises
    ------
    DamagedFileError
        If an axis has no voxel, or there are more voxels than any file has.
    """
    if any(size < 1 for size in sizes) or math.prod(sizes) > MOST_VOXELS:
        text = " x ".join(str(size) for size in sizes[:8])
        raise DamagedFileError(f"{name} is damaged: its header claims {text} voxels.")
    return tuple(int(size) for size in sizes)


def numbers(name: str, key: str, text: str, count: int | None = None) -> list[float]:
    """Return the numbers of a header's line.

    Raises
    ------
    DamagedFileError
        If one is none, or there are more or fewer than `count`.
    """
    words = text.replace(",", " ").split()
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise DamagedFileError(f"{name} is damaged: {key} is {text[:60]!r} in its header.") from error
    if count is not None and len(values) != count:
        raise DamagedFileError(f"{name} is damaged: {key} has {len(values)} numbers in its header, not {count}.")
    return values


def whole_numbers(name: str, key: str, text: str, count: int | None = None) -> list[int]:
    """Return the whole numbers of a header's line, as `numbers` does."""
    values = numbers(name, key, text, count)
    if not all(math.isfinite(value) and value == int(value) for value in values):
        raise DamagedFileError(f"{name} is damaged: {key} is {text[:60]!r} in its header.")
    return [int(value) for value in values]


def frame(columns: NDArray[np.float64]) -> tuple[tuple[float, float, float], NDArray[np.float64] | None]:
    """Return the spacing and direction of three axes, the columns of a ``(3, 3)`` matrix in mm.

    The direction is None where an axis has no length, is not finite, or stands askew to another.
    """
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(columns, axis=0)
        spacing = (float(lengths[0]), float(lengths[1]), float(lengths[2]))
        if not np.all(np.isfinite(columns)) or not np.all(lengths > 0):
            return spacing, None
        axes = columns / lengths
    if np.abs(axes.T @ axes - np.eye(3)).max() > ORTHONORMALITY_TOLERANCE:
        return spacing, None
    left, _, right = np.linalg.svd(axes)  # the nearest rotation: headers hold few digits
    return spacing, np.asarray(left @ right, dtype=np.float64)


def overflown(stored: NDArray[Any], scaled: NDArray[Any]) -> bool:
    """Tell whether scaling has made of finite numbers some that single precision cannot hold.

    Examples
    --------
    >>> unknown = np.array([np.nan, 1.0])
    >>> overflown(unknown, 1e300 * unknown), overflown(unknown, unknown)
    (True, False)
    """
    if scaled.dtype.kind != "f":
        return False
    with np.errstate(invalid="ignore"):
        if scaled.min(initial=0) >= -LARGEST_VALUE and scaled.max(initial=0) <= LARGEST_VALUE:  # false if one is NaN
            return False
        lost = ~(np.abs(scaled) <= LARGEST_VALUE)
    return bool((lost & np.isfinite(stored)).any())


def native(array: NDArray[np.generic]) -> NDArray[Any]:
    """Return an array in the machine's byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
