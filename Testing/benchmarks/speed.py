"""Seconds and memory of the default registration of two brains of 160 x 192 x 224 voxels."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from DeepRegLib.image import read_image
from DeepRegLib.pipeline import register
from Testing.benchmarks.cases import FULL_SIZE_PAIRS, find_cases, preferred, write_pair
from Testing.benchmarks.child import peak_memory, run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Speed, 160 x 192 x 224"
LIMITS = {"deformable": 15.0, "total": 40.0, "peak GB": 3.0}


def measure(options: Options) -> Table:
    """Run the registration several times, each in a process of its own, and compare the medians with the limits."""
    cases = preferred(find_cases(options.data, options.only), FULL_SIZE_PAIRS)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    with tempfile.TemporaryDirectory() as folder:
        fixed, moving = write_pair(cases[0], Path(folder))
        rows = []
        for number in range(options.repeats):
            answer = run_fresh(__spec__.name, fixed, moving, options.recipe, limit=options.limit)
            rows.append({"run": number + 1, **answer})
            print(f"  run {number + 1}: {answer.get('error') or answer['total']}", flush=True)
    return summed_up(cases[0].name, rows)


def summed_up(name: str, rows: list[dict[str, Any]]) -> Table:
    """Return the runs with their medians."""
    done = [row for row in rows if "error" not in row]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    title = f"{TITLE} ({name})"
    if not done:
        return Table(title, columns, rows, ("No run ended.",), passed=False)
    middle = {key: median(row.get(key, 0.0) for row in done) for key in columns if key not in ("run", "error")}
    summary = [f"{key}: median {middle[key]:.2f}, limit {limit:g}" for key, limit in LIMITS.items() if key in middle]
    passed = len(done) == len(rows) and all(middle.get(key, 0) <= limit for key, limit in LIMITS.items())
    return Table(title, columns, [*rows, {"run": "median", **middle}], summary, passed)


def run_once(fixed: str, moving: str, recipe: str) -> dict[str, float]:
    """Register two files and return the seconds of the stages and of the whole, and the peak memory in GB."""
    images = read_image(fixed), read_image(moving)
    start = time.perf_counter()
    result = register(*images, recipe=recipe, device="cpu")
    total = time.perf_counter() - start
    return {**result.timings, "total": total, "peak GB": peak_memory()}


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
