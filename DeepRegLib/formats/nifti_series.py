"""A 4-D NIfTI file written frame by frame, so that never more than one frame is in memory."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.geometry import Geometry

CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
MM_AND_SECONDS, MM = 2 | 8, 2
OFFSET = 352
LARGEST_SIZE = 32767
LEVEL = 4  # of compression


def write_nifti_series(
    path: str | Path, frames: Iterable[NDArray[np.generic]], count: int, grid: Geometry, step: float | None = None
) -> None:
    """Write frames as one ``.nii.gz`` file, through a temporary name.

    Parameters
    ----------
    path
        The file.
    frames
        Arrays ``(k, j, i)`` of one type, `count` of them.
    count
        How many.
    grid
        Of all of them.
    step
        Seconds between two; None where that is not known or not even.

    Raises
    ------
    InputError
        If they are more or larger than the format can hold, differ in type or size, or are of a type it has not.
    OutputError
        If the file cannot be written.
    """
    if max(*grid.size, count) > LARGEST_SIZE:
        raise InputError(f"A NIfTI file cannot hold {count} frames of {grid.size} voxels.", "Save fewer frames.")

    def write(temporary: Path) -> None:
        written = 0
        dtype: np.dtype[np.generic] | None = None
        with temporary.open("wb") as raw, gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as stream:
            for frame in frames:
                array = frame.astype(np.uint8) if frame.dtype.kind == "b" else frame
                if dtype is None:
                    dtype = array.dtype
                    stream.write(_header(dtype, count, grid, step))
                if array.dtype != dtype or array.shape != grid.shape:
                    raise InputError("The frames differ in type or size.", "Bring them onto one grid and type first.")
                stream.write(np.ascontiguousarray(array, dtype=dtype.newbyteorder("<")).tobytes())
                written += 1
            if written != count:
                raise InputError(f"There are {written} frames, not {count}.", "Give as many as are announced.")

    write_atomically(path, write)


def _header(dtype: np.dtype[np.generic], count: int, grid: Geometry, step: float | None) -> bytes:
    code = CODES.get(f"{dtype.kind}{dtype.itemsize}")
    if code is None:
        raise InputError(f"NIfTI has no voxels of the type {dtype}.", "Convert the frames first.")
    header = bytearray(OFFSET)

    def put(form: str, offset: int, *values: object) -> None:
        struct.pack_into(f"<{form}", header, offset, *values)

    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.index_to_world
    put("i", 0, 348)
    put("8h", 40, 4, *grid.size, count, 1, 1, 1)
    put("2h", 70, code, dtype.itemsize * 8)
    put("8f", 76, 1.0, *grid.spacing, step or 1.0, 1.0, 1.0, 1.0)
    put("3f", 108, float(OFFSET), 1.0, 0.0)
    put("B", 123, MM if step is None else MM_AND_SECONDS)
    put("2h", 252, 0, 1)
    put("12f", 280, *matrix[:3].ravel().tolist())
    header[344:348] = b"n+1\0"
    return bytes(header)
