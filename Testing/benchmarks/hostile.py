"""Whether anything a broken or hostile worker says escapes the client: thousands of damaged runs, from seeds."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from Testing.benchmarks.child import peak_memory
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table
from Testing.engine.damage import survives

TITLE = "Damaged messages of a worker"
COLUMNS = ("runs", "results", "errors told", "escaped", "slowest run (s)", "over 25 s", "peak memory (GB)")
RUNS_A_COUNT = 200
FIRST_SEED = 1000  # the tests have those before
LONGEST, LARGEST_GB = 25.0, 1.0


def measure(options: Options) -> Table:
    """Play runs with damaged messages, two hundred for each of `--count`."""
    ends: Counter[str] = Counter()
    escaped: list[str] = []
    slowest = 0.0
    over = 0
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS_A_COUNT * options.count):
        began = time.perf_counter()
        end, escape = _played(seed)
        seconds = time.perf_counter() - began
        ends[end] += 1
        escaped += escape
        slowest, over = max(slowest, seconds), over + (seconds > LONGEST)
    row: dict[str, Any] = {
        "runs": sum(ends.values()),
        "results": ends["result"],
        "errors told": sum(ends.values()) - ends["result"] - ends["escaped"],
        "escaped": ends["escaped"],
        "slowest run (s)": slowest,
        "over 25 s": over,
        "peak memory (GB)": peak_memory(),
    }
    passed = not escaped and over == 0 and row["peak memory (GB)"] < LARGEST_GB
    return Table(TITLE, COLUMNS, [row], tuple(escaped[:10]), passed)


def _played(seed: int) -> tuple[str, list[str]]:
    try:
        return survives(seed), []
    except Exception as error:  # noqa: BLE001  # that is what is counted
        return "escaped", [f"seed {seed}: {type(error).__name__}: {str(error)[:100]}"]
