r"""Frames over two byte streams: one JSON line that announces the arrays, then their bytes.

    {"type": "request", "id": 3, "content": {"task": "register", ...}, "arrays": [{"name": "request.fixed.array",
    "dtype": "<i2", "shape": [20, 22, 18], "nbytes": 15840}]}\n<15840 bytes>

The JSON is what Python's `json` writes, so NaN and infinities pass. Nothing is ever unpickled
(docs/decisions/frames-over-stdio.md, no-pickle.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import DeepRegError

PROTOCOL_VERSION = 2
MAX_HEADER_BYTES = 8 << 20
MAX_TAIL_BYTES = 32 << 30
MAX_DIMENSIONS = 8
EXCERPT_LENGTH = 80
MAX_EXCERPT_BYTES = 4 * EXCERPT_LENGTH  # UTF-8 has up to four a character
NEWLINE = b"\n"
DTYPES = frozenset(
    ["|b1", "|i1", "|u1"]
    + [f"{order}{kind}{size}" for order in "<>" for kind in "iu" for size in (2, 4, 8)]
    + [f"{order}f{size}" for order in "<>" for size in (2, 4, 8)]
)

Piece = bytes | memoryview


class EngineError(DeepRegError):
    """The worker process cannot be started or used, died, or hangs.

    Parameters
    ----------
    message, hint
        As in every `DeepRegError`.
    details
        The last lines the worker wrote, or its traceback.
    """

    def __init__(self, message: str, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint)
        self.details = details


class MissingLibraryError(EngineError):
    """The Python of the worker lacks a library: PyTorch, most often.

    Parameters
    ----------
    message, hint, details
        As in every `EngineError`.
    library
        The name it is imported by, such as ``"torch"``.
    """

    def __init__(self, message: str, hint: str = "", details: str = "", library: str = "") -> None:
        super().__init__(message, hint, details)
        self.library = library


class ProtocolError(EngineError):
    """Bytes or a message that the protocol does not allow."""


@dataclass(frozen=True, eq=False)
class Message:
    """One message between client and worker.

    Parameters
    ----------
    type
        hello, request, progress, result, error, cancel, release, ping, pong or quit.
    id
        The request it belongs to; 0 for none.
    content
        Plain values, as JSON has them.
    arrays
        By name; the dtypes of `DTYPES`, any shape.
    """

    type: str
    id: int = 0
    content: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Layout:
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int


@dataclass
class _Frame:
    """A message whose header was read: the arrays are filled as their bytes arrive."""

    type: str
    id: int
    content: dict[str, Any]
    layouts: list[_Layout]
    tails: list[NDArray[np.uint8]]
    complete: int = 0
    filled: int = 0

    @property
    def is_whole(self) -> bool:
        return self.complete == len(self.tails)

    def take(self, received: memoryview) -> int:
        """Fill the arrays, and return how many bytes that took."""
        taken = 0
        while not self.is_whole:
            tail = self.tails[self.complete]
            count = min(len(received) - taken, tail.size - self.filled)
            tail.data[self.filled : self.filled + count] = received[taken : taken + count]
            taken += count
            self.filled += count
            if self.filled < tail.size:
                break
            self.complete, self.filled = self.complete + 1, 0
        return taken

    def message(self) -> Message:
        arrays = {
            layout.name: tail.view(layout.dtype).reshape(layout.shape)
            for layout, tail in zip(self.layouts, self.tails, strict=True)
        }
        return Message(self.type, self.id, self.content, arrays)


def encode(message: Message) -> list[Piece]:
    """Return a message as the pieces to be written one after another; contiguous arrays are not copied.

    Raises
    ------
    ProtocolError
        If an array has a dtype that is not allowed, or the header is too long.
    """
    described, pieces = [], []
    for name, array in message.arrays.items():
        if array.dtype.str not in DTYPES:
            raise ProtocolError(f"The array {name} has the type {array.dtype}, which cannot be sent.")
        described.append(
            {"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "nbytes": int(array.nbytes)}
        )
        pieces.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    header = {"type": message.type, "id": message.id, "content": message.content, "arrays": described}
    line = json.dumps(header, default=_plain).encode() + NEWLINE
    if len(line) > MAX_HEADER_BYTES:
        raise ProtocolError(f"The header of a {message.type} message has {len(line)} bytes, which is too long.")
    return [line, *pieces]


class Decoder:
    """Turns bytes, in whatever chunks they arrive, into messages.

    After a `ProtocolError` it goes on with the line after the bad one; who no longer trusts the other side drops it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._frame: _Frame | None = None
        self._skipping = False

    @property
    def in_mid_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._frame is not None or bool(self._buffer)

    def messages(self, data: bytes) -> Iterator[Message]:
        """Take bytes and yield every message they complete.

        Raises
        ------
        ProtocolError
            If the bytes are no frame; the error quotes their beginning.
        """
        self.feed(data)
        while (message := self.next_message()) is not None:
            yield message

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        rest = memoryview(data)
        if self._frame is not None and not self._buffer:
            rest = rest[self._frame.take(rest) :]  # past the buffer, so that voxels are copied once
        self._buffer += rest

    def next_message(self) -> Message | None:
        """Return the next whole message, or None until more bytes are fed.

        Raises
        ------
        ProtocolError
            If the bytes are no frame; the error quotes their beginning.
        """
        if self._frame is None:
            line = self._next_line()
            if line is None:
                return None
            self._frame = _parse(line)
        with memoryview(self._buffer) as received:
            taken = self._frame.take(received)
        del self._buffer[:taken]
        if not self._frame.is_whole:
            return None
        message, self._frame = self._frame.message(), None
        return message

    def finish(self) -> None:
        """Say that no more bytes will come.

        Raises
        ------
        ProtocolError
            If they ended in the middle of a message.
        """
        if self._frame is not None:
            missing = sum(layout.nbytes for layout in self._frame.layouts[self._frame.complete :]) - self._frame.filled
            raise ProtocolError(f"A {self._frame.type} message broke off: {missing} bytes are missing.")
        if self._buffer:
            raise ProtocolError(f"A message broke off in its header: received {excerpt(self._buffer)}.")

    def _next_line(self) -> bytes | None:
        if not self._drop_bad_line():
            return None
        if self._buffer and self._buffer[0] != ord("{"):
            raise self._refused("What was received is not a message")
        end = self._buffer.find(NEWLINE, self._searched)
        if end < 0 and len(self._buffer) <= MAX_HEADER_BYTES:
            self._searched = len(self._buffer)
            return None
        if end < 0 or end > MAX_HEADER_BYTES:
            raise self._refused(f"A message header is longer than {MAX_HEADER_BYTES} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _refused(self, what: str) -> ProtocolError:
        self._skipping = True
        return ProtocolError(f"{what}: received {excerpt(self._buffer[:MAX_EXCERPT_BYTES].partition(NEWLINE)[0])}.")

    def _drop_bad_line(self) -> bool:
        if not self._skipping:
            return True
        end = self._buffer.find(NEWLINE)
        del self._buffer[: len(self._buffer) if end < 0 else end + 1]
        self._searched = 0
        self._skipping = end < 0
        return end >= 0


def excerpt(data: bytes | bytearray) -> str:
    """Return the first characters of received bytes, quoted, what cannot be printed as a question mark."""
    text = bytes(data[:MAX_EXCERPT_BYTES]).decode("utf-8", "replace")[:EXCERPT_LENGTH]
    return "'" + "".join(c if c.isprintable() and c != "\ufffd" else "?" for c in text) + "'"


def _parse(line: bytes) -> _Frame:
    try:
        header = json.loads(line.decode("utf-8"))
        layouts = [_parse_layout(entry) for entry in header["arrays"]]
        kind, number, content = header["type"], header["id"], header["content"]
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, MemoryError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"is wrong ({error})"
        raise ProtocolError(f"A message header {reason}: received {excerpt(line)}.") from error
    if not isinstance(kind, str) or not _is_count(number) or not isinstance(content, dict):
        raise ProtocolError(f"A message header has a wrong type, id or content: received {excerpt(line)}.")
    if len({layout.name for layout in layouts}) < len(layouts):
        raise ProtocolError(f"A message header names an array twice: received {excerpt(line)}.")
    if sum(layout.nbytes for layout in layouts) > MAX_TAIL_BYTES:
        raise ProtocolError(f"A message announces more than {MAX_TAIL_BYTES} bytes: received {excerpt(line)}.")
    try:
        tails = [np.empty(layout.nbytes, dtype=np.uint8) for layout in layouts]
    except MemoryError as error:
        raise ProtocolError(
            f"A {kind} message does not fit into memory.", "Close other programs or resample the images first."
        ) from error
    return _Frame(kind, number, content, layouts, tails)


def _parse_layout(entry: Mapping[str, Any]) -> _Layout:
    name, dtype, shape, nbytes = entry["name"], entry["dtype"], entry["shape"], entry["nbytes"]
    if not isinstance(name, str):
        raise ValueError("an array's name is no text")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"the array type {str(dtype)[:20]!r} is not allowed")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(_is_count(n) for n in shape):
        raise ValueError("an array's shape is no list of sizes")
    # Axes of length 0 count as 1 here: numpy refuses an array of no voxels, too, whose other axes are too long.
    if math.prod(max(n, 1) for n in shape) > MAX_TAIL_BYTES:
        raise ValueError("an array's shape is too large")
    if not _is_count(nbytes) or nbytes != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError("an array's nbytes does not fit its shape")
    return _Layout(name, np.dtype(dtype), tuple(shape), nbytes)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent")
