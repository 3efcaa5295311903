"""The panel under a clock: how long it takes to appear, start and stop, and how long the window ever stands still."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from Testing.benchmarks.cases import FULL_SIZE, FULL_SIZE_PAIRS, find_cases, preferred, write_pair
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "The panel, {} x {} x {}".format(*FULL_SIZE)
MODULE = Path(__file__).resolve().parents[2] / "DeepReg" / "DeepReg.py"
LIMITS = {
    "first appearance": 0.5,
    "click to computing": 0.2,
    "longest gap": 0.05,
    "gap of the results": 0.3,
    "longest cancel": 1.0,
}
CANCELS = 10
TICK_MILLISECONDS = 10
LONGEST_RUN_SECONDS = 600.0
WHOLE_SECONDS = 3600.0


def measure(options: Options) -> Table:
    """Click through the panel in a process of its own, with the real engine, and compare with the limits."""
    cases = preferred(find_cases(options.data, options.only), FULL_SIZE_PAIRS)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    with tempfile.TemporaryDirectory() as folder:
        fixed, moving = write_pair(cases[0], Path(folder))
        answer = run_fresh(__spec__.name, fixed, moving, options.recipe, limit=WHOLE_SECONDS)
    if "error" in answer:
        return Table(TITLE, ["error"], [answer], (str(answer["error"]),), passed=False)
    rows = [{"what": name, "seconds": round(answer[name], 3), "limit": limit} for name, limit in LIMITS.items()]
    notes = (
        f"torch imported by Slicer's process: {answer['torch']}",
        f"click to computing is the median of {answer['starts']}",
        f"all cancels: {answer['cancels']}",
    )
    passed = not answer["torch"] and all(answer[name] <= limit for name, limit in LIMITS.items())
    return Table(f"{TITLE} ({cases[0].name})", ["what", "seconds", "limit"], rows, notes, passed)


def click_through(fixed: str, moving: str, recipe: str) -> dict[str, Any]:
    """Open the panel, register twice and cancel often; return seconds."""
    import slicer

    from Testing.desktop import boot

    desktop = boot()
    start = time.perf_counter()
    module = desktop.load_module(MODULE)
    desktop.show(module.panel, (440, 760))
    appeared = time.perf_counter() - start
    torch = "torch" in sys.modules
    volumes = [slicer.util.loadVolume(path) for path in (fixed, moving)]
    module.panel.enter()
    parameters = module.widget._parameters
    parameters.fixedVolume, parameters.movingVolume, parameters.recipe = *volumes, recipe
    desktop.process_events()
    visit = Visit(desktop, module)
    visit.register()
    gaps, loading, computing = visit.register()
    starts, cancels = zip(*(visit.cancel(moment) for moment in moments()), strict=True)
    module.widget.logic.close()
    desktop.close()
    return {
        "first appearance": appeared,
        "click to computing": median((computing, *starts)),
        "longest gap": gaps,
        "gap of the results": loading,
        "longest cancel": max(cancels),
        "starts": [round(seconds, 2) for seconds in (computing, *starts)],
        "cancels": [round(seconds, 2) for seconds in cancels],
        "torch": torch,
    }


def moments() -> list[float]:
    """Return when to cancel, as shares of the progress bar."""
    return sorted(random.Random(0).uniform(0.05, 0.85) for _ in range(CANCELS))


class Visit:
    """What is done with the open panel."""

    def __init__(self, desktop: Any, module: Any) -> None:
        self._desktop = desktop
        self._ui = module.widget.ui
        self._section = module.widget.panel.registration

    def register(self) -> tuple[float, float, float]:
        """Register; return the longest gap of the event loop, the one in which results came, and click to computing."""
        from PySide6.QtCore import QTimer

        ticks: list[float] = []
        timer = QTimer()
        timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
        timer.start(TICK_MILLISECONDS)
        computing = self._start()
        self._wait(lambda: not self._section.running)
        came = time.perf_counter()
        self._desktop.wait_until(lambda: bool(ticks) and ticks[-1] > came + 0.2, 5)
        timer.stop()
        if self._section.run.results is None:
            raise RuntimeError(str(self._section.run.error))
        gaps = np.diff(ticks)
        around = [gap for gap, end in zip(gaps, ticks[1:], strict=True) if came - 1.0 < end < came + 0.2]
        before = [gap for gap, end in zip(gaps, ticks[1:], strict=True) if end <= came - 1.0]
        return float(max(before)), float(max(around)), computing

    def cancel(self, moment: float) -> tuple[float, float]:
        """Start, cancel when the progress bar has come to a share of its length, and return how long each took."""
        computing = self._start()
        self._wait(
            lambda: self._ui.progressBar.value >= moment * self._ui.progressBar.maximum or not self._section.running
        )
        start = time.perf_counter()
        self._desktop.click(self._ui.registerButton)
        self._wait(lambda: not self._section.running)
        return computing, time.perf_counter() - start

    def _start(self) -> float:
        start = time.perf_counter()
        self._desktop.click(self._ui.registerButton)
        self._wait(lambda: "Starting" not in self._ui.progressLabel.text)
        return time.perf_counter() - start

    def _wait(self, predicate: Any) -> None:
        if not self._desktop.wait_until(predicate, LONGEST_RUN_SECONDS):
            raise TimeoutError(f"nothing happens any more: {self._ui.progressLabel.text}")


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(click_through(*sys.argv[1:-1])), encoding="utf-8")
