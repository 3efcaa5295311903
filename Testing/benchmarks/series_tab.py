"""The tab Series with a real worker, clicked once, and how long the window stands still while many frames come in."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options

MODULE = Path(__file__).resolve().parents[2] / "DeepReg" / "DeepReg.py"
FRAMES, SIDE = 4, 24
MANY, LARGE = 30, 128
MOST_SECONDS = 0.1
TICK_MILLISECONDS = 10
SOON, LATER = 60.0, 600.0
COMPUTING = f" of {MANY}"  # what the progress says of a frame that is registered


def tab_rows(options: Options) -> list[dict[str, Any]]:
    """Return a row for the run with a real worker and one for the gaps, of a process of its own."""
    options.output.mkdir(parents=True, exist_ok=True)
    told = run_fresh(__spec__.name, options.output, limit=2 * LATER)
    what = "tab Series"
    if "error" in told:
        return [{"what": what, "how": told["error"]}]
    gaps = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in told["gaps"].items())
    run = f"{FRAMES} frames of {SIDE}^3, real worker: {told['words']}; played {told['played']}, again from .mrb"
    return [
        {"what": what, "how": run, "verdict": told["verdict"]},
        {"what": what, "how": f"longest gaps, {MANY} frames of {LARGE}^3: {gaps}; wanted {1000 * MOST_SECONDS:.0f} ms"},
    ]


def visit(pictures: Path) -> dict[str, Any]:
    """Register a small series by clicks, save and open the scene, and put a large result into it."""
    from Testing.desktop import boot
    from Testing.panel.opened import OpenedPanel

    desktop = boot()
    opened = OpenedPanel(desktop, MODULE)
    told = _real(opened, pictures)
    told["gaps"] = _gaps(opened)
    opened.close()
    desktop.close()
    return told


def _real(opened: Any, pictures: Path) -> dict[str, Any]:
    import slicer

    from DeepRegLib.scene.nodes import VERDICT_ATTRIBUTE
    from Testing.panel.opened import plain

    browser = _browser(opened, [_frame(SIDE, 4.0, number) for number in range(FRAMES)], "breath")
    section = opened.widget.panel.series
    recipes = opened.ui.seriesRecipeSelector
    recipes.setCurrentIndex(recipes.findText("fast"))
    check(_clicked(opened), "the run did not end")
    opened.desktop.grab(opened.area, pictures / "series_tab.png")
    words, nodes = plain(opened.ui.seriesMessageLabel), section.results
    check(nodes is not None, words)
    name = slicer.mrmlScene.GetNodeByID(nodes.transforms).GetName()
    before = _played(browser, name)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "series.mrb"
        check(slicer.mrmlScene.WriteToMRB(str(path), None), "the scene could not be saved")
        slicer.mrmlScene.Clear(False)
        slicer.mrmlScene.ReadFromMRB(str(path))
    again = _played(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"), name)
    check(bool(np.allclose(before, again, atol=1e-3)), f"played {before} before and {again} after")
    verdict = slicer.mrmlScene.GetFirstNodeByName(name).GetAttribute(VERDICT_ATTRIBUTE) or ""
    return {"words": words[:160], "played": [round(each, 2) for each in before], "verdict": verdict}


def _clicked(opened: Any) -> bool:
    opened.desktop.click(opened.ui.seriesButton)
    section = opened.widget.panel.series
    return bool(opened.desktop.wait_until(lambda: not section.running, LATER))


def _played(browser: Any, name: str) -> list[float]:
    """Return how far each frame's transform moves the middle of the scans, mm, as the browser plays them."""
    import slicer

    from DeepRegLib.scene.transforms import transform_from_node

    moved = []
    for number in range(FRAMES):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        shown = browser.GetProxyNode(slicer.mrmlScene.GetFirstNodeByName(name))
        middle = np.full((1, 3), 4.0 * (SIDE - 1) / 2)
        moved.append(float(np.linalg.norm(transform_from_node(shown).apply_to_points(middle) - middle)))
    return moved


def _gaps(opened: Any) -> dict[str, float]:
    """Return the processor's longest spells between ticks: from click to frames with the real worker, and of results.

    The results are answered by a played engine, at once.
    """
    from DeepRegLib.engine.series import SERIES
    from Testing.panel.played import PlayedEngine

    _browser(opened, [_frame(LARGE, 1.0, number) for number in range(MANY)], "large")
    section, gaps, button = opened.widget.panel.series, {}, opened.ui.seriesButton
    opened.engine.start()
    check(opened.desktop.wait_until(lambda: opened.engine.worker is not None, LATER), "the worker did not come up")
    told = opened.ui.seriesProgressLabel
    gaps["click"] = longest_gap(opened, lambda: opened.desktop.click(button), lambda: COMPUTING in told.text)
    gaps["cancel"] = longest_gap(opened, lambda: opened.desktop.click(button), lambda: not section.running)
    played = PlayedEngine(opened)
    opened.engine.close()
    opened.engine.client._make_transport = played.hire
    opened.desktop.click(button)
    check(opened.desktop.wait_until(lambda: bool(played.orders), LATER), "nothing was asked for")
    message = played.orders[-1]
    answer = SERIES.result_message(_result(SERIES.request_of(message)), message.id)
    played.worker.say(answer)
    gaps["results"] = longest_gap(opened, lambda: None, lambda: not section.running)
    check(section.results is not None, "the large result did not come in")
    return gaps


def longest_gap(opened: Any, act: Callable[[], None], done: Callable[[], bool]) -> float:
    """Return the processor's longest spell between two ticks of the event loop, from an act until something is done."""
    from PySide6.QtCore import QTimer

    ticks: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.process_time()))
    timer.start(TICK_MILLISECONDS)
    opened.desktop.wait_until(lambda: bool(ticks), SOON)
    act()
    check(opened.desktop.wait_until(done, LATER), "nothing happens any more")
    count = len(ticks)
    opened.desktop.wait_until(lambda: len(ticks) > count + 5, SOON)
    timer.stop()
    return float(np.diff(ticks).max())


def _result(request: Any) -> Any:
    """Return a result as large as the engine's: fields on every second voxel, stabilised frames."""
    from dataclasses import replace

    from DeepRegLib.transforms import DisplacementField
    from Testing.series.results import result_for

    grid = request.frames[0].geometry
    coarse = grid.resized(2 * np.array(grid.spacing))
    fields = []
    for number in range(len(request.frames)):
        field = np.zeros((*coarse.shape, 3), np.float32)
        field[..., 2] = number / 10
        fields.append(DisplacementField(field, coarse))
    few = replace(request, frames=request.frames[:2], times=request.times[:2])
    small = result_for(few)
    rows = [replace(small.rows[0], index=number, name=f"frame {number + 1}") for number in range(len(request.frames))]
    return replace(small, transforms=tuple(fields), stabilised=request.frames, rows=tuple(rows))


def _browser(opened: Any, frames: list[Any], name: str) -> Any:
    import slicer

    from Testing.scene.nodes import volume_node

    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    for number, image in enumerate(frames):
        frame = volume_node(scene, image, "frame")
        sequence.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    node = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    node.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(node)
    opened.ui.taskTabs.setCurrentIndex(2)
    opened.desktop.choose(opened.ui.seriesBrowserSelector, f"{name} browser")
    opened.desktop.process_events()
    return node


def _frame(side: int, spacing: float, number: int) -> Any:
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.image import Image

    z, y, x = np.mgrid[:side, :side, :side].astype(np.float32) / side - 0.5
    up = 0.08 * np.sin(np.pi * number / FRAMES) ** 2
    values = 400 * np.exp(-8 * (x**2 + y**2 + z**2)) + 500 * np.exp(-80 * ((x - 0.1) ** 2 + y**2 + (z - up) ** 2))
    values += 300 * np.exp(-60 * ((x + 0.15) ** 2 + (y - 0.1) ** 2 + (z + 0.15 - up) ** 2))
    return Image(values.astype(np.int16), Geometry((side,) * 3, (spacing,) * 3), f"frame {number}")


def check(holds: bool, said: str) -> None:
    """End the visit with a sentence where something did not come about."""
    if not holds:
        raise RuntimeError(said)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(visit(Path(sys.argv[1]))), encoding="utf-8")
