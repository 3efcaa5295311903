"""The voxels of a file: as many bytes as its header promises, or an error; never more memory than the file fills."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.formats.raster import DamagedFileError
from DeepRegLib.naming import shown

BLOCK, BEGINNING = 1 << 20, 4096
DECOMPRESSED_AT_ONCE = 8 << 20
READ_PAST_THE_END = 64 << 20
MOST_GROWTH = 1040  # a deflated byte makes at most 1032
GZIP = b"\x1f\x8b"
ZLIB_OR_GZIP = 47  # of zlib's window sizes, the one that asks the stream which of both it is


def is_gzip(path: Path) -> bool:
    """Tell whether a file begins as a gzip stream does, whatever its name says."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP


def first_bytes(path: Path, count: int) -> bytes:
    """Return the beginning of a file, decompressed if it is a gzip stream; less where there is less."""
    with path.open("rb", buffering=0) as stream:
        block = stream.read(max(count, BEGINNING))
        if not block.startswith(GZIP):
            return block[:count]
        data, reader = b"", zlib.decompressobj(ZLIB_OR_GZIP)
        try:
            while len(data) < count and not reader.eof and block:
                data += reader.decompress(block, count - len(data))
                block = stream.read(BEGINNING)
        except zlib.error as error:
            raise DamagedFileError(f"{shown(path)} is damaged: it cannot be unpacked.") from error
    return data


def read_array(
    path: Path,
    dtype: np.dtype[Any],
    count: int,
    *,
    start: int = 0,
    skip: int = 0,
    compressed: bool = False,
    name: str = "",
    on_disk: bool = False,
) -> NDArray[Any]:
    """Read `count` numbers from a file.

    Parameters
    ----------
    path
        The file.
    dtype
        Their type, with its byte order.
    count
        How many.
    start
        Byte of the file at which the stream begins; negative: so that it ends with the file.
    skip
        Bytes of the decompressed stream in front of the numbers.
    compressed
        Whether it is a zlib or gzip stream, or several gzip streams one after another.
    name
        What to call it in messages: the header that names it; by default the file itself.
    on_disk
        Leave the numbers on disk, to be read when they are looked at: where they lie, or unpacked into a temporary
        file that goes when the array goes.

    Raises
    ------
    DamagedFileError
        If there are fewer, or the stream is damaged.
    """
    called = name or shown(path)
    wanted, length = count * dtype.itemsize, path.stat().st_size
    if start < 0:
        start = length - wanted
    if start < 0 or skip + wanted > max(length - start, 0) * (MOST_GROWTH if compressed else 1):
        raise _truncated(called)
    if on_disk and not compressed and start + skip + wanted <= length:
        return np.memmap(path, dtype, "r", start + skip, (count,))
    if on_disk:
        with tempfile.TemporaryFile(prefix="deepreg-") as spool:
            array: NDArray[Any] = np.memmap(spool, dtype, "w+", 0, (count,))
    else:
        array = np.empty(count, dtype=dtype)  # memory is taken by what is written to it, not before
    target = array.view(np.uint8).data
    with path.open("rb") as stream:
        if compressed:
            stream.seek(start)
            filled = _decompress(stream, target, skip, called)
        else:
            stream.seek(start + skip)
            filled = _copy(stream, target)
    if filled < wanted:
        raise _truncated(called)
    return array


def _copy(stream: IO[bytes], target: memoryview) -> int:
    filled = 0
    while block := stream.read(min(BLOCK * 8, len(target) - filled)):
        target[filled : filled + len(block)] = block
        filled += len(block)
    return filled


def _decompress(stream: IO[bytes], target: memoryview, skip: int, name: str) -> int:
    """Fill `target`, and read on to the stream's end, where its checksum stands; return how much was filled."""
    reader, waiting, hungry, position = zlib.decompressobj(ZLIB_OR_GZIP), b"", True, -skip
    try:
        while position < len(target) + READ_PAST_THE_END:
            if not waiting and hungry and not (waiting := stream.read(BLOCK)):
                break
            block = reader.decompress(waiting, DECOMPRESSED_AT_ONCE)
            waiting, hungry = reader.unconsumed_tail, len(block) < DECOMPRESSED_AT_ONCE
            position = _put(block, target, position)
            if reader.eof:
                waiting = reader.unused_data or stream.read(BLOCK)
                if not waiting.startswith(GZIP):
                    return max(min(position, len(target)), 0)
                reader, hungry = zlib.decompressobj(ZLIB_OR_GZIP), True
    except zlib.error as error:
        raise DamagedFileError(f"{name} is damaged: its voxels cannot be unpacked.") from error
    return len(target) if position >= len(target) + READ_PAST_THE_END else -1


def _put(block: bytes, target: memoryview, position: int) -> int:
    first, last = max(position, 0), min(position + len(block), len(target))
    if last > first:
        target[first:last] = block[first - position : last - position]
    return position + len(block)


def _truncated(name: str) -> DamagedFileError:
    return DamagedFileError(f"{name} is damaged or truncated: voxels are missing.")
