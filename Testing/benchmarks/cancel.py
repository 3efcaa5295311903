"""How long a run goes without asking whether to stop: the longest time between two polls of cancel, stage by stage."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from DeepRegLib.image import read_image
from DeepRegLib.pipeline import register
from Testing.benchmarks.cases import FULL_SIZE_PAIRS, find_cases, preferred, write_pair
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Longest time between two polls of cancel"
LIMIT = 0.7  # seconds, so that a cancel is answered within one on a machine that has other things to do
COLUMNS = ("image", "stage", "seconds", "cpu seconds", "polls", "from", "to")
WATCHERS = ("cancel.py", "monitoring.py")


@dataclass
class Gap:
    """The longest time between two polls of one stage, and the lines of the library it lies between."""

    seconds: float = 0.0
    cpu: float = 0.0
    polls: int = 0
    begin: str = ""
    end: str = ""


@dataclass
class PollWatch:
    """A `cancel` that never cancels and keeps the longest gap of every stage; `progress` tells it the stage.

    Parameters
    ----------
    clock, cpu_clock
        Seconds on the wall, and seconds of the process on all its cores.
    """

    clock: Callable[[], float] = time.perf_counter
    cpu_clock: Callable[[], float] = time.process_time
    gaps: dict[str, Gap] = field(default_factory=dict)
    _stage: str = ""
    _last: tuple[float, float, str] | None = None

    def cancel(self) -> bool:
        """Note the time since the last call."""
        self._note(_caller(sys._getframe(1)))
        return False

    def progress(self, stage: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
        """Take note of the stage."""
        self._stage = stage

    def finish(self) -> None:
        """Note the time from the last poll to the end of the run."""
        self._note("the end")

    def _note(self, place: str) -> None:
        now = (self.clock(), self.cpu_clock(), place)
        if self._last is not None:
            gap = self.gaps.setdefault(self._stage, Gap())
            gap.polls += 1
            if now[0] - self._last[0] > gap.seconds:
                gap.seconds, gap.cpu = now[0] - self._last[0], now[1] - self._last[1]
                gap.begin, gap.end = self._last[2], place
        self._last = now


def measure(options: Options) -> Table:
    """Run one pair at its own size and at that of the speed measurement, each in a process of its own."""
    cases = preferred(find_cases(options.data, options.only), FULL_SIZE_PAIRS)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    with tempfile.TemporaryDirectory() as folder:
        own = cases[0].folder / "fixed.nii.gz", cases[0].folder / "moving.nii.gz"
        rows = []
        for paths in (own, write_pair(cases[0], Path(folder))):
            answer = run_fresh(__spec__.name, *paths, options.recipe, limit=options.limit)
            rows += answer.get("rows") or [answer]
    # On a busy machine the clock on the wall counts others' work too; alone, the time would not exceed the smaller one.
    passed = all("error" not in row and min(row["seconds"], row["cpu seconds"]) <= LIMIT for row in rows)
    notes = (f"Limit {LIMIT} s, for the smaller of both times.",)
    return Table(f"{TITLE} ({cases[0].name})", COLUMNS, rows, notes, passed)


def run_once(fixed: str, moving: str, recipe: str) -> dict[str, Any]:
    """Register two files and return a row for each stage."""
    images = read_image(fixed), read_image(moving)
    watch = PollWatch()
    register(*images, recipe=recipe, device="cpu", progress=watch.progress, cancel=watch.cancel)
    watch.finish()
    name = " x ".join(map(str, images[0].geometry.size))
    return {"rows": [_row(name, stage, gap) for stage, gap in watch.gaps.items()]}


def _row(image: str, stage: str, gap: Gap) -> dict[str, Any]:
    return {
        "image": image,
        "stage": stage,
        "seconds": gap.seconds,
        "cpu seconds": gap.cpu,
        "polls": gap.polls,
        "from": gap.begin,
        "to": gap.end,
    }


def _caller(frame: FrameType | None) -> str:
    """Return the line of the library that polled, past the functions that only hand the poll on."""
    frames = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=12, lookup_lines=False)
    for entry in frames:
        if Path(entry.filename).name not in WATCHERS:
            return f"{Path(entry.filename).stem}:{entry.lineno}"
    return "?"


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
