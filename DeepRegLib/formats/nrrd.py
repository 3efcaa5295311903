"""NRRD, attached (.nrrd) and detached (.nhdr): https://teem.sourceforge.net/nrrd/format.html.

Read here and not by ITK, whose reader writes past its buffer at a long line of the header.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.beside import file_beside
from DeepRegLib.formats.raster import (
    LARGEST_HEADER,
    DamagedFileError,
    Raster,
    Spooled,
    checked_sizes,
    frame,
    native,
    numbers,
    whole_numbers,
)
from DeepRegLib.formats.streams import read_array, read_words, surplus
from DeepRegLib.naming import shown

SUFFIXES = (".nrrd", ".nhdr")
MAGIC = b"NRRD"
TYPES: Mapping[str, str] = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
# What turns a space's axes into LPS.
SPACES: Mapping[str, tuple[float, float, float]] = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0, 1.0)),
}
SPATIAL_KINDS = ("domain", "space", "time", "???", "none", "")
MOST_AXES = 16
MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "none", "???", "s", "ms", "sec")


@dataclass(frozen=True)
class Header:
    """The fields and key/value pairs of a header, in small letters and as they are, and where the data begins."""

    fields: Mapping[str, str]
    keys: Mapping[str, str]
    end: int


def read_nrrd(path: Path) -> Raster:
    """Read a file, or the header that names its data file.

    Raises
    ------
    InputError
        If the header contradicts itself or the file's length, the data lies in another folder, or the voxels are of a
        kind that is not known.
    """
    raster = _read(path, on_disk=False)
    return replace(raster, array=np.ascontiguousarray(raster.array))


def spool_nrrd(path: Path) -> Spooled:
    """Read the header of a file, and its voxels when they are needed; raises as `read_nrrd` does."""
    return Spooled(_read(path, on_disk=True), native)


def _read(path: Path, *, on_disk: bool) -> Raster:
    name = shown(path)
    header = _header(path, name)
    sizes = _sizes(header, name)
    data, start = path, header.end
    named = header.fields.get("data file", header.fields.get("datafile"))
    if named is not None:
        data, start = file_beside(path, named), 0
    array, remarks = _voxels(header, name, sizes, data, start, on_disk=on_disk)
    spatial, others = _axes(header, sizes, name)
    channels = math.prod(sizes[axis] for axis in others)
    order = [len(sizes) - 1 - axis for axis in (*spatial[::-1], *others[::-1])]
    array = array.reshape(sizes[::-1]).transpose(order)
    array = array.reshape(*array.shape[: len(spatial)], *((channels,) if channels > 1 else ()))
    spacing, origin, direction = _frame(header, spatial, name)
    marks = dict(header.keys)
    marks |= {key: header.fields[key] for key in ("kinds", "measurement frame", "space") if key in header.fields}
    if others:
        marks["component kind"] = _kinds(header, len(sizes))[others[0]]
    return Raster(array, channels, spacing, origin, direction, marks, (*_units(header, name), *remarks))


def nrrd_sizes(path: Path) -> tuple[int, ...]:
    """Return how many samples the header of a file claims along each axis; errors as of `read_nrrd`."""
    return _sizes(_header(path, shown(path)), shown(path))


def _header(path: Path, name: str) -> Header:
    with path.open("rb") as stream:
        start = stream.read(LARGEST_HEADER)
    blank, rest = _end_of_header(start)
    lines = start[:blank].decode("latin-1").replace("\r\n", "\n").split("\n")
    if not lines[0].startswith("NRRD000"):
        raise DamagedFileError(f"{name} has no NRRD header.")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#") or not line.strip():
            continue
        field, colon, value = line.partition(":")
        if not colon:
            raise DamagedFileError(f"{name} is damaged: its header has the line {line[:60]!r}.")
        if value.startswith("="):
            keys[field.strip()] = value[1:].strip()
            continue
        key, value = field.strip().lower(), value.strip()
        if fields.get(key, value) != value:
            raise DamagedFileError(f"{name} is damaged: its header gives {key[:60]} twice, and differently.")
        fields[key] = value
    return Header(fields, keys, rest)


def _end_of_header(start: bytes) -> tuple[int, int]:
    """Return where the header ends and where what is behind its blank line begins."""
    ends = [(start.find(mark), len(mark)) for mark in (b"\n\n", b"\r\n\r\n")]
    found = [(at, at + length) for at, length in ends if at >= 0]
    if found:
        return min(found)
    if len(start) == LARGEST_HEADER:
        raise DamagedFileError("Its NRRD header has no end.")
    return len(start), len(start)


def _sizes(header: Header, name: str) -> tuple[int, ...]:
    (dimension,) = whole_numbers(name, "dimension", header.fields.get("dimension", ""), 1)
    if not 1 <= dimension <= MOST_AXES:
        raise DamagedFileError(f"{name} is damaged: its header claims {dimension} axes.")
    return checked_sizes(name, whole_numbers(name, "sizes", header.fields.get("sizes", ""), dimension))


def _voxels(
    header: Header, name: str, sizes: tuple[int, ...], data: Path, start: int, *, on_disk: bool
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the numbers, and what the user should know of them."""
    kind = TYPES.get(header.fields.get("type", "").lower())
    if kind is None:
        raise InputError(f"{name} has voxels of type {header.fields.get('type', '')!r}.", "Convert it to numbers.")
    encoding = header.fields.get("encoding", "").lower()
    count = math.prod(sizes)
    if encoding in ("txt", "text", "ascii"):
        return read_words(data, np.dtype(kind), count, start=start, name=name), ()
    compressed = encoding in ("gz", "gzip")
    if not compressed and encoding != "raw":
        raise InputError(f"{name} has the encoding {encoding!r}.", "Save it with the encoding gzip or raw.")
    order = {"little": "<", "big": ">"}.get(header.fields.get("endian", "").lower(), "")
    if not order and np.dtype(kind).itemsize > 1:
        raise DamagedFileError(f"{name} is damaged: its header does not say in which byte order its voxels are.")
    lines, skip = (_skipped(header, name, key) for key in ("line skip", "byte skip"))
    if lines > 0:
        start = _behind_lines(data, start, lines, name)
    if skip == -1 and not compressed:
        start, skip = -1, 0
    if skip < 0:
        raise DamagedFileError(f"{name} is damaged: its header skips {skip} bytes.")
    skips = lines > 0 or skip != 0  # the file holds more on purpose
    if not compressed and start >= 0:
        start, skip = start + skip, 0
    dtype = np.dtype((order or "<") + kind)
    flat = read_array(data, dtype, count, start=start, skip=skip, compressed=compressed, name=name, on_disk=on_disk)
    remarks = () if compressed or start < 0 or skips else surplus(data, flat.nbytes, start)
    return flat if on_disk else native(flat), remarks


def _units(header: Header, name: str) -> tuple[str, ...]:
    """Return what the user should know of the unit of lengths: ITK and 3D Slicer take every one for millimetres."""
    words = f"{header.fields.get('space units', '')} {header.fields.get('units', '')}".replace('"', " ").split()
    others = [word for word in words if word.lower() not in MILLIMETRES]
    if not others:
        return ()
    return (f"{name} gives its lengths in {others[0][:20]!r}; they were taken for mm, as 3D Slicer takes them.",)


def _skipped(header: Header, name: str, key: str) -> int:
    text = header.fields.get(key, header.fields.get(key.replace(" ", "")))
    return 0 if text is None else whole_numbers(name, key, text, 1)[0]


def _behind_lines(path: Path, start: int, lines: int, name: str) -> int:
    with path.open("rb") as stream:
        stream.seek(start)
        for _ in range(min(lines, LARGEST_HEADER)):
            if not stream.readline(LARGEST_HEADER):
                raise DamagedFileError(f"{name} is damaged: its header skips {lines} lines.")
        return stream.tell()


def _axes(header: Header, sizes: tuple[int, ...], name: str) -> tuple[list[int], list[int]]:
    """Return which axes run through space (and time), and which hold the components of a voxel."""
    kinds = _kinds(header, len(sizes))
    vectors = _vectors(header, len(sizes), name)
    if vectors is not None:
        spatial = [axis for axis, vector in enumerate(vectors) if vector is not None]
    else:
        spatial = [axis for axis, kind in enumerate(kinds) if kind.lower() in SPATIAL_KINDS]
    others = [axis for axis in range(len(sizes)) if axis not in spatial]
    if len(others) > 1:
        raise InputError(f"{name} has {len(others)} axes that do not run through space.", "Save one volume alone.")
    return spatial, others


def _kinds(header: Header, count: int) -> list[str]:
    kinds = header.fields.get("kinds", "").split()
    return kinds if len(kinds) == count else [""] * count


def _vectors(header: Header, count: int, name: str) -> list[list[float] | None] | None:
    text = header.fields.get("space directions")
    if text is None:
        return None
    vectors: list[list[float] | None] = []
    for part in text.replace("(", " (").replace(")", ") ").replace(", ", ",").replace(" ,", ",").split():
        if part.lower() == "none":
            vectors.append(None)
        else:
            vectors.append(numbers(name, "space directions", part.strip("()")))
    if len(vectors) != count:
        raise DamagedFileError(f"{name} is damaged: {len(vectors)} space directions for {count} axes.")
    return vectors


def _frame(
    header: Header, spatial: list[int], name: str
) -> tuple[tuple[float, ...], tuple[float, ...], NDArray[np.float64] | None]:
    count = len(header.fields.get("sizes", "").split())
    vectors = _vectors(header, count, name)
    if vectors is None:
        return _plain_frame(header, spatial, count, name)
    rows = [vectors[axis] for axis in spatial]
    dimension = len(rows[0] or ()) if rows else 0
    if any(row is None or len(row) != dimension for row in rows) or dimension < len(rows):
        raise DamagedFileError(f"{name} is damaged: its space directions are not of one length.")
    origin = [0.0] * dimension
    if "space origin" in header.fields:
        origin = numbers(name, "space origin", header.fields["space origin"].strip("() \t"), dimension)
    matrix = np.array(rows, dtype=np.float64)
    if dimension < 3 or len(rows) < 3:
        return (*np.linalg.norm(matrix, axis=1).tolist(),), tuple(origin), None
    signs = np.array(_signs(header, name))
    spacing, direction = frame((matrix[:3, :3] * signs).T)
    extra = len(rows) - 3
    return (*spacing, *(1.0,) * extra), (*(np.array(origin[:3]) * signs).tolist(), *(0.0,) * extra), direction


def _signs(header: Header, name: str) -> tuple[float, float, float]:
    space = header.fields.get("space", "").lower().removesuffix("-time")
    if space in SPACES or not space:
        return SPACES.get(space, (1.0, 1.0, 1.0))
    if space in ("scanner-xyz", "3d-right-handed", "3d-left-handed"):
        return (1.0, 1.0, 1.0)
    raise InputError(f"{name} lies in the space {space!r}.", "Save it in left-posterior-superior or RAS.")


def _plain_frame(
    header: Header, spatial: list[int], count: int, name: str
) -> tuple[tuple[float, ...], tuple[float, ...], NDArray[np.float64]]:
    """Return the frame of a file without a space: spacings and smallest coordinates, where it has them."""
    per_axis = {}
    for key, fallback in (("spacings", 1.0), ("axis mins", 0.0)):
        text = header.fields.get(key, header.fields.get(key.replace(" ", "")))
        values = [math.nan] * count if text is None else numbers(name, key, text, count)
        per_axis[key] = tuple(values[axis] if math.isfinite(values[axis]) else fallback for axis in spatial)
    return per_axis["spacings"], per_axis["axis mins"], np.eye(3)
