"""Real pairs, cut small, as a cohort: the same bits as single calls, and how many a minute by one and two workers."""

from __future__ import annotations

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.cohort.clusters import threads_of
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, resample, write_image
from DeepRegLib.recipes import load_recipe, recipe_to_toml
from DeepRegLib.transforms import has_field, parts_of, read_transform
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.child import ROOT
from Testing.benchmarks.cohort.made import statuses

SIDE, TIMES = 28, 5
SINGLE_EVERY, WATCHED = 5, 5
WORKERS = 2
COLUMNS = ("case", "fixed", "moving", "fixed_labels", "moving_labels", "recipe", "device")


@dataclass(frozen=True)
class Run:
    """What a call of `deepreg cohort` took: by the clock from its first result to its last, and of the processor."""

    count: int
    seconds: float
    cpu: float
    between: float


def rows(data: Path) -> Iterator[dict[str, Any]]:
    """Run all labelled pairs five times over, each time cut elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        table = list(_write(data, place))
        if not table:
            return
        names = [row["case"] for row in table]
        once = table[: len(table) // TIMES]
        for chosen, workers in ((once, 1), (table, WORKERS)):
            run = _cohort(place, chosen, workers)
            counted = f"{run.count} pairs by {workers} worker{'s' if workers > 1 else ''}"
            yield {
                "what": counted,
                "came of it": f"{60 * (run.count - 1) / run.seconds:.1f} a minute, {run.cpu / run.count:.2f} s of the "
                f"processor each; {run.between:.3f} s between two cases of a worker",
                "right": None,
            }
        own = sorted(_besides(place))
        yield {
            "what": "a real case besides its command, in its process",
            "value": own[len(own) // 2],
            "unit": "s",
            "limit": None,
        }
        found = statuses(place / f"out {WORKERS}")
        whole = sum(row["status"] == "done" for row in found.values())
        yield {"what": "cases with a result", "came of it": f"{whole} of {len(names)}", "right": whole == len(names)}
        kept, alone = place / f"out {WORKERS}" / "cases", names[::SINGLE_EVERY]
        for name in alone:
            _single(place, table[names.index(name)])
        same = sum(_same(place / "alone" / name, kept / name) for name in alone)
        yield {
            "what": "the same bits as a single call of deepreg register with as many threads",
            "came of it": f"{same} of {len(alone)}",
            "right": same == len(alone),
        }
        # Sums of several threads are added up in another order.
        apart = [_apart(place / "out 1" / "cases" / row["case"], kept / row["case"]) for row in once]
        yield {
            "what": "displacements by one worker with all threads, beside those by two",
            "came of it": f"{statistics.median(apart):.2g} mm apart, at most {max(apart):.2g}",
            "right": None,
        }


def _write(data: Path, place: Path) -> Iterator[dict[str, str]]:
    """Write the scans, and return the rows of the table."""
    recipe = load_recipe("fast")
    small = replace(
        recipe,
        search=replace(recipe.search, angle=60.0, candidates=4),
        linear=replace(recipe.linear, iterations=10, voxels=8000),
        deformable=replace(recipe.deformable, shrink=(2, 1), iterations=(6, 4)),
    )
    (place / "small.toml").write_text(recipe_to_toml(small), encoding="utf-8")
    for turn in range(TIMES):
        for case in filter(_is_labelled, find_cases(data)):
            row = {"case": f"{case.name}_{turn}", "recipe": "small.toml", "device": "cpu"}
            for column in ("fixed", "moving", "fixed_labels", "moving_labels"):
                path = case.folder / f"{column}.nii.gz"
                if path.is_file():
                    row[column] = f"{case.name}_{turn}_{column}.nii.gz"
                    cut = _cut(read_image(path), turn, "nearest" if column.endswith("labels") else "linear")
                    write_image(cut, place / row[column])
            yield row


def _is_labelled(case: Case) -> bool:
    return any((case.folder / name).is_file() for name in ("fixed_labels.nii.gz", "fixed_landmarks.csv"))


def _cut(image: Image, turn: int, interpolation: str) -> Image:
    """Return an image on a coarse grid over most of it, which begins a little elsewhere each time."""
    extent = np.asarray(image.geometry.extent)
    spacing = tuple(float(each) for each in 0.9 * extent / SIDE)
    low = image.geometry.to_world([0.05 * (n - 1) + 0.012 * turn * (n - 1) for n in image.geometry.size])
    grid = Geometry((SIDE, SIDE, SIDE), spacing, tuple(map(float, low)), image.geometry.direction)
    return resample(image, grid, interpolation=interpolation)


def _cohort(place: Path, chosen: Sequence[dict[str, str]], workers: int) -> Run:
    """Run some rows by so many workers, into a folder of their number."""
    with (place / "table.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(chosen)
    words = ["cohort", str(place / "table.csv"), "-o", str(place / f"out {workers}"), "--local", str(workers), "--json"]
    used = _cpu()
    ended: list[float] = []
    took = 0.0
    with subprocess.Popen(_command(words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None  # for mypy: a pipe was asked for
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] in ("done", "failed"):
                ended.append(time.perf_counter())
                took += event["seconds"] if len(ended) > workers else 0.0
    if len(ended) < 2:
        raise RuntimeError(f"{len(ended)} of {len(chosen)} cases ended")
    seconds = ended[-1] - ended[0]
    return Run(len(ended), seconds, _cpu() - used, (workers * seconds - took) / (len(ended) - workers))


def _cpu() -> float:
    """Return the seconds of the processor of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _besides(place: Path) -> Iterator[float]:
    """Run some cases in this process, and return how long each took besides the command itself, in seconds."""
    from DeepRegLib.cli import main
    from DeepRegLib.cohort.manifest import read_manifest
    from DeepRegLib.cohort.plan import Choice, plan_of
    from DeepRegLib.cohort.running_case import run_case
    from DeepRegLib.versions import versions

    took: list[float] = []

    def deepreg(words: Sequence[str]) -> int:
        begun = time.perf_counter()
        code = main(words)
        took.append(time.perf_counter() - begun)
        return code

    plan = plan_of(read_manifest(place / "table.csv", {}), place / "watched", versions(), Choice())
    for planned in plan.todo[:WATCHED]:
        begun = time.perf_counter()
        run_case(planned.work, deepreg, str(place / "log.txt"))
        yield round(time.perf_counter() - begun - took[-1], 3)


def _single(place: Path, row: dict[str, str]) -> None:
    """Register one row by a call of its own."""
    words = [
        "register",
        str(place / row["fixed"]),
        str(place / row["moving"]),
        "-o",
        str(place / "alone" / row["case"]),
    ]
    words += ["--recipe", str(place / row["recipe"]), "--device", row["device"]]
    for column in ("fixed_labels", "moving_labels"):
        words += [f"--{column.replace('_', '-')}", str(place / row[column])] if column in row else []
    threads = threads_of(WORKERS)
    subprocess.run(_command(words), cwd=ROOT, env=os.environ | threads, check=False, capture_output=True)


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "DeepRegLib", *words]


def _same(one: Path, other: Path) -> bool:
    """Tell whether two results have the same voxels and the same transform."""
    if not all((folder / "result.json").is_file() for folder in (one, other)):
        return False
    warped = [read_image(folder / "warped.nii.gz").array for folder in (one, other)]
    return bool(np.array_equal(*warped)) and _numbers(one) == _numbers(other)


def _apart(one: Path, other: Path) -> float:
    """Return the largest distance in mm between where two results take the voxels of the fixed scan."""
    fixed = read_image(one / "warped.nii.gz").geometry.points()
    first, second = (read_transform(folder / "transform.h5").apply_to_points(fixed) for folder in (one, other))
    return float(np.linalg.norm(first - second, axis=-1).max())


def _numbers(folder: Path) -> list[bytes]:
    parts = parts_of(read_transform(folder / "transform.h5"))
    return [(part.array if has_field(part) else part.matrix).tobytes() for part in parts]
