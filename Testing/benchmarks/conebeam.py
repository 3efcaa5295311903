"""A CT and a cone-beam CT made of it after a known motion: `cbct` beside `auto`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.evaluation.truth import error_map
from DeepRegLib.image import read_image
from DeepRegLib.phantom.cone_beam import ConeBeam, cone_beam
from DeepRegLib.phantom.making import make_phantom, usual_motion
from DeepRegLib.phantom.motions import BREATHING, NECK
from DeepRegLib.pipeline import register
from DeepRegLib.preprocessing import foreground_mask, scanned_cylinder
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.phantoms import Scan, small
from Testing.benchmarks.tables import Table, nothing

TITLE = "Cone-beam CT"
COLUMNS = ("scan", "motion", "recipe", "moved mm", "mean mm", "95 % mm", "verdict", "CPU seconds", "error")
RECIPES = ("auto", "cbct")
MOST_VOXELS = 500_000
LIMIT = 1800.0
# `cbct` was made on a chest; the other two were not looked at before.
SCANS = (
    Scan("singles/thorax_cta_totalseg/image.nii.gz", BREATHING),
    Scan("abdomen_ct_totalseg_amos0336/fixed.nii.gz", BREATHING),
    Scan("singles/head_ct_sinus_camitk/image.nii.gz", NECK),
)


def measure(options: Options) -> Table:
    """Register every cone-beam CT by every recipe."""
    scans = [scan for scan in SCANS if (options.data / scan.path).is_file() and options.only in scan.path]
    if not scans:
        return nothing(TITLE, f"There is no case in {options.data}.")
    rows: list[dict[str, Any]] = []
    for scan in scans:
        answer = run_fresh(__spec__.name, options.data, str(SCANS.index(scan)), limit=LIMIT)
        rows += [
            {"scan": scan.path.split("/")[-2], "motion": scan.motion, **row} for row in answer.get("rows", [answer])
        ]
        print(f"  {answer}", flush=True)
    summary = (
        f"Each scan, at {MOST_VOXELS} voxels at most, is deformed as by `deepreg phantom`, then shown by "
        "`DeepRegLib.phantom.cone_beam` with its usual numbers (a cylinder, scatter, cupping, shading, noise, another "
        "gain, a couch that the CT has not), and registered to itself as it was. Errors are against the known field, "
        "over the anatomy in the cylinder.",
    )
    return Table(TITLE, COLUMNS, rows, summary)


def run_once(data: str, number: str) -> dict[str, Any]:
    """Make one cone-beam CT, and register it by each recipe."""
    chosen = SCANS[int(number)]
    scan = small(read_image(Path(data) / chosen.path), MOST_VOXELS)
    phantom = make_phantom(scan, (usual_motion(chosen.motion, scan, amount=chosen.amount),))
    shown = cone_beam(phantom.fixed, ConeBeam())
    body, cylinder = foreground_mask(phantom.fixed), scanned_cylinder(shown)
    inside = body if cylinder is None else body.with_array(np.logical_and(body.array, cylinder.array))
    rows = []
    for recipe in RECIPES:
        begun = time.process_time()
        result = register(shown, phantom.moving, recipe, device="cpu")
        seconds = time.process_time() - begun
        _, error = error_map(result.transform, phantom.truth, inside)
        rows.append(
            {
                "recipe": recipe,
                "moved mm": round(error.moved, 2),
                "mean mm": round(error.mean, 2),
                "95 % mm": round(error.p95, 2),
                "verdict": result.verdict.level,
                "CPU seconds": round(seconds, 1),
            }
        )
    return {"rows": rows}


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
