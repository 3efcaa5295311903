"""VTK's XML files of surfaces (`.vtp`): text, binary, and binary behind all else, plain or compressed by zlib.

The layout is that of https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html. Only the arrays of points
are written anew, in their places; all else stays byte for byte.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.mesh_files.parts import EXPORT_AGAIN, Move

ROOT = re.compile(rb"<VTKFile\b([^>]*)>")
APPENDED = re.compile(rb"<AppendedData\b([^>]*)>\s*_")
POINTS = re.compile(
    rb"<Points>\s*(?:<DataArray\b([^>]*?)/>|<DataArray\b([^>]*)>(.*?)</DataArray>)\s*</Points>", re.DOTALL
)
TEXTS = re.compile(rb"<(?:Data)?Array\b([^>]*\bName=\"SPACE\"[^>]*?)(?:/>|>(.*?)</(?:Data)?Array>)", re.DOTALL)
NOTES = re.compile(rb"<InformationKey\b[^>]*/>|<InformationKey\b.*?</InformationKey>", re.DOTALL)
ATTRIBUTE = re.compile(rb"(\w+)\s*=\s*\"([^\"]*)\"")
UNIT = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
TYPES = {"Float32": "f4", "Float64": "f8"}
COUNTS = {"UInt32": "u4", "UInt64": "u8"}
ZLIB = "vtkZLibDataCompressor"
# A block of compressed data may not claim to be larger than its file could make it.
MOST_GROWTH = 1100


@dataclass(frozen=True)
class File:
    """What the root of a file says, and the bytes of its appended data.

    Parameters
    ----------
    order
        Of the bytes, as numpy writes it.
    count
        Type of the numbers of bytes and blocks.
    zipped
        Whether arrays are compressed.
    appended
        What comes behind the underscore.
    plain
        Whether that is raw bytes, and no base64.
    end
        Where the elements end.
    name
        Of the file.
    """

    order: str
    count: np.dtype[np.unsignedinteger]
    zipped: bool
    appended: bytes
    plain: bool
    end: int
    name: str


def moved(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    """Return the content with its points moved, and how many they are.

    Raises
    ------
    InputError
        If it is no such file of a surface, is compressed in another way, or points are missing.
    """
    file, total = _file(content, name), 0

    def written(found: re.Match[bytes]) -> bytes:
        nonlocal total
        told = _attributes(found[1] if found[1] is not None else found[2])
        if told.get("type") not in TYPES or told.get("NumberOfComponents", "3") != "3":
            raise InputError(f"{name} has points of the type {told.get('type', '')[:20]!r}.", EXPORT_AGAIN)
        points = _numbers(file, told, found[3] or b"", np.dtype(file.order + TYPES[told["type"]]))
        if points.size % 3:
            raise InputError(f"{name} is damaged: a point is not whole.", EXPORT_AGAIN)
        if points.size == 0:  # an empty piece of several
            return found[0]
        total += points.size // 3
        there = move(points.astype(np.float64).reshape(-1, 3))
        return b"<Points>" + _array(file, told["type"], there.astype(points.dtype).tobytes()) + b"</Points>"

    result = POINTS.sub(written, content[: file.end]) + content[file.end :]
    if total == 0:
        raise InputError(f"{name} holds no points.", EXPORT_AGAIN)
    return result, total


def says_ras(content: bytes) -> bool:
    """Tell whether the file says that its points are in RAS, by the field ``SPACE`` that Slicer writes."""
    file = _file(content, "The file")
    found = TEXTS.search(content, 0, file.end)
    if found is None:
        return False
    text = _numbers(file, _attributes(found[1]), found[2] or b"", np.dtype(np.uint8))
    return b"RAS" in text.tobytes()


def _file(content: bytes, name: str) -> File:
    root = ROOT.search(content, 0, 4096)
    told = {} if root is None else _attributes(root[1])
    if told.get("type") != "PolyData":
        raise InputError(f"{name} is no VTK file of a surface.", EXPORT_AGAIN)
    compressor = told.get("compressor", "")
    if compressor not in ("", ZLIB):
        raise InputError(f"{name} is compressed by {compressor[:40]!r}.", "Save it again with the usual compression.")
    order = ">" if told.get("byte_order") == "BigEndian" else "<"
    count = np.dtype(order + COUNTS.get(told.get("header_type", "UInt32"), "u4"))
    appended = APPENDED.search(content)
    if appended is None:
        return File(order, count, bool(compressor), b"", False, len(content), name)
    plain = _attributes(appended[1]).get("encoding") == "raw"
    return File(order, count, bool(compressor), content[appended.end() :], plain, appended.start(), name)


def _attributes(text: bytes) -> Mapping[str, str]:
    return {key.decode(): value.decode("utf-8", "replace") for key, value in ATTRIBUTE.findall(text)}


def _numbers(file: File, told: Mapping[str, str], inside: bytes, kind: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return the numbers of an array."""
    text = NOTES.sub(b"", inside)
    if told.get("format") == "ascii":
        return np.array(text.split(), dtype=np.float64).astype(kind)
    if told.get("format") == "binary":
        data = _decoded(text)
    else:
        data = file.appended[int(told["offset"]) :]
        data = data if file.plain else _decoded(data.partition(b"<")[0])
    return np.frombuffer(_unpacked(file, data), kind)


def _decoded(text: bytes) -> bytes:
    """Return what base64 stands for; the count before an array may have been encoded apart."""
    return b"".join(base64.b64decode(unit) for unit in UNIT.findall(b"".join(text.split())))


def _unpacked(file: File, data: bytes) -> bytes:
    size = file.count.itemsize
    first = int(np.frombuffer(data, file.count, 1)[0])
    if not file.zipped:
        _require(file, len(data) - size >= first)
        return data[size : size + first]
    _require(file, len(data) >= (3 + first) * size)
    block, last, *packed = (int(number) for number in np.frombuffer(data, file.count, 2 + first, size))
    start, parts = (3 + first) * size, []
    for number, length in enumerate(packed):
        _require(file, len(data) - start >= length)
        whole = last if last and number == first - 1 else block
        _require(file, whole <= length * MOST_GROWTH)
        parts.append(zlib.decompressobj().decompress(data[start : start + length], whole))
        _require(file, len(parts[-1]) == whole)
        start += length
    return b"".join(parts)


def _require(file: File, whole: bool) -> None:
    if not whole:
        raise InputError(f"{file.name} is damaged or truncated: an array is not whole.", EXPORT_AGAIN)


def _array(file: File, kind: str, data: bytes) -> bytes:
    """Return points as an element, packed as the file's arrays are."""
    if file.zipped:
        packed = zlib.compress(data)
        counts = np.array([1, len(data), 0, len(packed)], file.count).tobytes()
        text = base64.b64encode(counts) + base64.b64encode(packed)
    else:
        text = base64.b64encode(np.array([len(data)], file.count).tobytes() + data)
    head = f'<DataArray type="{kind}" Name="Points" NumberOfComponents="3" format="binary">'
    return head.encode() + text + b"</DataArray>"
