"""Stanford polygon files (`.ply`), text and binary: http://paulbourke.net/dataformats/ply."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.mesh_files.parts import EXPORT_AGAIN, Move

END = re.compile(rb"^end_header[ \t]*\r?\n", re.MULTILINE)
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float": "f4",
    "double": "f8",
    "float32": "f4",
    "float64": "f8",
}
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Vertices:
    """What a header says of the vertices.

    Parameters
    ----------
    start
        Where the first begins.
    order
        Of the bytes, as numpy writes it; empty for text.
    count
        How many there are.
    properties
        Name and type of what is told of each, as numpy writes them.
    """

    start: int
    order: str
    count: int
    properties: tuple[tuple[str, str], ...]


def moved(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    """Return the content with its vertices moved, and how many they are.

    Raises
    ------
    InputError
        If it is no PLY file whose vertices come first, or vertices are missing.
    """
    given = _vertices(content, name)
    return (_moved_binary if given.order else _moved_text)(content, given, move, name)


def _moved_binary(content: bytes, given: Vertices, move: Move, name: str) -> tuple[bytes, int]:
    kind = np.dtype([(each, given.order + code) for each, code in given.properties])
    end = given.start + given.count * kind.itemsize
    if end > len(content):
        raise InputError(f"{name} is damaged or truncated: vertices are missing.", EXPORT_AGAIN)
    table = np.frombuffer(content, kind, given.count, given.start).copy()
    points = move(np.stack([table[axis] for axis in AXES], axis=-1).astype(np.float64))
    for axis, values in zip(AXES, points.T, strict=True):
        table[axis] = values
    return content[: given.start] + table.tobytes() + content[end:], given.count


def _moved_text(content: bytes, given: Vertices, move: Move, name: str) -> tuple[bytes, int]:
    lines = content[given.start :].split(b"\n", given.count)
    rows = [line.split() for line in lines[: given.count]]
    if len(rows) < given.count or any(len(row) < len(given.properties) for row in rows):
        raise InputError(f"{name} is damaged or truncated: vertices are missing.", EXPORT_AGAIN)
    places = [[each for each, _ in given.properties].index(axis) for axis in AXES]
    points = move(np.array([[float(row[place]) for place in places] for row in rows], np.float64).reshape(-1, 3))
    for row, point in zip(rows, points.tolist(), strict=True):
        for place, value in zip(places, point, strict=True):
            row[place] = b"%.9g" % value
    written = [b" ".join(row) for row in rows]
    return content[: given.start] + b"\n".join([*written, *lines[given.count :]]), given.count


def _vertices(content: bytes, name: str) -> Vertices:
    end = END.search(content)
    if not content.startswith(b"ply") or end is None:
        raise InputError(f"{name} is no PLY file.", EXPORT_AGAIN)
    lines = [line.split() for line in content[: end.start()].decode("ascii", "replace").splitlines()]
    order = next((FORMATS.get(words[1]) for words in lines if words[:1] == ["format"] and len(words) > 1), None)
    elements = [number for number, words in enumerate(lines) if words[:1] == ["element"]]
    first = lines[elements[0]] if elements else []
    if order is None or len(first) != 3 or first[1] != "vertex" or not first[2].isdecimal():
        raise InputError(f"{name} is no PLY file whose vertices come first.", EXPORT_AGAIN)
    told = lines[elements[0] + 1 : elements[1] if len(elements) > 1 else None]
    properties = [words[1:] for words in told if words[:1] == ["property"]]
    if not all(len(words) == 2 and words[0] in TYPES for words in properties):
        raise InputError(f"{name} tells of its vertices what is no plain number.", EXPORT_AGAIN)
    named = tuple((words[1], TYPES[words[0]]) for words in properties)
    if not set(AXES) <= {each for each, code in named if code[0] == "f"}:
        raise InputError(f"{name} does not tell where its vertices are.", EXPORT_AGAIN)
    return Vertices(end.end(), order, int(first[2]), named)
