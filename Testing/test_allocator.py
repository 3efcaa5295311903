"""What happens to freed memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from DeepRegLib.allocator import SETTINGS

# Half a gigabyte written and freed: how much of it does the process still hold, and how much after giving it back?
CHECK = """
import os, sys
import numpy as np
from DeepRegLib.allocator import keep_freed_memory
from DeepRegLib.engine.server import release_memory
def resident():
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
release_memory()  # loads torch
keep_freed_memory()
before = resident()
block = np.ones(64_000_000)
del block
kept = resident() - before
release_memory()
print(kept, resident() - before)
"""


GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")


def held(**settings: str) -> list[float]:
    """Return how many MB a process still holds of half a gigabyte it freed, and after it gave memory back."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    done = subprocess.run(
        [sys.executable, "-c", CHECK], env={**environment, **settings}, capture_output=True, text=True, check=True
    )
    return [float(number) for number in done.stdout.split()]


@GLIBC
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    kept, left = held()
    assert kept > 400
    assert left < 100


@GLIBC
def test_what_the_environment_says_of_the_allocator_is_left_alone() -> None:
    kept, _ = held(MALLOC_MMAP_THRESHOLD_="1000000")
    assert kept < 100
