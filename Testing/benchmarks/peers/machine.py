"""The machine: what it is, and whether it had other things to do."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def description() -> str:
    """Return processor, cores, memory and system."""
    return f"{processor()}, {cores()} cores, {memory()}{platform.system()} {platform.machine()}"


def processor() -> str:
    """Return the name of the processor."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def memory() -> str:
    """Return the size of the memory and a comma, or nothing where it cannot be told."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return ""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB, "


@dataclass
class Watch:
    """Seconds on the wall, and the share of the machine that other processes took meanwhile (None: not known)."""

    seconds: float = 0.0
    others: float | None = None


@contextmanager
def watched() -> Iterator[Watch]:
    """Time what is done inside by a child process."""
    watch = Watch()
    begin, busy, own = perf_counter(), busy_seconds(), child_seconds()
    yield watch
    watch.seconds = perf_counter() - begin
    after = busy_seconds()
    if busy is not None and after is not None:
        taken = after - busy - (child_seconds() - own)
        watch.others = max(0.0, taken / (watch.seconds * (os.cpu_count() or 1)))


def busy_seconds() -> float | None:
    """Return the seconds that all cores have worked since the machine started; None where that cannot be told."""
    if sys.platform == "linux":
        return _worked(Path("/proc/stat").read_text(encoding="ascii"), os.sysconf("SC_CLK_TCK"))
    if sys.platform == "win32":
        return None
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    times = psutil.cpu_times()
    return sum(times) - times.idle


def _worked(statistics: str, ticks_a_second: int) -> float:
    """Return what all cores have worked from the kernel's statistics, which count a guest's time as its user's."""
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, statistics.split()[1:9])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / ticks_a_second


def child_seconds() -> float:
    """Return the processor time of the child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system
