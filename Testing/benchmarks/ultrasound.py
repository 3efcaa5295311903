"""Pre-operative MR to an ultrasound simulated from it: rigid, and with a brain shift, beside other recipes."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around, resample, write_image
from DeepRegLib.optimization.rotations import rotation_from_vector
from DeepRegLib.phantom.beams import ultrasound_by_beams
from DeepRegLib.phantom.ultrasound import Probe, ultrasound
from DeepRegLib.pipeline import register
from DeepRegLib.preprocessing import foreground_mask
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, apply_to_image, compose
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers.scoring import read_chain
from Testing.benchmarks.peers.tools import interpreter, tools_named, version_of
from Testing.benchmarks.tables import Table, nothing

TITLE = "MR to ultrasound simulated from it"
COLUMNS = ("pair", "echoes", "motion", "way", "mean mm", "95 % mm", "verdict", "CPU seconds", "error")
SET = "brain_t1"
SPACING = 1.8  # mm
REACH = 45.0  # mm about the opening of the skull over which the brain sinks
MARGIN = 10.0  # mm that the probe lies off the head
LIMIT = 900.0
OWN, OTHER, PEER = "ultrasound", "multimodal", "convexadam"
ECHOES: dict[str, Callable[[Image, Probe], Image]] = {
    "of brightness and slopes": ultrasound,
    "by beams through random tissues": ultrasound_by_beams,
}


@dataclass(frozen=True)
class Moved:
    """How far a tracked ultrasound is off: degrees, mm, and by how many mm the brain has sunk at the opening."""

    name: str
    angle: float
    shift: float
    sunk: float


MOTIONS = (
    Moved("rigid, 8 degrees and 9 mm", 8.0, 9.0, 0.0),
    Moved("the same and a brain shift of 8 mm", 8.0, 9.0, 8.0),
    Moved("10 degrees and 20 mm, and the brain shift", -10.0, -20.0, 8.0),
)


@dataclass(frozen=True, eq=False)
class Made:
    """An ultrasound, the MR it was made from, the truth from one to the other, and points in the cone, LPS mm."""

    shown: Image
    scan: Image
    truth: Transform
    points: NDArray[np.float64]


def measure(options: Options) -> Table:
    """Register every brain of one person to ultrasounds made from it."""
    cases = [case for case in find_cases(options.data, options.only) if case.name.startswith(SET)]
    if not cases:
        return nothing(TITLE, f"There is no case {SET}* in {options.data}.")
    rows: list[dict[str, Any]] = []
    python = _interpreter_of_peer(options)
    for case in cases:
        for echoes, (number, moved) in itertools.product(ECHOES, enumerate(MOTIONS)):
            answer = run_fresh(__spec__.name, case.folder, echoes, number, python, limit=LIMIT)
            found = answer.get("rows", [{"way": OWN, "error": answer.get("error")}])
            rows += [{"pair": case.name, "echoes": echoes, "motion": moved.name, **row} for row in found]
            print(f"  {case.name}, {echoes}, {moved.name}: {found}", flush=True)
    summary = (
        f"The brain at {SPACING} mm is moved, sinks, and is shown in two ways: by `DeepRegLib.phantom.ultrasound`, "
        f"whose echoes are those that `{OWN}` assumes, and by `DeepRegLib.phantom.beams`, whose tissues scatter and "
        "reflect at random. Errors are those of the voxels in the cone. All ways start from the scanner's position; "
        f"all but `{OWN}` and ConvexAdam are given the cone as the fixed mask. Only ConvexAdam searches, 24 voxels "
        "far. The echoes are simulated from the very MR that they are registered to: expect less of a real one.",
    )
    return Table(TITLE, COLUMNS, rows, summary)


def run_once(folder: str, echoes: str, number: str, python: str) -> dict[str, Any]:
    """Measure one motion of one brain; without an interpreter of ConvexAdam that is left out."""
    made = simulated(Case(Path(folder)).images()[0], MOTIONS[int(number)], ECHOES[echoes])
    rows = [_row("as given", made, LinearTransform.identity())]
    cone = made.shown.with_array((made.shown.array > 0).astype(np.uint8))
    for name, recipe in _ways().items():
        begin = time.process_time()
        mask = None if name == OWN else cone
        result = register(made.shown, made.scan, recipe, fixed_mask=mask)
        seconds = time.process_time() - begin
        rows.append(
            _row(name, made, result.transform) | {"verdict": result.verdict.level, "CPU seconds": round(seconds, 1)}
        )
    if python:
        rows.append(_by_peer(made, python))
    return {"rows": rows}


def simulated(scan: Image, moved: Moved, echoes: Callable[[Image, Probe], Image] = ultrasound) -> Made:
    """Return an ultrasound of a brain that was moved, and has sunk below an opening on its left."""
    grid = scan.geometry.resized(SPACING)
    brain = resample(scan.with_array(scan.array.astype(np.float32)), grid)
    inside = grid.to_world(np.argwhere(foreground_mask(brain).array)[:, ::-1])
    low, high = inside.min(axis=0), inside.max(axis=0)
    middle = (low + high) / 2
    apex = np.array([high[0] + MARGIN, middle[1], middle[2] + MARGIN])
    truth = _truth(grid, moved, apex, middle)
    x, y, z = apex.tolist()
    probe = Probe((x, y, z), tuple((middle - apex).tolist()), seed=1)
    whole = echoes(apply_to_image(truth, brain, grid), probe)
    cone = box_around(whole.with_array(whole.array > 0))
    shown = replace(resample(whole, cone, interpolation="nearest"), name="ultrasound")
    return Made(shown, brain, truth, cone.to_world(np.argwhere(shown.array > 0)[::7, ::-1]))


def _truth(grid: Geometry, moved: Moved, apex: NDArray[np.float64], middle: NDArray[np.float64]) -> Transform:
    axis, along = np.array([1.0, 2.0, -1.0]), np.array([0.6, -0.5, 0.62])
    turn = torch.tensor(np.radians(moved.angle) * axis / np.linalg.norm(axis))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_vector(turn).numpy()
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + moved.shift * along / np.linalg.norm(along)
    rigid = LinearTransform(matrix)
    if not moved.sunk:
        return rigid
    near = np.exp(-((np.linalg.norm(grid.points() - apex, axis=-1) / REACH) ** 2))
    sunk = moved.sunk * near[..., np.newaxis] * np.array([1.0, -0.3, 0.0])
    return compose(DisplacementField(sunk.astype(np.float32), grid), rigid)


def _ways() -> dict[str, Recipe]:
    own, other = load_recipe(OWN), load_recipe(OTHER)
    calm = replace(
        other, search=replace(other.search, enabled=False), large_motion=replace(other.large_motion, enabled=False)
    )
    stiff = {
        f"rigid and a stiff field by {name}": replace(
            calm,
            linear=replace(own.linear, similarity=name, around=0.0),
            deformable=replace(own.deformable, similarity=name, radius=1),
        )
        for name in ("mind", "ngf")
    }
    return {OTHER: calm, **stiff, OWN: own}


def _interpreter_of_peer(options: Options) -> str:
    """Return the interpreter that has ConvexAdam, or an empty text."""
    (tool,) = tools_named(PEER, OWN)
    python = interpreter(tool, options.peers.pythons)
    return python if version_of(tool, python) else ""


def _by_peer(made: Made, python: str) -> dict[str, Any]:
    """Register by ConvexAdam with its defaults, in a process of its own."""
    (tool,) = tools_named(PEER, OWN)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "fixed.nii.gz", Path(folder) / "moving.nii.gz"
        for image, path in zip((made.shown, made.scan), paths, strict=True):
            write_image(image, path)
        (Path(folder) / "out").mkdir()
        answer = run_fresh(
            tool.module, *paths, Path(folder) / "out", 1, True, tool.variant, False, limit=LIMIT, python=python
        )
        if "error" in answer:
            return {"way": PEER, "error": answer["error"]}
        chain = read_chain(answer["transforms"])
        there = np.array([chain.TransformPoint(point) for point in made.points.tolist()])
    return _scores(PEER, made, there) | {"CPU seconds": round(answer["seconds"]["register"], 1)}


def _row(way: str, made: Made, found: Transform) -> dict[str, Any]:
    return _scores(way, made, found.apply_to_points(made.points))


def _scores(way: str, made: Made, there: NDArray[np.float64]) -> dict[str, Any]:
    error = np.linalg.norm(there - made.truth.apply_to_points(made.points), axis=1)
    return {
        "way": way,
        "mean mm": round(float(error.mean()), 2),
        "95 % mm": round(float(np.percentile(error, 95)), 2),
    }


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
