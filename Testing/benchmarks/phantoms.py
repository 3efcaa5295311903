"""Digital phantoms of real scans: the error of each recipe, and what the quality sheet says of it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.evaluation.truth import error_map
from DeepRegLib.grading import PASS, longest_edge, overall
from DeepRegLib.image import Image, read_image
from DeepRegLib.phantom.making import Appearance, make_phantom, usual_motion
from DeepRegLib.phantom.motions import BLADDER, BREATHING, NECK, TUMOUR
from DeepRegLib.pipeline import register
from DeepRegLib.preprocessing import foreground_mask, smooth_and_resample
from DeepRegLib.quality.limits import Limits
from DeepRegLib.quality.sheet import Measured, quality_items
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Phantoms of real scans"
COLUMNS = ("scan", "motion", "recipe", "moved mm", "mean mm", "95 % mm", "limit mm", "sheet", "verdict", "error")
RECIPES = ("auto", "fast", "follow-up", "multimodal")
NOISE = 0.1
LANDMARKS = 30
MOST_VOXELS = 200_000
LIMIT = 1800.0


@dataclass(frozen=True)
class Scan:
    """A scan of the data, and how it is deformed."""

    path: str
    motion: str
    amount: float | None = None


SCANS = (
    Scan("singles/thorax_cta_totalseg/image.nii.gz", BREATHING),
    Scan("liver_mr_breathing_eth18_cyc_1_10/fixed.nii.gz", BREATHING),
    Scan("singles/head_ct_sinus_camitk/image.nii.gz", NECK),
    Scan("abdomen_ct_totalseg_amos0336/fixed.nii.gz", BLADDER),
    Scan("brain_preop_intraop_itk_pbnrr/fixed.nii.gz", TUMOUR),
    Scan("brain_preop_intraop_itk_pbnrr/fixed.nii.gz", TUMOUR, 0.2),
)


def measure(options: Options) -> Table:
    """Register every phantom by every recipe."""
    scans = [scan for scan in SCANS if (options.data / scan.path).is_file()]
    if not scans:
        return nothing(TITLE, f"There is no case in {options.data}.")
    rows: list[dict[str, Any]] = []
    for scan in scans:
        number = SCANS.index(scan)
        answer = run_fresh(__spec__.name, options.data, str(number), limit=LIMIT)
        name = scan.path.split("/")[-2]
        rows += [{"scan": name, "motion": scan.motion, **row} for row in answer.get("rows", [answer])]
        print(f"  {name}: {answer}", flush=True)
    wrongly = [row for row in rows if row.get("sheet") == PASS and row["mean mm"] > row["limit mm"]]
    summary = (
        f"Each scan, at {MOST_VOXELS} voxels at most, is deformed as by `deepreg phantom --motion ... --noise {NOISE}` "
        "and registered to itself as it was; distances from the truth are over the voxels of the anatomy. The sheet is "
        f"that of `deepreg quality` with {LANDMARKS} points of the truth as landmarks that the registration was not "
        "given; its limit is TG-132's, the longest edge of a voxel. "
        f"It passed {len(wrongly)} results whose mean error is above the limit.",
    )
    return Table(TITLE, COLUMNS, rows, summary, passed=not wrongly)


def run_once(data: str, number: str) -> dict[str, Any]:
    """Make one phantom, and register it by every recipe."""
    chosen = SCANS[int(number)]
    scan = small(read_image(Path(data) / chosen.path), MOST_VOXELS)
    motion = usual_motion(chosen.motion, scan, amount=chosen.amount)
    phantom = make_phantom(scan, (motion,), Appearance(noise=NOISE))
    body = foreground_mask(phantom.fixed)
    inside = np.argwhere(body.array)[:, ::-1]
    places = inside[np.random.default_rng(0).choice(len(inside), LANDMARKS, replace=False)]
    points = body.geometry.to_world(places)
    landmarks = points, phantom.truth.apply_to_points(points)
    rows = []
    for recipe in RECIPES:
        result = register(phantom.fixed, phantom.moving, recipe)
        _, error = error_map(result.transform, phantom.truth, body)
        measured = Measured(phantom.fixed, phantom.moving, result.transform, result.inverse, landmarks)
        rows.append(
            {
                "recipe": recipe,
                "moved mm": round(error.moved, 2),
                "mean mm": round(error.mean, 2),
                "95 % mm": round(error.p95, 2),
                "limit mm": round(longest_edge(phantom.fixed.geometry, phantom.moving.geometry), 2),
                "sheet": overall(quality_items(measured, Limits())),
                "verdict": result.verdict.level,
            }
        )
    return {"rows": rows}


def small(scan: Image, most: int) -> Image:
    """Return a scan of whole numbers on at most so many voxels."""
    grid = scan.geometry
    excess = float(np.prod(grid.size)) / most
    if excess <= 1:
        return scan
    step = (float(np.prod(grid.spacing)) * excess) ** (1 / 3)
    coarser = smooth_and_resample(scan, grid.resized(np.maximum(step, grid.spacing)))
    return coarser.with_array(np.rint(coarser.array).astype(np.int16))


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
