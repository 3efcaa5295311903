"""What a worker writes to its standard error, line by line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

KEPT_LINES = 200
DETAIL_LINES = 30
LONGEST_LINE = 10_000  # bytes


class WorkerLog:
    """Cuts a worker's output into lines and keeps the last of them.

    Parameters
    ----------
    on_line
        Called with each line.
    """

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._on_line = on_line
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._rest = b""

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._kept)

    @property
    def details(self) -> list[str]:
        """The few last lines that say what became of a worker."""
        return list(self._kept)[-DETAIL_LINES:]

    def feed(self, data: bytes) -> None:
        """Take bytes as they come; a line counts when it has ended, and an empty one does not."""
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[:LONGEST_LINE]  # of a line that does not end, the beginning
        for line in lines:
            text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
            if text:
                self._kept.append(text)
                if self._on_line is not None:
                    self._on_line(text)

    def clear(self) -> None:
        """Forget all lines, for a fresh worker."""
        self._kept.clear()
        self._rest = b""
