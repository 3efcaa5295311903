"""How a process of DeepReg's own runs: how torch's threads wait, and what the allocator does with freed memory.

Imports no torch, which reads some of it when it is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

# Threads that spin for long while they wait take a shared machine's cores from each other, and a window's from the
# user; threads that sleep at once must be woken for every small step. Adding 64k numbers on two cores took .014 ms
# spinning for some microseconds, as it did spinning for milliseconds, and .13 ms sleeping; with both cores busy
# otherwise .04, 8 and .2 ms. Only GNU's OpenMP, which torch has on Linux, reads the second.
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "3000"}
# Numbers from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1
ALLOCATOR_SETTINGS = "MALLOC_", "GLIBC_TUNABLES"


def prepare_process() -> None:
    """Prepare a process that is ours alone, before it loads torch; what the environment says otherwise stays."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    if not any(name.startswith(ALLOCATOR_SETTINGS) for name in os.environ):
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensor.

    It gives every freed block of 32 MB or more, and what is free at the end of its heap, back to the system, which then
    clears each page before a program may write to it again. A step on five million voxels makes dozens of such blocks:
    it took 1.4 times as long.
    """
    _call_glibc("mallopt", M_MMAP_MAX, 0)
    _call_glibc("mallopt", M_TRIM_THRESHOLD, LARGEST_INT)


def give_freed_memory_back() -> None:
    """Have glibc give what it keeps, hundreds of megabytes after a run, back to the system."""
    _call_glibc("malloc_trim", 0)


def _call_glibc(name: str, *numbers: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no such functions
            ctypes.CDLL(None)[name](*numbers)


def this_python() -> str:
    """Return the program that runs Python as this process has it.

    ``sys.executable`` names it, or its launcher; inside 3D Slicer it may name Slicer itself, whose launcher for Python
    lies beside it.
    """
    executable = Path(sys.executable or "python3")
    if "python" in executable.name.lower():
        return str(executable)
    suffix = ".exe" if sys.platform == "win32" else ""
    for folder in (executable.parent, *executable.parents[1:3]):
        launcher = folder / "bin" / f"PythonSlicer{suffix}"
        if launcher.is_file():
            return str(launcher)
    return str(executable)
