"""ITK's transform files in HDF5, compressed, which SimpleITK reads but has no way to write.

The layout is that of ITK (`HDF5TransformIO`): a group for each transform with its type, its fixed parameters and its
parameters. The format is the HDF5 File Format Specification, version 3: superblock and object headers of version 2,
parameters in chunks that are shuffled and deflated. No time is written, so the same transforms give the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = b"\xff" * 8
SUPERBLOCK_BYTES = 48
# Types of messages in an object's header.
DATASPACE, LINK_INFO, DATATYPE, FILL_VALUE, LINK, LAYOUT, GROUP_INFO, FILTERS = 1, 2, 3, 5, 6, 8, 10, 11
SHUFFLE, DEFLATE = 2, 1
LEVEL = 1  # the higher ones take two to three times as long for 5 % less
LARGEST_CHUNK, MOST_CHUNKS = 1 << 20, 64  # values in a chunk; chunks that one node of the default tree lists
SMALLEST_HEAP = 4096
MASK = 0xFFFFFFFF  # words of 32 bits
# Of float64 and float32: precision, where exponent and mantissa begin, their sizes, and the exponent's bias.
FLOATS = {8: (64, 52, 11, 0, 52, 1023), 4: (32, 23, 8, 0, 23, 127)}


@dataclass(frozen=True)
class StoredTransform:
    """One transform as ITK stores it.

    Parameters
    ----------
    kind
        ITK's name of its class, such as ``"AffineTransform_double_3_3"``.
    fixed_parameters
        ``(m,)`` float64; None for a composite, which has none of its own.
    parameters
        ``(n,)`` float64, or float32 for half the size; None for a composite.

    Examples
    --------
    >>> StoredTransform("CompositeTransform_double_3_3").parameters is None
    True
    """

    kind: str
    fixed_parameters: NDArray[np.float64] | None = None
    parameters: NDArray[np.floating] | None = None


def write_hdf5(transforms: Sequence[StoredTransform], path: str | Path) -> None:
    """Write transforms into a new HDF5 file, the composite that holds the others first.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import SimpleITK as sitk
    >>> shift = StoredTransform("TranslationTransform_double_3_3", np.zeros(0), np.array([1.0, 2.0, 3.0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_hdf5([shift], f"{folder}/shift.h5")
    ...     sitk.ReadTransform(f"{folder}/shift.h5").TransformPoint((0.0, 0.0, 0.0))
    (1.0, 2.0, 3.0)
    """
    with Path(path).open("wb") as stream:
        file = _File(stream)
        texts = {"ITKVersion": "5.4", "HDFVersion": "HDF5 1.8", "OSName": "any", "OSVersion": "any"}
        strings = file.strings([*texts.values(), *(one.kind for one in transforms)])
        groups = {str(number): _group_of(file, one, strings[one.kind]) for number, one in enumerate(transforms)}
        members = {name: _text(file, strings[text]) for name, text in texts.items()}
        file.close(file.group({**members, "TransformGroup": file.group(groups)}))


def _group_of(file: _File, transform: StoredTransform, kind: bytes) -> int:
    members = {"TransformType": _text(file, kind)}
    if transform.fixed_parameters is not None and transform.parameters is not None:
        members["TransformFixedParameters"] = file.contiguous(transform.fixed_parameters.astype("<f8"))
        size = 4 if transform.parameters.dtype.itemsize == 4 else 8
        values = transform.parameters.astype(f"<f{size}", copy=False)
        members["TransformParameters"] = (
            file.compressed(values) if len(values) > LARGEST_CHUNK // 64 else (file.contiguous(values))
        )
    return file.group(members)


def _text(file: _File, reference: bytes) -> int:
    """Add a dataset of one text of any length, of which it holds only where it lies."""
    byte = bytes.fromhex("10000000 01000000 00000800".replace(" ", ""))
    kind = struct.pack("<BBBBI", 0x19, 1, 0, 0, 16) + byte
    return file.dataset(_dataspace(1), kind, _plain_layout(file.append(reference), len(reference)))


class _File:
    """An HDF5 file that is written from front to back; its superblock last."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._end = SUPERBLOCK_BYTES
        stream.write(bytes(SUPERBLOCK_BYTES))

    def append(self, block: bytes) -> int:
        """Write a block and return its address, a multiple of eight."""
        address = self._end
        padded = block + bytes(-len(block) % 8)
        self._stream.write(padded)
        self._end += len(padded)
        return address

    def close(self, root: int) -> None:
        """Write the superblock of a file whose root group is at an address."""
        head = SIGNATURE + struct.pack("<BBBBQ", 2, 8, 8, 0, 0) + UNDEFINED + struct.pack("<QQ", self._end, root)
        self._stream.seek(0)
        self._stream.write(with_checksum(head))

    def strings(self, texts: Sequence[str]) -> dict[str, bytes]:
        """Write texts into a global heap, and return what refers to each."""
        body, places = b"", []
        for number, text in enumerate(texts, start=1):
            data = text.encode("ascii")
            body += struct.pack("<HHIQ", number, 0, 0, len(data)) + data + bytes(-len(data) % 8)
            places.append((text, len(data), number))
        size = max(SMALLEST_HEAP, 16 + len(body) + 16)
        free = size - 16 - len(body)
        body += struct.pack("<HHIQ", 0, 0, 0, free) + bytes(free - 16)
        address = self.append(b"GCOL" + struct.pack("<BBBBQ", 1, 0, 0, 0, size) + body)
        return {text: struct.pack("<IQI", length, address, number) for text, length, number in places}

    def group(self, members: dict[str, int]) -> int:
        """Write a group of objects at addresses, and return its own."""
        links = [
            (LINK, struct.pack("<BBB", 1, 0, len(name)) + name.encode("ascii") + struct.pack("<Q", address))
            for name, address in members.items()
        ]
        return self.append(_header([(LINK_INFO, bytes(2) + UNDEFINED * 2), (GROUP_INFO, bytes(2)), *links]))

    def dataset(self, space: bytes, kind: bytes, layout: bytes, filters: bytes = b"") -> int:
        """Write the header of a dataset and return its address."""
        messages = [(DATASPACE, space), (DATATYPE, kind), (FILL_VALUE, bytes([3, 10])), (LAYOUT, layout)]
        return self.append(_header(messages + ([(FILTERS, filters)] if filters else [])))

    def contiguous(self, values: NDArray[np.floating]) -> int:
        """Write numbers as they are, and return the address of their dataset."""
        data = values.tobytes()
        return self.dataset(
            _dataspace(len(values)), datatype_of_float(values.itemsize), _plain_layout(self.append(data), len(data))
        )

    def compressed(self, values: NDArray[np.floating]) -> int:
        """Write numbers in chunks, shuffled and deflated, and return the address of their dataset."""
        width = values.itemsize
        length = max(LARGEST_CHUNK, -(-len(values) // MOST_CHUNKS))
        keys = []
        for first in range(0, len(values), length):
            chunk = np.zeros(length, values.dtype)  # the last one is as long as the others
            part = values[first : first + length]
            chunk[: len(part)] = part
            data = zlib.compress(chunk.view(np.uint8).reshape(-1, width).T.tobytes(), LEVEL)
            keys.append((len(data), first, self.append(data)))
        tree = self.append(_chunk_tree(keys, length, len(values)))
        layout = struct.pack("<BBBQII", 3, 2, 2, tree, length, width)
        return self.dataset(_dataspace(len(values)), datatype_of_float(width), layout, filters_of_float(width))


def _chunk_tree(keys: Sequence[tuple[int, int, int]], length: int, count: int) -> bytes:
    """Return the one node of the tree that lists chunks by size, first value and address."""
    node = b"TREE" + struct.pack("<BBH", 1, 0, len(keys)) + UNDEFINED * 2
    for size, first, address in keys:
        node += struct.pack("<IIQQQ", size, 0, first, 0, address)
    node += struct.pack("<IIQQ", 0, 0, -(-count // length) * length, 0)
    return node + bytes((MOST_CHUNKS - len(keys)) * 32)


def _header(messages: Sequence[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("<BHB", kind, len(data), 0) + data for kind, data in messages)
    return with_checksum(b"OHDR" + struct.pack("<BBI", 2, 2, len(body)) + body)


def _dataspace(count: int) -> bytes:
    return struct.pack("<BBBBQ", 2, 1, 0, 1, count)


def datatype_of_float(width: int) -> bytes:
    """Return the message that says how numbers of 4 or 8 bytes are stored.

    Examples
    --------
    >>> len(datatype_of_float(4))
    20
    """
    precision, exponent, exponent_size, mantissa, mantissa_size, bias = FLOATS[width]
    kind = struct.pack("<BBBBI", 0x11, 0x20, precision - 1, 0, width)
    return kind + struct.pack("<HHBBBBI", 0, precision, exponent, exponent_size, mantissa, mantissa_size, bias)


def filters_of_float(width: int) -> bytes:
    """Return the message that says how chunks of numbers are shuffled and deflated.

    Examples
    --------
    >>> len(filters_of_float(4))
    22
    """
    shuffle = struct.pack("<HHHI", SHUFFLE, 1, 1, width)
    return bytes([2, 2]) + shuffle + struct.pack("<HHHI", DEFLATE, 1, 1, LEVEL)


def _plain_layout(address: int, size: int) -> bytes:
    return struct.pack("<BBQQ", 3, 1, address, size)


def with_checksum(block: bytes) -> bytes:
    """Return a block with its checksum behind it.

    Examples
    --------
    >>> with_checksum(b"block")[:5]
    b'block'
    """
    return block + struct.pack("<I", lookup3(block))


def lookup3(data: bytes) -> int:
    """Return Bob Jenkins' hash of some bytes, the checksum of HDF5's metadata (lookup3.c, public domain).

    Examples
    --------
    >>> hex(lookup3(b""))
    '0xdeadbeef'
    """
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    words = np.frombuffer(data + bytes(-len(data) % 12 if data else 12), "<u4").tolist()
    for number in range(0, len(words) - 3, 3):
        a, b, c = (a + words[number]) & MASK, (b + words[number + 1]) & MASK, (c + words[number + 2]) & MASK
        a = ((a - c) & MASK) ^ _turned(c, 4)
        c = (c + b) & MASK
        b = ((b - a) & MASK) ^ _turned(a, 6)
        a = (a + c) & MASK
        c = ((c - b) & MASK) ^ _turned(b, 8)
        b = (b + a) & MASK
        a = ((a - c) & MASK) ^ _turned(c, 16)
        c = (c + b) & MASK
        b = ((b - a) & MASK) ^ _turned(a, 19)
        a = (a + c) & MASK
        c = ((c - b) & MASK) ^ _turned(b, 4)
        b = (b + a) & MASK
    if not data:
        return c
    a, b, c = (a + words[-3]) & MASK, (b + words[-2]) & MASK, (c + words[-1]) & MASK
    for turn_c, turn_a, turn_b in ((14, 11, 25), (16, 4, 14)):
        c = ((c ^ b) - _turned(b, turn_c)) & MASK
        a = ((a ^ c) - _turned(c, turn_a)) & MASK
        b = ((b ^ a) - _turned(a, turn_b)) & MASK
    return ((c ^ b) - _turned(b, 24)) & MASK


def _turned(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & MASK
