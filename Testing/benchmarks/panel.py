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
    "longest gap": 0.1,
    "gap of the results": 0.3,
    "longest gap with segments": 0.1,
    "gap of the results with segments": 0.3,
    "gap of a checkerboard": 0.1,
    "gap of an undo": 0.3,
    "gap of a removal": 0.1,
    "longest cancel": 1.0,
}
LARGE_SIZE = (512, 512, 300)
LARGE_LIMITS = {"longest gap with segments": 0.1, "gap of a checkerboard": 0.1, "gap of a removal": 0.1}
LARGE_RECIPE = "rigid"  # what is looked at is the window, not the engine
SEGMENTS = 33
DRAG_MM = 3.0
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
        fixed, moving = write_pair(cases[0], Path(folder), LARGE_SIZE)
        large = run_fresh(__spec__.name, fixed, moving, LARGE_RECIPE, "gaps only", limit=WHOLE_SECONDS)
    for each in (answer, large):
        if "error" in each:
            return Table(TITLE, ["error"], [each], (str(each["error"]),), passed=False)
    rows = [{"what": name, "seconds": round(answer[name], 3), "limit": limit} for name, limit in LIMITS.items()]
    size = " x ".join(map(str, LARGE_SIZE))
    rows += [
        {"what": f"{name}, {size}", "seconds": round(large[name], 3), "limit": limit}
        for name, limit in LARGE_LIMITS.items()
    ]
    notes = (
        f"torch imported by Slicer's process: {answer['torch']}",
        f"click to computing is the median of {answer['starts']}",
        f"all cancels: {answer['cancels']}",
        f"with segments: {SEGMENTS} of them brought along, compared and as a mask",
        f"the results' gap at {size}: {large['gap of the results with segments']:.3f} s",
    )
    passed = not answer["torch"] and all(row["seconds"] <= row["limit"] for row in rows)
    return Table(f"{TITLE} ({cases[0].name})", ["what", "seconds", "limit"], rows, notes, passed)


def click_through(fixed: str, moving: str, recipe: str, only: str = "") -> dict[str, Any]:
    """Open the panel, register, with segments as well, and cancel often, or look at the gaps only; return seconds."""
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
    answer: dict[str, Any] = {}
    if not only:
        answer["longest gap"], answer["gap of the results"], computing = visit.register()
    for name, volume in zip(("fixedSegmentation", "movingSegmentation"), volumes, strict=True):
        setattr(parameters, name, segments_of(volume))
    parameters.fixedMask = parameters.fixedSegmentation
    answer["longest gap with segments"], answer["gap of the results with segments"], _started = visit.register()
    answer["gap of a checkerboard"] = visit.longest_gap(
        lambda: desktop.choose(module.widget.ui.compareSelector, "Checkerboard"), visit.shows_checkerboard
    )
    if not only:
        visit.improve(volumes[0])
        answer["gap of an undo"] = visit.longest_gap(visit.undo, lambda: not visit.running)
    answer["gap of a removal"] = visit.longest_gap(visit.remove, lambda: not visit.running)
    if only:
        module.widget.logic.close()
        desktop.close()
        return answer
    starts, cancels = zip(*(visit.cancel(moment) for moment in moments()), strict=True)
    module.widget.logic.close()
    desktop.close()
    return {
        **answer,
        "first appearance": appeared,
        "click to computing": median((computing, *starts)),
        "longest cancel": max(cancels),
        "starts": [round(seconds, 2) for seconds in (computing, *starts)],
        "cancels": [round(seconds, 2) for seconds in cancels],
        "torch": torch,
    }


def segments_of(volume: Any) -> Any:
    """Return a segmentation of what is bright in a volume, cut into slabs, each a segment."""
    import slicer

    from DeepRegLib.scene.volumes import image_from_volume
    from Testing.scene.nodes import segmentation_node

    image = image_from_volume(volume)
    bright = image.array > image.array.mean()
    slab = 1 + np.arange(image.array.shape[0]) * SEGMENTS // image.array.shape[0]
    labels = np.where(bright, slab[:, None, None], 0).astype(np.uint8)
    names = {value: f"segment {value}" for value in range(1, SEGMENTS + 1)}
    return segmentation_node(slicer.mrmlScene, [image.with_array(labels)], [names], f"{volume.GetName()} segments")


def moments() -> list[float]:
    """Return when to cancel, as shares of the progress bar."""
    return sorted(random.Random(0).uniform(0.05, 0.85) for _ in range(CANCELS))


class Visit:
    """What is done with the open panel."""

    def __init__(self, desktop: Any, module: Any) -> None:
        self._desktop = desktop
        self._ui = module.widget.ui
        self._parameters = module.widget._parameters
        self._section = module.widget.panel.registration

    @property
    def running(self) -> bool:
        """Whether something is computed or put into the scene."""
        return bool(self._section.running)

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

    def longest_gap(self, act: Any, done: Any) -> float:
        """Do something, wait until it is done, and return the event loop's longest gap meanwhile."""
        from PySide6.QtCore import QTimer

        ticks: list[float] = []
        timer = QTimer()
        timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
        timer.start(TICK_MILLISECONDS)
        self._desktop.wait_until(lambda: bool(ticks), 5)
        act()
        self._wait(done)
        end = time.perf_counter()
        self._desktop.wait_until(lambda: ticks[-1] > end + 0.2, 5)
        timer.stop()
        return float(np.diff(ticks).max())

    def improve(self, volume: Any) -> None:
        """Improve the result along a line in the middle of a volume."""
        import slicer
        import vtk

        line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "correction")
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        middle = np.reshape(bounds, (3, 2)).mean(axis=1)
        for place in (middle, middle + DRAG_MM):
            line.AddControlPoint(vtk.vtkVector3d(*place))
        self._parameters.repairMarkups = line
        self._ui.repairButton.collapsed = False
        self._desktop.click(self._ui.improveButton)
        self._wait(lambda: not self.running)
        if self._section.run.results is None:
            raise RuntimeError(str(self._section.run.error))

    def undo(self) -> None:
        """Bring the former result back."""
        self._desktop.click(self._ui.undoImproveButton)

    def remove(self) -> None:
        """Remove all results."""
        self._desktop.click(self._ui.removeResultsButton)

    def shows_checkerboard(self) -> bool:
        """Return whether the views show a checkerboard."""
        import slicer

        views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        shown = (slicer.mrmlScene.GetNodeByID(view.GetBackgroundVolumeID() or "") for view in views)
        return any(node is not None and node.GetName() == "Checkerboard" for node in shown)

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
