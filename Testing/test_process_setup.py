"""How waiting threads behave, which must be said before torch is loaded, and what happens to freed memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from DeepRegLib.process_setup import ALLOCATOR_SETTINGS, WAITING, prepare_process

# Half a gigabyte written and freed: how much of it does the process still hold, and how much after giving it back?
CHECK = """
import os
import numpy as np
from DeepRegLib.engine.server import release_memory
from DeepRegLib.process_setup import prepare_process
def resident():
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
release_memory()  # loads torch
prepare_process()
before = resident()
block = np.ones(64_000_000)
del block
kept = resident() - before
release_memory()
print(kept, resident() - before)
"""
GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")


def test_what_the_environment_says_of_threads_is_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert os.environ["GOMP_SPINCOUNT"] == WAITING["GOMP_SPINCOUNT"]


@pytest.mark.parametrize(
    "start",
    [
        "from DeepRegLib.cli import main; main(['--version'])",
        "from DeepRegLib.engine.worker import main; main()",
    ],
    ids=["command line", "worker"],
)
def test_how_threads_wait_is_said_before_torch_is_loaded(start):
    check = (
        "import builtins, os, sys\n"
        "real = builtins.__import__\n"
        "def watched(name, *rest, **more):\n"
        "    if name == 'torch' and 'GOMP_SPINCOUNT' not in os.environ: os._exit(3)\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = watched\n"
        f"try:\n    exec({start!r})\nfinally:\n    os._exit(0 if 'GOMP_SPINCOUNT' in os.environ else 4)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", check], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def held(**settings: str) -> list[float]:
    """Return how many MB a process still holds of half a gigabyte it freed, and after it gave memory back."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ALLOCATOR_SETTINGS)}
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
