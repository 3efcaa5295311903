"""ITK's transform files in HDF5 read at once, where they are laid out as `write_hdf5` lays them out.

ITK itself reads any other, in a process of its own, which takes half a second: its library believes every number in a
file. Here every address, size and checksum is held against the bytes that are there, and what is not the one known
layout is not read.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.transforms.hdf5 import (
    DATASPACE,
    DATATYPE,
    FILTERS,
    FLOATS,
    LAYOUT,
    LINK,
    SIGNATURE,
    SUPERBLOCK_BYTES,
    datatype_of_float,
    filters_of_float,
    with_checksum,
)

COMPOSITE, AFFINE, FIELD = (f"{name}Transform_double_3_3" for name in ("Composite", "Affine", "DisplacementField"))
# ITK is asked where a file claims more: it does so under a limit of memory.
MOST_BYTES_PER_BYTE, ALWAYS_ALLOWED = 40, 1 << 28
PLAIN, CHUNKED = 18, 19  # bytes of a layout
LARGEST_FILE, LARGEST_HEADER, LARGEST_HEAP, MOST_PARTS = 1 << 31, 1 << 12, 1 << 16, 64
NOWHERE = -1


class _OtherLayoutError(Exception):
    """The file is not what `write_hdf5` writes, or damaged."""


def read_own_hdf5(path: Path) -> tuple[dict[str, Any], list[NDArray[np.float64]]] | None:
    """Return what `DeepRegLib.formats.isolated.read_elsewhere` tells of a transform file, if the layout is our own.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    tuple or None
        A table of the parts in the file's order, and the displacements of its fields, ``(k, j, i, 3)``, mm; None where
        the layout is another one.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "other.h5").write_bytes(b"of somebody else")
    ...     read_own_hdf5(Path(folder) / "other.h5") is None
    True
    """
    if not SUPERBLOCK_BYTES < path.stat().st_size < LARGEST_FILE:
        return None
    with path.open("rb") as stream:
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            return None
    try:
        return _told(_File(path.read_bytes()))
    except (_OtherLayoutError, struct.error, zlib.error, UnicodeError):
        return None


@dataclass(frozen=True)
class _File:
    """The bytes of a file, and what lies at its addresses."""

    content: bytes

    def at(self, address: int, size: int) -> bytes:
        if not 0 <= address <= address + size <= len(self.content):
            raise _OtherLayoutError
        return self.content[address : address + size]

    def root(self) -> int:
        head = self.at(0, SUPERBLOCK_BYTES)
        version, addresses, lengths, _, base = struct.unpack_from("<BBBBQ", head, len(SIGNATURE))
        _require(head == with_checksum(head[:-4]) and (version, addresses, lengths, base) == (2, 8, 8, 0))
        return int(struct.unpack_from("<Q", head, SUPERBLOCK_BYTES - 12)[0])

    def messages(self, address: int) -> list[tuple[int, bytes]]:
        head = self.at(address, 10)
        mark, version, flags, size = struct.unpack("<4sBBI", head)
        _require((mark, version, flags) == (b"OHDR", 2, 2) and size <= LARGEST_HEADER)
        whole = self.at(address, 10 + size + 4)
        _require(whole == with_checksum(whole[:-4]))
        found, place = [], 10
        while place < 10 + size:
            kind, length, _ = struct.unpack_from("<BHB", whole, place)
            _require(place + 4 + length <= 10 + size)
            found.append((kind, whole[place + 4 : place + 4 + length]))
            place += 4 + length
        return found

    def group(self, address: int) -> dict[str, int]:
        """Return the addresses of a group's members by name."""
        members = {}
        for kind, data in self.messages(address):
            if kind == LINK:
                version, flags, length = struct.unpack_from("<BBB", data)
                _require((version, flags, len(data)) == (1, 0, 3 + length + 8))
                members[data[3 : 3 + length].decode("ascii")] = int(struct.unpack_from("<Q", data, 3 + length)[0])
        return members

    def text(self, address: int) -> str:
        layout = dict(self.messages(address)).get(LAYOUT, b"")
        length, heap, number = struct.unpack("<IQI", self._plain(layout))
        mark, _, size = struct.unpack("<4sIQ", self.at(heap, 16))
        _require(mark == b"GCOL" and size <= LARGEST_HEAP)
        place, end = heap + 16, heap + size
        while place + 16 <= end:
            found, _, _, used = struct.unpack("<HHIQ", self.at(place, 16))
            if found == number:
                _require(used == length)
                return self.at(place + 16, used).decode("ascii")
            _require(found > 0)
            place += 16 + used + -used % 8
        raise _OtherLayoutError

    def numbers(self, address: int, most: int) -> NDArray[np.float64]:
        """Return the numbers of a dataset, if their bytes are no more than allowed."""
        told = dict(self.messages(address))
        _require(len(told.get(DATASPACE, b"")) == 12)
        *head, count = struct.unpack("<BBBBQ", told[DATASPACE])
        width = next((n for n in FLOATS if told.get(DATATYPE) == datatype_of_float(n)), 0)
        _require(head == [2, 1, 0, 1] and width > 0 and 8 * count <= most)
        layout = told.get(LAYOUT, b"")
        if len(layout) == PLAIN:
            _require(FILTERS not in told)
            data = self._plain(layout)
            _require(len(data) == count * width)
            return np.frombuffer(data, f"<f{width}").astype(np.float64)
        _require(told.get(FILTERS) == filters_of_float(width))
        return self._chunks(layout, count, width)

    def _plain(self, layout: bytes) -> bytes:
        _require(len(layout) == PLAIN)
        version, kind, address, size = struct.unpack("<BBQQ", layout)
        _require((version, kind) == (3, 1))
        return self.at(address, size)

    def _chunks(self, layout: bytes, count: int, width: int) -> NDArray[np.float64]:
        """Return numbers that were shuffled and deflated in chunks, which one node of a tree lists."""
        _require(len(layout) == CHUNKED)
        version, kind, dimensions, tree, length, size = struct.unpack("<BBBQII", layout)
        _require((version, kind, dimensions, size) == (3, 2, 2, width) and 0 < length <= LARGEST_FILE)
        mark, node, level, entries = struct.unpack("<4sBBH", self.at(tree, 8))
        _require((mark, node, level) == (b"TREE", 1, 0) and entries == -(-count // length))
        values = np.empty(count, np.float64)
        for number in range(entries):
            packed, mask, first, _, address = struct.unpack("<IIQQQ", self.at(tree + 24 + 32 * number, 32))
            _require((mask, first) == (0, number * length))
            inflate = zlib.decompressobj()
            data = inflate.decompress(self.at(address, packed), length * width)
            _require(inflate.eof and len(data) == length * width)
            chunk = np.frombuffer(np.frombuffer(data, np.uint8).reshape(width, length).T.tobytes(), f"<f{width}")
            values[first : first + length] = chunk[: count - first]
        return values


def _told(file: _File) -> tuple[dict[str, Any], list[NDArray[np.float64]]]:
    groups = file.group(file.group(file.root()).get("TransformGroup", NOWHERE))
    _require(0 < len(groups) <= MOST_PARTS)
    members = [file.group(groups.get(str(number), NOWHERE)) for number in range(len(groups))]
    kinds = [file.text(each.get("TransformType", NOWHERE)) for each in members]
    if kinds[0] == COMPOSITE:
        members, kinds = members[1:], kinds[1:]
    else:
        _require(len(kinds) == 1)
    parts, arrays = [], []
    left = ALWAYS_ALLOWED + MOST_BYTES_PER_BYTE * len(file.content)
    for kind, each in zip(kinds, members, strict=True):
        fixed = file.numbers(each.get("TransformFixedParameters", NOWHERE), left)
        values = file.numbers(each.get("TransformParameters", NOWHERE), left)
        left -= fixed.nbytes + values.nbytes
        table, array = _part_of(kind, fixed, values)
        parts.append({"kind": kind.partition("_")[0], "dimension": 3, "linear": array is None, **table})
        arrays += [] if array is None else [array]
    return {"parts": parts}, arrays


def _part_of(
    kind: str, fixed: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[dict[str, Any], NDArray[np.float64] | None]:
    """Return what there is to say of a part, and its displacements if it has any."""
    if kind == AFFINE:
        _require((len(fixed), len(values)) == (3, 12))
        return {"parameters": values.tolist(), "fixed": fixed.tolist()}, None
    _require(kind == FIELD and len(fixed) == 18 and bool(((fixed[:3] >= 1) & (fixed[:3] <= len(values))).all()))
    i, j, k = (int(n) for n in fixed[:3])
    _require([i, j, k] == fixed[:3].tolist() and 3 * i * j * k == len(values))
    origin, spacing, direction = (fixed[part].tolist() for part in (slice(3, 6), slice(6, 9), slice(9, 18)))
    table = {"shape": [k, j, i, 3], "spacing": spacing, "origin": origin, "direction": direction}
    return table, values.reshape(k, j, i, 3)


def _require(claim: bool) -> None:
    if not claim:
        raise _OtherLayoutError
