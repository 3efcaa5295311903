"""What the system's allocator does with freed memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

# Numbers from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1
SETTINGS = "MALLOC_", "GLIBC_TUNABLES"


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensor, unless the environment says otherwise.

    It gives every freed block of 32 MB or more, and what is free at the end of its heap, back to the system, which then
    clears each page before a program may write to it again. A step on five million voxels makes dozens of such blocks:
    it took 1.4 times as long. Only for processes of our own; `engine.server.release_memory` gives back what a run kept.
    """
    if sys.platform != "linux" or any(name.startswith(SETTINGS) for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):  # musl has none
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
