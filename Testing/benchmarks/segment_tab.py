"""The tab Segment with a real worker: how long the window stands still while atlases run, and how soon it is free."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from DeepRegLib.image import write_image
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.segmentation import Labelled, labelled
from Testing.benchmarks.series_tab import LATER, MODULE, check, longest_gap
from Testing.benchmarks.tables import Table, nothing

TITLE = "The tab Segment, atlases of brains"
SET = "nirep"
STEP = 2.0  # mm
ATLASES = 2
MOST_GAP, MOST_CANCEL = 0.1, 1.0
COLUMNS = ("what", "seconds", "limit")


def measure(options: Options) -> Table:
    """Click Segment and Cancel in a process of its own; gaps in processor time, Cancel in time of the clock."""
    scans = labelled(options.data, SET, options.spacing or STEP)[: ATLASES + 1]
    if len(scans) <= ATLASES:
        return nothing(TITLE, f"There is no case of {SET} in {options.data}.")
    with tempfile.TemporaryDirectory() as place:
        _written(scans, Path(place))
        told = run_fresh(__spec__.name, place, limit=4 * LATER)
    if "error" in told:
        return Table(TITLE, ["error"], [told], (str(told["error"]),), passed=False)
    rows = [{"what": what, "seconds": round(seconds, 3), "limit": _limit(what)} for what, seconds in told.items()]
    return Table(TITLE, COLUMNS, rows, (), all(row["seconds"] <= row["limit"] for row in rows))


def visit(place: Path) -> dict[str, float]:
    """Segment a scan by clicks, cancelled in each atlas and then left to run; return seconds."""
    import slicer

    from Testing.desktop import boot
    from Testing.panel.opened import OpenedPanel

    desktop = boot()
    opened = OpenedPanel(desktop, MODULE)
    scan = slicer.util.loadVolume(str(place / "scan.nii.gz"))
    opened.ui.taskTabs.setCurrentIndex(1)
    desktop.choose(opened.ui.segmentScanSelector, scan.GetName())
    opened.ui.atlasFolderEdit.setCurrentPath(str(place / "atlases"))
    desktop.process_events()
    opened.engine.start()
    check(desktop.wait_until(lambda: opened.engine.worker is not None, LATER), "the worker did not come up")
    told: dict[str, float] = {}
    for number in range(1, ATLASES + 1):
        told |= _cancelled(opened, f"atlas {number} of {ATLASES}")
    section, button = opened.widget.panel.segment, opened.ui.segmentButton
    told["gap of a whole run"] = longest_gap(opened, lambda: desktop.click(button), lambda: not section.running)
    check(opened.ui.segmentMessageLabel.text != "", "nothing is said of the result")
    opened.close()
    desktop.close()
    return told


def _cancelled(opened: Any, stage: str) -> dict[str, float]:
    """Click, wait for a stage, and cancel."""
    section, button, words = opened.widget.panel.segment, opened.ui.segmentButton, opened.ui.segmentProgressLabel
    click = longest_gap(opened, lambda: opened.desktop.click(button), lambda: stage in words.text)
    begun = time.perf_counter()
    opened.desktop.click(button)
    check(opened.desktop.wait_until(lambda: not section.running, LATER), "Cancel did not end it")
    return {f"gap until {stage}": click, f"cancel in {stage}": time.perf_counter() - begun}


def _written(scans: list[Labelled], place: Path) -> None:
    write_image(scans[0].image, place / "scan.nii.gz")
    for number, atlas in enumerate(scans[1:]):
        folder = place / "atlases" / f"atlas {number + 1}"
        folder.mkdir(parents=True)
        write_image(atlas.image, folder / "image.nii.gz")
        write_image(atlas.labels, folder / "labels.nii.gz")


def _limit(what: str) -> float:
    return MOST_CANCEL if what.startswith("cancel") else MOST_GAP


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(visit(Path(sys.argv[1]))), encoding="utf-8")
