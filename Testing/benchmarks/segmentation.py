"""Leave one out: each labelled scan of a set segmented by the others, by every fusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.evaluation import measure_segments
from DeepRegLib.image import Image, read_image, resample
from DeepRegLib.labels import label_map
from DeepRegLib.pipeline import align, prepare_fixed
from DeepRegLib.preprocessing import isotropic
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Request
from DeepRegLib.result import FAILED
from DeepRegLib.segmentation.fusion import fuse, gathered
from DeepRegLib.segmentation.request import DEFAULT_FUSION, DEFAULT_RECIPE, FUSIONS
from DeepRegLib.transforms import apply_to_labels
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Segmentation by atlases, leave one out"
SET = "hippocampus"
COLUMNS = ("scan", "mean single", "best single", *FUSIONS, "distance single", *(f"distance {f}" for f in FUSIONS))
LEAST_GAIN = 0.03


@dataclass(frozen=True, eq=False)
class Labelled:
    """A scan with its labels."""

    name: str
    image: Image
    labels: Image


def measure(options: Options) -> Table:
    """Segment scans of the set by all others; Dice and mean surface distance (mm), means over the labels.

    `--count` says how many are segmented, `--spacing` in which voxels.
    """
    scans = labelled(options.data, options.only or SET, options.spacing)
    if len(scans) < 3:
        return nothing(
            TITLE, f"There is no case of three labelled scans or more of {options.only or SET} in {options.data}."
        )
    recipe = DEFAULT_RECIPE if options.recipe == "auto" else options.recipe
    rows = []
    for scan in scans[: options.count]:
        rows.append(_row(scan, [other for other in scans if other is not scan], recipe))
        print("  " + ", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    means = {column: float(np.mean([row[column] for row in rows])) for column in COLUMNS[1:]}
    gain, beyond = means[DEFAULT_FUSION] - means["mean single"], means[DEFAULT_FUSION] - means["majority"]
    summary = [f"{DEFAULT_FUSION} is {gain:+.3f} Dice from the mean single atlas and {beyond:+.3f} from the majority."]
    voxels = f", voxels of {options.spacing:g} mm" if options.spacing else ""
    title = f"{TITLE}: {options.only or SET}, {len(scans)} scans{voxels}, recipe {recipe}"
    return Table(title, COLUMNS, [*rows, {"scan": "mean", **means}], summary, gain >= LEAST_GAIN and beyond > 0)


def labelled(data: Path, name: str, spacing: float = 0.0) -> list[Labelled]:
    """Return both scans of every case whose name contains a text, as far as they have labels; of coarser voxels."""
    found = []
    for folder in sorted(path for path in data.iterdir() if name in path.name and path.is_dir()):
        for side in ("fixed", "moving"):
            files = folder / f"{side}.nii.gz", folder / f"{side}_labels.nii.gz"
            if all(file.is_file() for file in files):
                image, labels = (read_image(file) for file in files)
                scan = Labelled(f"{folder.name} {side}", image, label_map(labels))
                found.append(coarser(scan, spacing) if spacing else scan)
    return found


def coarser(scan: Labelled, spacing: float) -> Labelled:
    """Return a labelled scan of cubic voxels of this size, in mm."""
    image = isotropic(scan.image, spacing)
    return Labelled(scan.name, image, resample(scan.labels, image.geometry, interpolation="nearest"))


def _row(scan: Labelled, atlases: Sequence[Labelled], recipe: str) -> dict[str, Any]:
    chosen, grid = load_recipe(recipe), scan.image.geometry
    fixed = prepare_fixed(Request(scan.image, atlases[0].image, chosen))
    images, labels, seen = [], [], []
    for atlas in atlases:
        found = align(Request(scan.image, atlas.image, chosen), fixed)
        if found.verdict.level != FAILED:
            images.append(found.warped)
            labels.append(apply_to_labels(found.transform, atlas.labels, grid))
            seen.append(found.field_of_view)
    singles = [measure_segments(scan.labels, each) for each in labels]
    row: dict[str, Any] = {
        "scan": scan.name,
        "mean single": _mean([table.mean("dice") for table in singles]),
        "best single": max(table.mean("dice") for table in singles),
        "distance single": _mean([table.mean("mean_distance") for table in singles]),
    }
    candidates = gathered(scan.image, images, labels, seen)
    if candidates is None:
        return row
    for fusion in FUSIONS:
        array = np.zeros(grid.shape, dtype=np.int32)
        array[candidates.box] = fuse(candidates, fusion)
        table = measure_segments(scan.labels, Image(array, grid))
        row |= {fusion: table.mean("dice"), f"distance {fusion}": table.mean("mean_distance")}
    return row


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
