"""What damaged files of every kind that is read do: none may crash, hang, take memory or raise what is undeclared."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table
from Testing.damage import KINDS, READ, REFUSED, damaged, outcome
from Testing.damage_of_doors import DOOR_KINDS, TOLERANT
from Testing.damage_of_results import RESULT_KINDS

TITLE = "Damaged files"
BATCH_SECONDS = 12.0
MOST_FILES = 4000
EVERY = {**KINDS, **RESULT_KINDS, **DOOR_KINDS, **TOLERANT}
LONGEST_SECONDS, MOST_MEMORY = 25.0, 1 << 30
COLUMNS = ("kind", "files", READ, REFUSED, "undeclared", "crashed", "slowest (s)", "memory (MB)")


def measure(options: Options) -> Table:
    """Damage files of each kind, in a process a kind, for some seconds."""
    rows = []
    for name in EVERY:
        if options.only not in name:
            continue
        answer = run_fresh(__spec__.name, name, BATCH_SECONDS * options.repeats, limit=3600.0)
        rows.append({"kind": name, "crashed": int("error" in answer), **answer})
        print(f"  {name}: {rows[-1]}", flush=True)
    bad = [row for row in rows if not _is_good(row)]
    total = sum(row.get("files", 0) for row in rows)
    summary = [f"{total} files; {len(bad)} of {len(rows)} kinds broke a limit ({LONGEST_SECONDS:.0f} s, 1 GB)."]
    summary += [f"{row['kind']}: {row.get('first') or row.get('error', '')}" for row in bad]
    return Table(TITLE, COLUMNS, rows, summary, not bad)


def _is_good(row: dict[str, Any]) -> bool:
    if row["crashed"] or row["undeclared"]:
        return False
    return bool(row["slowest (s)"] <= LONGEST_SECONDS and row["memory (MB)"] <= MOST_MEMORY >> 20)


def run(name: str, seconds: str) -> dict[str, Any]:
    """Damage files of one kind until the time is up."""
    kind = EVERY[name]
    counts = {"files": 0, READ: 0, REFUSED: 0, "undeclared": 0}
    slowest, first = 0.0, ""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    warnings.simplefilter("ignore")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path, target = kind.make(Path(folder))
        whole = target.read_bytes()
        while time.monotonic() - begun < float(seconds) and counts["files"] < MOST_FILES:
            target.parent.mkdir(parents=True, exist_ok=True)  # what tidies up after others may have removed it
            target.write_bytes(damaged(whole, np.random.default_rng(counts["files"])))
            before = time.monotonic()
            try:
                counts[outcome(kind, path)] += 1
            except Exception as error:  # noqa: BLE001  # what escapes is what is counted
                counts["undeclared"] += 1
                first = first or f"seed {counts['files']}: {type(error).__name__}: {error}"[:300]
            slowest = max(slowest, time.monotonic() - before)
            counts["files"] += 1
    return {**counts, "slowest (s)": round(slowest, 2), "memory (MB)": _peak(), "first": first}


def _peak() -> int:
    """Return the most memory that this process or one of its children had, in MB."""
    import resource

    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // scale


if __name__ == "__main__":
    *words, answer_path = sys.argv[1:]
    Path(answer_path).write_text(json.dumps(run(*words)), encoding="utf-8")
