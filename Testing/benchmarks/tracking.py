"""A patient followed: each next scan from the last result, beside a registration of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.registration import Registration
from DeepRegLib.tracking.request import FOLLOWED
from DeepRegLib.tracking.tracker import Tracker
from DeepRegLib.transforms import Transform
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.made_series import breathing, smaller
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "A patient followed"
COLUMNS = ("series", "scan", "way", "mean mm", "CPU seconds", "share", "verdict", "error")
SET = "liver_mr"
WHOLE, LEFT, FOLLOWING = "registered by itself", "the last result, left as it is", "followed"
MOST_SHARE, MOST_WORSE = 0.2, 0.1  # of a full registration's time; mm
STEP = 2.0  # mm
DEPTHS = (0.0, 4.0, 7.0, 9.0)  # mm, of the breathing that is made
LIMIT = 3600.0
Points = NDArray[np.float64]
Answer = TypeVar("Answer")


def measure(options: Options) -> Table:
    """Follow the breaths of every volunteer, and a breath made of one."""
    people: dict[str, list[Case]] = {}
    for case in find_cases(options.data, options.only):
        if case.name.startswith(SET):
            people.setdefault(case.name.partition("_cyc")[0], []).append(case)
    series = [cases for cases in people.values() if len(cases) > 1]
    if not series:
        return nothing(TITLE, f"There is no case {SET}* with two scans of one volunteer in {options.data}.")
    rows: list[dict[str, Any]] = []
    jobs = [*series, series[0][:1]]
    for cases in jobs:
        answer = run_fresh(__spec__.name, options.recipe, *(case.folder for case in cases), limit=LIMIT)
        rows += answer.get("rows", [{"series": cases[0].name, "error": answer.get("error")}])
        print(f"  {answer}", flush=True)
    alone = {(row["series"], row["scan"]): row for row in rows if row.get("way") == WHOLE}
    followed = [row for row in rows if "share" in row]
    kept = [
        row["share"] <= MOST_SHARE and row["mean mm"] <= alone[row["series"], row["scan"]]["mean mm"] + MOST_WORSE
        for row in followed
    ]
    summary = (
        "The first scan is searched for, each next one followed from the result before, and registered by itself just "
        "before that. Errors are those of the landmarks, or of points whose motion is known. Seconds are those of the "
        f"processor; wanted are at most {MOST_SHARE} of a registration's, and an error larger by at most {MOST_WORSE} "
        "mm.",
    )
    return Table(TITLE, COLUMNS, rows, summary, passed=bool(kept) and all(kept))


def run_once(recipe: str, *folders: str) -> dict[str, Any]:
    """Follow one series: that of several cases, or the one made of a single case."""
    cases = [Case(Path(folder)) for folder in folders]
    scans, points, truth, name = _real(cases) if len(cases) > 1 else _made(cases[0])
    tracker = Tracker(scans[0], recipe, device="cpu")
    last = tracker.register(scans[1]).transform
    rows: list[dict[str, Any]] = []
    for number, scan in enumerate(scans[2:], start=2):
        where = points[number - 1], truth[number - 1]
        whole, seconds = _timed(lambda scan=scan: register(scans[0], scan, recipe, device="cpu"))  # type: ignore[misc]
        found, quick = _timed(lambda scan=scan: tracker.register(scan))  # type: ignore[misc]
        about = {"series": name, "scan": number}
        way = FOLLOWING if FOLLOWED in found.provenance else f"{FOLLOWING}, then searched for"
        rows += [
            about | {"way": WHOLE, **_row(whole, where), "CPU seconds": round(seconds, 1)},
            about | {"way": LEFT, "mean mm": _error(last, where)},
            about | {"way": way, **_row(found, where), "CPU seconds": round(quick, 1), "share": quick / seconds},
        ]
        last = found.transform
    return {"rows": rows}


def _real(cases: Sequence[Case]) -> tuple[list[Image], list[Points], list[Points], str]:
    """Return the fixed scan and each moving one, and the landmarks of each pair."""
    pairs = [case.images() for case in cases]
    marks = [case.landmarks() for case in cases]
    known = [each for each in marks if each is not None]
    name = cases[0].name.partition("_cyc")[0]
    return [pairs[0][0], *(pair[1] for pair in pairs)], [each[0] for each in known], [each[1] for each in known], name


def _made(case: Case) -> tuple[list[Image], list[Points], list[Points], str]:
    rest = smaller(case.images()[0], STEP)
    amounts = np.array([[depth, depth / 4] for depth in DEPTHS])
    made = breathing(f"{case.name}, made to breathe", rest, amounts, [[0, 1, 0], [1, 0, 0]])
    return list(made.frames), [made.points] * (len(DEPTHS) - 1), list(made.truth[1:]), made.name


def _row(found: Registration, where: tuple[Points, Points]) -> dict[str, Any]:
    return {"mean mm": _error(found.transform, where), "verdict": found.verdict.level}


def _error(transform: Transform, where: tuple[Points, Points]) -> float:
    return round(float(np.linalg.norm(transform.apply_to_points(where[0]) - where[1], axis=1).mean()), 3)


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    begun = time.process_time()
    return work(), time.process_time() - begun


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
