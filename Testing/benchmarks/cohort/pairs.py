"""Real pairs, cut small, as a cohort: the same bits as single calls, and how many a minute by one and two workers."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, resample, write_image
from DeepRegLib.recipes import load_recipe, recipe_to_toml
from DeepRegLib.transforms import has_field, parts_of, read_transform
from Testing.benchmarks.cases import find_cases
from Testing.benchmarks.child import ROOT
from Testing.benchmarks.cohort.made import statuses

SIDE, TIMES = 28, 5
SINGLE_EVERY = 5


def rows(data: Path) -> Iterator[dict[str, Any]]:
    """Run all pairs five times over, each time cut elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        names = list(_write(data, place))
        if not names:
            return
        first = len(names) // TIMES
        for count, workers in ((first, 1), (2 * first, 2), (len(names), 2)):
            done = sum((place / "out" / "cases" / name).is_dir() for name in names[:count])
            seconds = _cohort(place, names[:count], workers)
            yield {
                "what": f"{count - done} pairs by {workers} worker{'s' if workers > 1 else ''}",
                "came of it": f"{60 * (count - done) / seconds:.1f} a minute",
                "right": None,
            }
        found = statuses(place / "out")
        whole = sum(row["status"] == "done" for row in found.values())
        yield {"what": "cases with a result", "came of it": f"{whole} of {len(names)}", "right": whole == len(names)}
        single = names[::SINGLE_EVERY]
        same = sum(_same(place, name) for name in single)
        yield {
            "what": "the same bits as a single call of deepreg register",
            "came of it": f"{same} of {len(single)}",
            "right": same == len(single),
        }


def _write(data: Path, place: Path) -> Iterator[str]:
    recipe = load_recipe("fast")
    small = replace(recipe, deformable=replace(recipe.deformable, shrink=(2, 1), iterations=(6, 4)))
    (place / "small.toml").write_text(recipe_to_toml(small), encoding="utf-8")
    for turn in range(TIMES):
        for case in find_cases(data):
            if not (case.folder / "fixed_labels.nii.gz").is_file():
                continue
            name = f"{case.name}_{turn}"
            for which in ("fixed", "moving"):
                image = read_image(case.folder / f"{which}.nii.gz")
                write_image(_cut(image, turn), place / f"{name}_{which}.nii.gz")
            yield name


def _cut(image: Image, turn: int) -> Image:
    """Return an image on a coarse grid over most of it, which begins a little elsewhere each time."""
    extent = np.asarray(image.geometry.extent)
    spacing = tuple(float(each) for each in 0.9 * extent / SIDE)
    low = image.geometry.to_world([0.05 * (n - 1) + 0.012 * turn * (n - 1) for n in image.geometry.size])
    grid = Geometry((SIDE, SIDE, SIDE), spacing, tuple(map(float, low)), image.geometry.direction)
    return resample(image, grid)


def _cohort(place: Path, names: list[str], workers: int) -> float:
    with (place / "table.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "fixed", "moving", "recipe", "device"])
        for name in names:
            writer.writerow([name, f"{name}_fixed.nii.gz", f"{name}_moving.nii.gz", "small.toml", "cpu"])
    begun = time.perf_counter()
    words = ["cohort", str(place / "table.csv"), "-o", str(place / "out"), "--local", str(workers)]
    subprocess.run([sys.executable, "-m", "DeepRegLib", *words], cwd=ROOT, check=False, capture_output=True)
    return time.perf_counter() - begun


def _same(place: Path, name: str) -> bool:
    """Tell whether a single call writes the same voxels and the same transform."""
    alone = place / "alone" / name
    words = ["register", str(place / f"{name}_fixed.nii.gz"), str(place / f"{name}_moving.nii.gz"), "-o", str(alone)]
    words += ["--recipe", str(place / "small.toml"), "--device", "cpu"]
    subprocess.run([sys.executable, "-m", "DeepRegLib", *words], cwd=ROOT, check=False, capture_output=True)
    folder = place / "out" / "cases" / name
    if not (alone / "result.json").is_file() or not (folder / "result.json").is_file():
        return (alone / "result.json").is_file() == (folder / "result.json").is_file()
    one, other = (read_image(each / "warped.nii.gz").array for each in (alone, folder))
    return bool(np.array_equal(one, other)) and _numbers(alone) == _numbers(folder)


def _numbers(folder: Path) -> list[bytes]:
    parts = parts_of(read_transform(folder / "transform.h5"))
    return [(part.array if has_field(part) else part.matrix).tobytes() for part in parts]
