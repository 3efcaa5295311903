"""Whether the same call gives the same bits, in one process and in another."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.pipeline import register
from DeepRegLib.result import Registration
from Testing.benchmarks.cases import Case, find_cases, preferred
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Repeatability"
CASES = ("hippocampus_mr_msd_001_003", "brain_t1_nirep_na02_na03", "liver_mr_breathing_eth19_cyc_1_6")


def measure(options: Options) -> Table:
    """Register each case twice in one process and once in another, and compare hashes of everything that came out."""
    cases = preferred(find_cases(options.data, options.only), CASES)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    rows = []
    for case in cases:
        answers = [
            run_fresh(__spec__.name, case.folder, options.recipe, runs, limit=runs * options.limit) for runs in (2, 1)
        ]
        rows.append({"case": case.name, **compared(answers)})
        print(f"  {case.name}: {rows[-1]}", flush=True)
    passed = all(row.get("same process") and row.get("other process") for row in rows)
    return Table(TITLE, ("case", "same process", "other process", "error"), rows, (), passed)


def compared(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return whether the hashes of the runs agree."""
    errors = [answer["error"] for answer in answers if "error" in answer]
    if errors:
        return {"error": errors[0]}
    twice, once = (answer["hashes"] for answer in answers)
    return {"same process": twice[0] == twice[1], "other process": twice[0] == once[0]}


def run(folder: str, recipe: str, runs: str) -> dict[str, Any]:
    """Register a case some times and return the hashes of each result."""
    images = Case(Path(folder)).images()
    return {"hashes": [hash_of(register(*images, recipe=recipe)) for _ in range(int(runs))]}


def hash_of(result: Registration) -> str:
    """Return the SHA-256 of the warped image, both transforms and the measures."""
    points = result.fixed.geometry.points().reshape(-1, 3)[::7]
    digest = hashlib.sha256(np.ascontiguousarray(result.warped.array).tobytes())
    for transform in (result.transform, result.inverse):
        digest.update(transform.apply_to_points(points).tobytes())
    digest.update(repr(result.measures).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run(*sys.argv[1:-1])), encoding="utf-8")
