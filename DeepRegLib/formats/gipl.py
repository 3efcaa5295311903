"""GIPL, plain and compressed: the Guy's Image Processing Lab's format, as ITK reads and writes it.

Read here and not by ITK, whose reader makes zeros of what a compressed file lacks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import DamagedFileError, Raster, checked_sizes, native
from DeepRegLib.formats.streams import first_bytes, is_gzip, read_array
from DeepRegLib.naming import shown

SUFFIXES = (".gipl", ".gipl.gz")
HEADER = 256
MAGIC = (0xEFFFE9B0, 719555000)
TYPES: Mapping[int, str] = {
    7: "i1",
    8: "u1",
    15: "i2",
    16: "u2",
    31: "u4",
    32: "i4",
    64: "f4",
    65: "f8",
}


def read_gipl(path: Path) -> Raster:
    """Read a file.

    Raises
    ------
    InputError
        If the header contradicts itself or the file's length, or the voxels are of a kind that is not known.
    """
    name, start = shown(path), first_bytes(path, HEADER)
    if len(start) < HEADER or struct.unpack_from(">I", start, 252)[0] not in MAGIC:
        raise DamagedFileError(f"{name} has no GIPL header.")
    (kind,) = struct.unpack_from(">H", start, 8)
    if kind not in TYPES:
        raise InputError(f"{name} has voxels of GIPL's type {kind}.", "Convert it to plain numbers.")
    sizes = list(struct.unpack_from(">4H", start, 0))
    while len(sizes) > 1 and sizes[-1] <= 1:
        sizes.pop()
    count = len(checked_sizes(name, sizes))
    dtype = np.dtype(">" + TYPES[kind])
    array = native(read_array(path, dtype, math.prod(sizes), skip=HEADER, compressed=is_gzip(path)))
    steps, origin = struct.unpack_from(">4f", start, 10), struct.unpack_from(">4d", start, 204)
    return Raster(array.reshape(sizes[::-1]), 1, steps[:count], origin[:count], np.eye(3) if count >= 3 else None)
