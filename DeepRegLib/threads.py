"""How the threads that torch computes with wait for each other. Imports no torch, which reads it when it is loaded."""

from __future__ import annotations

import os

# Threads that spin for long while they wait take a shared machine's cores from each other, and a window's from the
# user; threads that sleep at once must be woken for every small step. Adding 64k numbers on two cores took .014 ms
# spinning for some microseconds, as it did spinning for milliseconds, and .13 ms sleeping; with both cores busy
# otherwise .04, 8 and .2 ms. Only GNU's OpenMP, which torch has on Linux, reads the second.
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "3000"}


def wait_briefly() -> None:
    """Have waiting threads spin for some microseconds and then sleep, unless the environment says otherwise."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
