"""Accuracy on every real pair: before, after the linear stage, at the end."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from DeepRegLib.evaluation import dice, target_registration_error
from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_labels, linear_part
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Accuracy on real pairs"
STEPS = ("before", "linear", "end")
COLUMNS = (
    "case",
    *(f"Dice {step}" for step in STEPS),
    *(f"TRE {step}" for step in STEPS),
    "folds",
    "sd log J",
    "inverse mean",
    "inverse p99",
    "verdict",
    "seconds",
    "error",
)
LARGEST_INVERSE_MEAN, LARGEST_INVERSE_P99 = 0.1, 0.5


def measure(options: Options) -> Table:
    """Register every case in a process of its own; what fails or takes too long is a row as well."""
    cases = find_cases(options.data, options.only)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    rows = []
    for case in cases:
        rows.append({"case": case.name, **run_fresh(__spec__.name, case.folder, options.recipe, limit=options.limit)})
        print(f"  {case.name}: {rows[-1].get('error') or rows[-1]['verdict']}", flush=True)
    done = [row for row in rows if "error" not in row]
    regular = [row for row in done if is_regular(row)]
    summary = [
        f"{len(done)} of {len(rows)} ended. {len(regular)} have no fold and an inverse error below "
        f"{LARGEST_INVERSE_MEAN:g} mm on average and {LARGEST_INVERSE_P99:g} mm at the 99th percentile."
    ]
    return Table(f"{TITLE}, recipe {options.recipe}", COLUMNS, rows, summary, len(regular) == len(rows))


def is_regular(row: dict[str, Any]) -> bool:
    """Tell whether a result keeps the limits on folds and inverse error."""
    small = row["inverse mean"] < LARGEST_INVERSE_MEAN and row["inverse p99"] < LARGEST_INVERSE_P99
    return row["folds"] == 0 and small


def run_once(folder: str, recipe: str) -> dict[str, Any]:
    """Register one case and measure it against what is known of the truth."""
    case = Case(Path(folder))
    fixed, moving = case.images()
    start = time.perf_counter()
    result = register(fixed, moving, recipe=recipe)
    seconds = time.perf_counter() - start
    row: dict[str, Any] = {
        "folds": result.measures.folds,
        "sd log J": result.measures.log_jacobian_sd,
        "inverse mean": result.measures.inverse_error_mean,
        "inverse p99": result.measures.inverse_error_p99,
        "verdict": result.verdict.level,
        "reasons": result.verdict.reasons,
        "decisions": result.decisions,
        "timings": dict(result.timings),
        "seconds": seconds,
    }
    transforms = (LinearTransform.identity(), linear_part(result.transform), result.transform)
    for step, transform in zip(STEPS, transforms, strict=True):
        row |= truth_of(case, transform, step)
    return row


def truth_of(case: Case, transform: Transform, step: str) -> dict[str, float]:
    """Return mean Dice and mean TRE in mm of one transform, where labels or landmarks are known."""
    found = {}
    labels = case.labels()
    if labels is not None:
        found[f"Dice {step}"] = common_dice(
            labels[0], apply_to_labels(transform, labels[1], labels[0].geometry), labels[1]
        )
    landmarks = case.landmarks()
    if landmarks is not None:
        found[f"TRE {step}"] = float(target_registration_error(transform, *landmarks).mean())
    return found


def common_dice(fixed: Image, warped: Image, moving: Image) -> float:
    """Return the mean Dice over the labels that both maps of the case have."""
    scores = dice(fixed, warped)
    common = set(map(int, set(fixed.array.flat))) & set(map(int, set(moving.array.flat))) - {0}
    return math.fsum(scores.get(label, 0.0) for label in common) / len(common) if common else math.nan


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
