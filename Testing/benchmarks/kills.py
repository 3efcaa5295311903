"""Whether a result that is saved over an earlier one is old or new, whole, when the process is killed at any moment."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib import report
from DeepRegLib.files.workplace import remove_abandoned
from DeepRegLib.image import Image
from DeepRegLib.recipes import load_recipe
from DeepRegLib.registration import Registration
from DeepRegLib.result import OK, Measures, Verdict
from DeepRegLib.transforms import CompositeTransform, DisplacementField, LinearTransform
from Testing.benchmarks.child import ROOT
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table
from Testing.synthetic import geometry_in

TITLE = "Killed while saving over an earlier result"
COLUMNS = ("kills", "old and new together", "not whole after the next run", "left over after the next run")
KILLS = 30
LONGEST_WAIT = 0.5  # seconds from a finished save to the kill; one save takes about a fifth of it
START_LIMIT = 300.0


def measure(options: Options) -> Table:
    """Kill a process that saves one of two results after the other, many times, each at another moment."""
    del options
    moments = random.Random(0)
    counts = dict.fromkeys(COLUMNS, 0)
    with tempfile.TemporaryDirectory() as folder:
        known = [_content(made(number).save(Path(folder) / str(number))) for number in (0, 1)]
        output = Path(folder) / "out"
        for _ in range(KILLS):
            _kill_a_child(output, moments.uniform(0, LONGEST_WAIT))
            counts["kills"] += 1
            present = _content(output)
            parts = [all(known[n].get(name) == data for name, data in present.items()) for n in (0, 1)]
            counts["old and new together"] += not any(parts)
            remove_abandoned(output)
            counts["not whole after the next run"] += _content(output) not in known
            counts["left over after the next run"] += any(output.glob(".*"))
    passed = not any(counts[column] for column in COLUMNS[1:])
    return Table(TITLE, COLUMNS, [counts], (), passed)


def save_for_ever(folder: str) -> None:
    """Save one of two results after the other over each other; say so when the first is there."""
    report.write_report = _quick_report
    results = [made(number) for number in (0, 1)]
    while True:
        for result in results:
            result.save(folder, overwrite=True)
            print("saved", flush=True)


def made(number: int) -> Registration:
    """Return a result that was not computed but has every file, another one for each number."""
    grid = geometry_in("LPS", (40, 44, 36), 2.0)
    numbers = np.random.default_rng(number)
    image = Image(numbers.integers(0, 1000, grid.shape).astype(np.int16), grid, "image.nii.gz")
    field = DisplacementField(numbers.normal(size=(*grid.shape, 3)).astype(np.float32), grid)
    transform = CompositeTransform((LinearTransform.identity(), field))
    inside = image.with_array(np.ones(grid.shape, dtype=bool))
    measures = Measures(**dict.fromkeys(("folds",), 0), **dict.fromkeys(_numbers(), 0.5))
    labels = image.with_array((image.array > 500).astype(np.uint8)) if number else None
    return Registration(
        fixed=image,
        moving=image,
        transform=transform,
        inverse=transform,
        warped=image,
        field_of_view=inside,
        fixed_foreground=inside,
        measures=measures,
        verdict=Verdict(OK, ()),
        recipe=load_recipe("fast"),
        warped_labels=labels,
    )


def _numbers() -> list[str]:
    optional = ("dice_before", "dice_after", "tre_before", "tre_after", "folds")
    return [name for name in Measures.__dataclass_fields__ if name not in optional]


def _kill_a_child(folder: Path, wait: float) -> None:
    command = [sys.executable, "-m", __spec__.name, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None  # for mypy: a pipe was asked for
        first = child.stdout.readline()
        time.sleep(wait)
        child.kill()
    if first.strip() != "saved":
        raise RuntimeError("The child could not save.")


def _content(folder: Path) -> dict[str, Any]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "report.html"}


def _quick_report(registration: Registration, path: str | Path) -> None:
    Path(path).write_text(registration.verdict.level, encoding="utf-8")


if __name__ == "__main__":
    save_for_ever(sys.argv[1])
