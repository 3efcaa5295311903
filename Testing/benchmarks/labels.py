"""Labels that drive: with intensities that say nothing, and across a contrast that was turned over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from DeepRegLib.evaluation import measure_segments
from DeepRegLib.image import Image
from DeepRegLib.labels import label_map
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Drivers, Request
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_labels
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.options import Options
from Testing.benchmarks.segmentation import Labelled, coarser
from Testing.benchmarks.tables import Table, nothing

TITLE = "Labels that drive"
COLUMNS = ("case", "how", "Dice", "mean (mm)", "95 % (mm)", "CPU seconds", "verdict")
SHUFFLED = ("brain_ct_mr", "abdomen", "hippocampus", "cardiac")
TURNED = ("hippocampus", "cardiac", "brain_preop")
STEPS = {"brain_ct_mr": 2.0, "abdomen": 3.0, "brain_preop": 2.0}  # mm; others as they are
WITHIN = 0.01
SAME, ACROSS, WITHOUT = "same contrast, pulled", "turned contrast, pulled", "same contrast, not pulled"
Row = dict[str, Any]
Pair = tuple[Labelled, Labelled]


def measure(options: Options) -> Table:
    """Register by labels alone what has no intensities, and with pulls what has another contrast.

    `--only` takes the cases of a name, `--spacing` voxels of one size in mm. The labels measured are those that drive.
    """
    rows: list[Row] = []
    for row in _rows(options):
        rows.append(row)
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if not rows:
        return nothing(TITLE, f"There is no case with labels of {SHUFFLED} in {options.data}.")
    apart = _apart(rows)
    said = [f"{name}: {difference:+.4f} Dice beside the same contrast." for name, difference in apart.items()]
    return Table(TITLE, COLUMNS, rows, said, all(each >= -WITHIN for each in apart.values()) if apart else None)


def turned(image: Image) -> Image:
    """Return a scan whose bright is dark: values are mirrored between their percentiles 1 and 99."""
    low, high = np.percentile(image.array, [1, 99])
    values = np.clip(image.array.astype(np.float32), low, high)
    return image.with_array(np.asarray(low + high - values, dtype=np.float32))


def shuffled(image: Image, seed: int) -> Image:
    """Return a scan whose voxels have changed places at random."""
    values = np.random.default_rng(seed).permutation(image.array.ravel())
    return image.with_array(values.reshape(image.array.shape))


def _rows(options: Options) -> Iterator[Row]:
    for kind in SHUFFLED:
        for case in _cases(options, kind)[:1]:
            yield from _without_intensities(case.name, _pair(case, kind, options))
    for kind in TURNED:
        for case in _cases(options, kind):
            yield from _across(case.name, _pair(case, kind, options))


def _cases(options: Options, kind: str) -> list[Case]:
    found = find_cases(options.data, options.only)
    return [case for case in found if case.name.startswith(kind) and case.labels() is not None]


def _pair(case: Case, kind: str, options: Options) -> Pair:
    labels = case.labels()
    assert labels is not None  # for mypy: `_cases` asked
    both = zip(("fixed", "moving"), case.images(), labels, strict=True)
    fixed, moving = (Labelled(side, image, label_map(each)) for side, image, each in both)
    step = options.spacing or STEPS.get(kind, 0.0)
    return (coarser(fixed, step), coarser(moving, step)) if step else (fixed, moving)


def _without_intensities(name: str, pair: Pair) -> Iterator[Row]:
    fixed, moving = pair
    what = f"{name}, voxels shuffled"
    yield {"case": what, "how": "as they lie", **_measures(LinearTransform.identity(), pair)}
    mixed = shuffled(fixed.image, 1), shuffled(moving.image, 2)
    yield _row(what, "labels-only", (fixed, moving), mixed, "labels-only", pulled=True)


def _across(name: str, pair: Pair) -> Iterator[Row]:
    fixed, moving = pair
    same, other = (fixed.image, moving.image), (fixed.image, turned(moving.image))
    yield _row(name, WITHOUT, pair, same, "auto", pulled=False)
    yield _row(name, SAME, pair, same, "auto", pulled=True)
    yield _row(name, ACROSS, pair, other, "auto", pulled=True)


def _row(name: str, how: str, pair: Pair, images: tuple[Image, Image], recipe: str, *, pulled: bool) -> Row:
    drivers = Drivers(fixed_labels=pair[0].labels, moving_labels=pair[1].labels) if pulled else Drivers()
    begun = time.process_time()
    found = align(Request(*images, load_recipe(recipe), drivers, device="cpu"))
    seconds = time.process_time() - begun
    told = {"CPU seconds": seconds, "verdict": found.verdict.level}
    return {"case": name, "how": how, **_measures(found.transform, pair), **told}


def _measures(transform: Transform, pair: Pair) -> Row:
    """Return means over the labels that both scans have."""
    fixed, moving = (each.labels for each in pair)
    common = np.intersect1d(fixed.array, moving.array)
    rows = measure_segments(fixed, apply_to_labels(transform, moving, fixed.geometry)).rows
    kept = [row for row in rows if row.label in common]
    numbers = {"Dice": "dice", "mean (mm)": "mean_distance", "95 % (mm)": "distance95"}
    return {name: float(np.mean([getattr(row, of) for row in kept])) for name, of in numbers.items()}


def _apart(rows: list[Row]) -> dict[str, float]:
    by = {(row["case"], row["how"]): row["Dice"] for row in rows}
    return {name: dice - by[name, SAME] for (name, how), dice in by.items() if how == ACROSS}
