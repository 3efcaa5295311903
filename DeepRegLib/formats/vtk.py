"""VTK's legacy files of images (.vtk): https://vtk.org/wp-content/uploads/2015/04/file-formats.pdf.

Read here and not by ITK, whose reader takes what the memory held where words or bytes are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import DamagedFileError, Raster, checked_sizes, native, numbers, whole_numbers
from DeepRegLib.formats.streams import read_array, read_words
from DeepRegLib.naming import shown

SUFFIXES = (".vtk",)
MAGIC = b"# vtk DataFile Version"
TYPES: Mapping[str, str] = {
    "char": "i1",
    "unsigned_char": "u1",
    "short": "i2",
    "unsigned_short": "u2",
    "int": "i4",
    "unsigned_int": "u4",
    "long": "i8",
    "unsigned_long": "u8",
    "vtktypeint64": "i8",
    "vtktypeuint64": "u8",
    "float": "f4",
    "double": "f8",
}
LONGEST_LINE, MOST_LINES = 1024, 200
FIELDS = {key: key for key in ("dimensions", "spacing", "origin", "point_data")} | {"aspect_ratio": "spacing"}


@dataclass(frozen=True)
class Header:
    """What the lines before the numbers say, and at which byte these begin.

    Parameters
    ----------
    text
        Whether the numbers are words.
    fields
        Of the grid, as words: dimensions, spacing, origin, and how many points have values.
    kind
        numpy's name of the type.
    channels
        How many numbers a voxel has.
    start
        Byte of the file.
    """

    text: bool
    fields: Mapping[str, str]
    kind: str
    channels: int
    start: int


def read_vtk(path: Path) -> Raster:
    """Read a file of structured points with one array of scalars or vectors.

    Raises
    ------
    InputError
        If the header contradicts itself or the file's length, or it holds anything else.
    """
    name = shown(path)
    with path.open("rb") as stream:
        header = _header(stream, name)
    sizes = checked_sizes(name, whole_numbers(name, "DIMENSIONS", header.fields.get("dimensions", ""), 3))
    (values,) = whole_numbers(name, "POINT_DATA", header.fields.get("point_data", ""), 1)
    if values != math.prod(sizes):
        raise DamagedFileError(f"{name} is damaged: it has {values} values for {math.prod(sizes)} points.")
    spacing = numbers(name, "SPACING", header.fields.get("spacing", "1 1 1"), 3)
    origin = numbers(name, "ORIGIN", header.fields.get("origin", "0 0 0"), 3)
    array = _voxels(path, header, math.prod(sizes) * header.channels, name)
    shape = (*sizes[::-1], *((header.channels,) if header.channels > 1 else ()))
    return Raster(array.reshape(shape), header.channels, tuple(spacing), tuple(origin), np.eye(3))


def _header(stream: IO[bytes], name: str) -> Header:
    lines = _lines(stream, name)
    if not next(lines).startswith(MAGIC.decode()):
        raise DamagedFileError(f"{name} has no VTK header.")
    next(lines)  # the title
    coding, dataset = (next(lines).strip().upper() for _ in range(2))
    if coding not in ("ASCII", "BINARY"):
        raise DamagedFileError(f"{name} is damaged: its numbers are coded as {coding[:40]!r}.")
    if dataset.split() != ["DATASET", "STRUCTURED_POINTS"]:
        raise InputError(f"{name} holds a {dataset[:60].lower()}, not an image.", "Give a volume.")
    fields: dict[str, str] = {}
    key, rest = _next_key(lines)
    while key in FIELDS:
        fields[FIELDS[key]] = rest
        key, rest = _next_key(lines)
    if key not in ("scalars", "vectors"):
        raise InputError(f"{name} has {key[:40]!r} where its numbers should be named.", "Save one volume alone.")
    kind, channels = _kind(key, rest.split(), name)
    start = stream.tell()
    if key == "scalars" and next(lines).strip().lower().startswith("lookup_table"):
        start = stream.tell()
    return Header(coding == "ASCII", fields, kind, channels, start)


def _next_key(lines: Iterator[str]) -> tuple[str, str]:
    """Return the next line's first word, in small letters, and the rest; what VTK adds about names is left out."""
    for line in lines:
        key, _, rest = line.strip().partition(" ")
        if key.lower() == "metadata":
            while next(lines).strip():
                pass
        elif key:
            return key.lower(), rest
    raise AssertionError  # the lines end with an error


def _kind(key: str, words: list[str], name: str) -> tuple[str, int]:
    """Return numpy's name of the type, and how many numbers a voxel has."""
    if len(words) < 2 or words[1].lower() not in TYPES:
        raise InputError(f"{name} has voxels of type {' '.join(words[1:2])[:40]!r}.", "Convert it to plain numbers.")
    given = whole_numbers(name, "SCALARS", words[2], 1)[0] if len(words) > 2 else 1
    channels = 3 if key == "vectors" else given
    if not 1 <= channels <= 4:
        raise DamagedFileError(f"{name} is damaged: its header claims {channels} numbers a voxel.")
    return TYPES[words[1].lower()], channels


def _lines(stream: IO[bytes], name: str) -> Iterator[str]:
    for _ in range(MOST_LINES):
        line = stream.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            break
        yield line.decode("latin-1")
    raise DamagedFileError(f"{name} is damaged: its VTK header has no end.")


def _voxels(path: Path, header: Header, count: int, name: str) -> NDArray[Any]:
    if header.text:
        return read_words(path, np.dtype(header.kind), count, start=header.start, name=name)
    return native(read_array(path, np.dtype(">" + header.kind), count, start=header.start, name=name))
