"""MetaImage, attached (.mha) and detached (.mhd): https://itk.org/Wiki/ITK/MetaIO/Documentation.

Read here and not by ITK, whose reader allocates what `NDims` asks for, and leaves memory as it was where the
compressed voxels are short.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
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
    checked_sizes,
    frame,
    native,
    numbers,
    whole_numbers,
)
from DeepRegLib.formats.streams import read_array, read_words, surplus
from DeepRegLib.naming import shown

SUFFIXES = (".mha", ".mhd")
# A long has as many bytes as a C long where the file was written: eight if there are so many, four otherwise.
LONG: Mapping[str, str] = {"MET_LONG": "i8", "MET_ULONG": "u8"}
TYPES: Mapping[str, str] = {
    "MET_CHAR": "i1",
    "MET_ASCII_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
TRUE = ("t", "true", "1")
MOST_AXES = 10
LINE = re.compile(rb"([^\r\n=]*)=([^\n]*)\n")


def read_metaimage(path: Path) -> Raster:
    """Read a file, or the header that names its data file.

    Raises
    ------
    InputError
        If the header contradicts itself or the file's length, the data lies in another folder, or the voxels are of a
        kind that is not known.
    """
    name = shown(path)
    fields, end = _header(path, name)
    if fields.get("ObjectType", "Image").lower() != "image":
        raise InputError(f"{name} holds a {fields['ObjectType'][:30]}, not an image.", "Give a volume.")
    sizes = _sizes(fields, name)
    (channels,) = whole_numbers(name, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)
    checked_sizes(name, (*sizes, channels))
    flat, remarks = _voxels(path, end, fields, name, math.prod(sizes) * channels)
    array = flat.reshape(*sizes[::-1], *((channels,) if channels > 1 else ()))
    spacing, origin, direction = _frame(fields, len(sizes), name)
    return Raster(array, channels, spacing, origin, direction, {}, remarks)


def metaimage_sizes(path: Path) -> tuple[int, ...]:
    """Return how many voxels the header of a file claims along each axis; errors as of `read_metaimage`."""
    return _sizes(_header(path, shown(path))[0], shown(path))


def _sizes(fields: Mapping[str, str], name: str) -> tuple[int, ...]:
    (count,) = whole_numbers(name, "NDims", _field(fields, name, "NDims"), 1)
    if not 1 <= count <= MOST_AXES:
        raise DamagedFileError(f"{name} is damaged: its header claims {count} axes.")
    return checked_sizes(name, whole_numbers(name, "DimSize", _field(fields, name, "DimSize"), count))


def _header(path: Path, name: str) -> tuple[dict[str, str], int]:
    with path.open("rb") as stream:
        start = stream.read(LARGEST_HEADER)
    fields: dict[str, str] = {}
    position = 0
    while match := LINE.match(start, position):
        key, value = (part.decode("latin-1").strip() for part in match.groups())
        position = match.end()
        if fields.get(key, value) != value:
            raise DamagedFileError(f"{name} is damaged: its header gives {key[:60]} twice, and differently.")
        fields[key] = value
        if key == "ElementDataFile":
            return fields, position
    rest = start[position:]  # the last line may have no end
    key_bytes, _, value_bytes = rest.partition(b"=")
    if key_bytes.strip() == b"ElementDataFile" and len(value_bytes) < LARGEST_HEADER // 2:
        fields["ElementDataFile"] = value_bytes.decode("latin-1").strip()
        return fields, len(start)
    raise DamagedFileError(f"{name} has no MetaImage header, or one that is damaged.")


def _field(fields: Mapping[str, str], name: str, key: str) -> str:
    if key not in fields:
        raise DamagedFileError(f"{name} is damaged: its header has no {key}.")
    return fields[key]


def _voxels(
    path: Path, end: int, fields: Mapping[str, str], name: str, count: int
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the numbers, and what the user should know of them."""
    named_kind = fields.get("ElementType", "").upper().removesuffix("_ARRAY")
    kind = TYPES.get(named_kind)
    if kind is None:
        raise InputError(
            f"{name} has voxels of type {fields.get('ElementType', '')[:60]!r}.", "Convert it to plain numbers."
        )
    named = _field(fields, name, "ElementDataFile")
    local = named.upper() == "LOCAL"
    data, start = (path, end) if local else (file_beside(path, named), 0)
    if fields.get("BinaryData", "True").lower() not in TRUE:
        return read_words(data, np.dtype(kind), count, start=start, name=name), ()
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() in TRUE
    compressed = fields.get("CompressedData", "False").lower() in TRUE
    (skip,) = whole_numbers(name, "HeaderSize", fields.get("HeaderSize", "0"), 1)
    if skip == -1 and not compressed:
        start = -1
    elif skip > 0:
        start = skip
    elif skip < 0:
        raise DamagedFileError(f"{name} is damaged: its header skips {skip} bytes.")
    order = ">" if big else "<"
    if named_kind in LONG and start >= 0:
        with suppress(DamagedFileError):
            wide = np.dtype(order + LONG[named_kind])
            return native(read_array(data, wide, count, start=start, compressed=compressed, name=name)), ()
    dtype = np.dtype(order + kind)
    flat = native(read_array(data, dtype, count, start=start, compressed=compressed, name=name))
    return flat, () if compressed or start < 0 else surplus(data, flat.nbytes, start)


def _frame(
    fields: Mapping[str, str], count: int, name: str
) -> tuple[tuple[float, ...], tuple[float, ...], NDArray[np.float64] | None]:
    steps = _first(fields, name, ("ElementSpacing", "ElementSize"), count, [1.0] * count)
    origin = _first(fields, name, ("Offset", "Position", "Origin"), count, [0.0] * count)
    rows = _first(fields, name, ("TransformMatrix", "Rotation", "Orientation"), count * count, None)
    if count < 3:
        return tuple(steps), tuple(origin), None
    # The matrix lists one index axis after another.
    axes = np.eye(count) if rows is None else np.array(rows, dtype=np.float64).reshape(count, count).T
    spacing, direction = frame(axes[:3, :3] * np.array(steps[:3]))
    return (*spacing, *steps[3:]), tuple(origin), direction if min(steps[:3]) > 0 else None


def _first(
    fields: Mapping[str, str], name: str, keys: tuple[str, ...], count: int, fallback: list[float] | None
) -> Any:
    for key in keys:
        if key in fields:
            return numbers(name, key, fields[key], count)
    return fallback
