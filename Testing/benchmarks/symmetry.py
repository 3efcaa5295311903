"""What swapping the scans changes, and what `symmetric = true` gains and loses on pairs whose truth is known."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.evaluation import target_registration_error
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import load_recipe
from DeepRegLib.registration import Registration
from DeepRegLib.transforms import Transform, apply_to_labels
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.pairs import common_dice
from Testing.benchmarks.tables import Table, nothing

TITLE = "What swapping the scans changes"
COLUMNS = (
    "pair",
    "way",
    "Dice there",
    "Dice back",
    "TRE there",
    "TRE back",
    "sd log J there",
    "sd log J back",
    "swap mean",
    "swap p99",
    "CPU seconds",
    "error",
)
POINTS = 5000


def measure(options: Options) -> Table:
    """Register every case both ways as the recipe does, and from either side."""
    cases = find_cases(options.data, options.only)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    rows: list[dict[str, Any]] = []
    for case in cases:
        answer = run_fresh(__spec__.name, case.folder, options.recipe, limit=options.peers.limit)
        found = answer.get("rows", [{"way": options.recipe, "error": answer.get("error")}])
        rows += [{"pair": case.name, **row} for row in found]
        print(f"  {case.name}: {found}", flush=True)
    summary = (
        "There: the fixed scan as given; back: the scans swapped. With `symmetric = true` the way back is the inverse. "
        "Swap: how far points of the fixed anatomy end from where they began, there and back, mm.",
    )
    return Table(f"{TITLE}, recipe {options.recipe}", COLUMNS, rows, summary)


def run_once(folder: str, name: str) -> dict[str, Any]:
    """Register one case both ways, and from either side, and measure them against what is known of the truth."""
    case, recipe = Case(Path(folder)), load_recipe(name)
    fixed, moving = case.images()
    begin = time.process_time()
    there = register(fixed, moving, recipe)
    seconds = time.process_time() - begin
    back = register(moving, fixed, recipe)
    begin = time.process_time()
    middle = register(fixed, moving, replace(recipe, symmetric=True))
    twice = time.process_time() - begin
    plain = _row(case, there, there.transform, back.transform) | {
        "way": name,
        "sd log J back": back.measures.log_jacobian_sd,
        "CPU seconds": seconds,
    }
    symmetric = _row(case, middle, middle.transform, middle.inverse) | {"way": "symmetric", "CPU seconds": twice}
    return {"rows": [plain, symmetric]}


def _row(case: Case, result: Registration, there: Transform, back: Transform) -> dict[str, Any]:
    fixed, moving = case.images()
    found: dict[str, Any] = {"sd log J there": result.measures.log_jacobian_sd}
    labels, landmarks = case.labels(), case.landmarks()
    if labels is not None:
        mine, theirs = labels
        found["Dice there"] = common_dice(mine, apply_to_labels(there, theirs, fixed.geometry), theirs)
        found["Dice back"] = common_dice(theirs, apply_to_labels(back, mine, moving.geometry), mine)
    if landmarks is not None:
        found["TRE there"] = float(np.mean(target_registration_error(there, *landmarks)))
        found["TRE back"] = float(np.mean(target_registration_error(back, *landmarks[::-1])))
    inside = np.argwhere(result.fixed_foreground.array)[:, ::-1]
    chosen = inside[np.random.default_rng(0).integers(0, len(inside), POINTS)]
    points = fixed.geometry.to_world(chosen)
    off = np.linalg.norm(back.apply_to_points(there.apply_to_points(points)) - points, axis=1)
    return found | {"swap mean": float(off.mean()), "swap p99": float(np.percentile(off, 99))}


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
