"""Label maps carried over on every labelled pair: smooth borders beside the nearest voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from DeepRegLib.evaluation import measure_segments
from DeepRegLib.evaluation.segments import SegmentMeasures
from DeepRegLib.image import Image
from DeepRegLib.labels import label_map
from DeepRegLib.pipeline import register
from DeepRegLib.transforms import apply_to_labels
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Labels carried over: nearest voxel and smooth borders"
RECIPE = "fast"
WAYS = ("nearest", "smooth")
MEASURES = {"Dice": "dice", "mean mm": "mean_distance", "95 % mm": "distance95"}
NUMBERS = tuple(f"{name} {way}" for name in MEASURES for way in WAYS)
COLUMNS = ("case", "labels", *NUMBERS, *(f"lost {way}" for way in WAYS))


def measure(options: Options) -> Table:
    """Register every labelled pair and carry its labels over in both ways; means over the labels that both have."""
    recipe = RECIPE if options.recipe == "auto" else options.recipe
    cases = [case for case in find_cases(options.data, options.only) if case.labels() is not None]
    if not cases:
        return nothing(TITLE, f"There is no case with labels in {options.data}.")
    sets: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        row = _row(case, recipe)
        sets.setdefault(case.set_name(), []).append(row)
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    rows = [row for found in sets.values() for row in found]
    means = [_mean(f"mean of {name}", found) for name, found in sets.items()]
    summary = [
        f"{row['case'].removeprefix('mean of ')}: {row['Dice smooth'] - row['Dice nearest']:+.4f} Dice, "
        f"{row['mean mm smooth'] - row['mean mm nearest']:+.3f} mm mean and "
        f"{row['95 % mm smooth'] - row['95 % mm nearest']:+.3f} mm 95 % surface distance beside the nearest voxel."
        for row in means
    ]
    kept = all(row["Dice smooth"] >= row["Dice nearest"] and row["lost smooth"] <= row["lost nearest"] for row in means)
    return Table(f"{TITLE}, recipe {recipe}", COLUMNS, [*rows, *means], summary, kept)


def _row(case: Case, recipe: str) -> dict[str, Any]:
    labels = case.labels()
    assert labels is not None  # for mypy: `measure` asked
    fixed, moving = map(label_map, labels)
    transform = register(*case.images(), recipe=recipe).transform
    common = sorted(set(np.unique(fixed.array).tolist()) & set(np.unique(moving.array).tolist()) - {0})
    row: dict[str, Any] = {"case": case.name, "labels": len(common)}
    for way in WAYS:
        carried = apply_to_labels(transform, moving, fixed.geometry, smooth=way == "smooth")
        found = _measured(fixed, carried, common)
        row |= {f"{name} {way}": _average([getattr(each, of) for each in found]) for name, of in MEASURES.items()}
        row[f"lost {way}"] = sum(not np.any(carried.array == label) for label in common)
    return row


def _measured(fixed: Image, carried: Image, common: Sequence[int]) -> list[SegmentMeasures]:
    return [row for row in measure_segments(fixed, carried).rows if row.label in common]


def _mean(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    numbers = {key: _average([row[key] for row in rows]) for key in NUMBERS}
    lost = {f"lost {way}": sum(row[f"lost {way}"] for row in rows) for way in WAYS}
    return {"case": name, "labels": rows[0]["labels"], **numbers, **lost}


def _average(values: Sequence[float]) -> float:
    """Return the mean of what can be told; a distance cannot of a label that is missing on one side."""
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan
