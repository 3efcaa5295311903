"""Whether scans that do not belong together are refused: each pairing of different anatomies must end as failed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.errors import RegistrationError
from DeepRegLib.image import Image, read_image
from DeepRegLib.pipeline import register
from DeepRegLib.result import FAILED
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Scans that do not belong together"
NOISE = "noise"
HEAD, BRAIN = "head_t1_freesurfer_sub01_sub02", "brain_t1_nirep_na02_na03"
KNEE, ABDOMEN = "knee_mr_fair_bent_straight", "abdomen_ct_totalseg_amos0336"
LIVER, HEART = "liver_mr_breathing_eth18_cyc_1_10", "cardiac_cine_acdc_patient102_ED_ES"
LUNG, SKULL = "lung_ct_elastix_baseline_followup", "mouse_skull_ct_A_J_C57BL6_J"
HIPPOCAMPUS, PROSTATE = "hippocampus_mr_msd_004_006", "prostate_mr_intraop_slicetracker_t2_needle"
PAIRS = (
    (HEAD, KNEE),
    (HEAD, ABDOMEN),
    (HEAD, NOISE),
    (BRAIN, NOISE),
    (BRAIN, LIVER),
    (KNEE, BRAIN),
    (HEART, LIVER),
    (ABDOMEN, LUNG),
    (HIPPOCAMPUS, HEART),
    (PROSTATE, HEAD),
    (SKULL, BRAIN),
    (LIVER, KNEE),
)


def measure(options: Options) -> Table:
    """Register each pairing in a process of its own."""
    folders = {path.parent.name for path in options.data.glob("*/fixed.nii.gz")} | {NOISE}
    pairs = [pair for pair in PAIRS if set(pair) <= folders and options.only in " ".join(pair)]
    if not pairs:
        return nothing(TITLE, f"There is no case for the pairings in {options.data}.")
    rows = []
    for fixed, moving in pairs:
        answer = run_fresh(__spec__.name, options.data, fixed, moving, options.recipe, limit=options.limit)
        rows.append({"fixed": fixed, "moving": moving, **answer})
        print(f"  {fixed} and {moving}: {answer.get('error') or answer['verdict']}", flush=True)
    refused = sum(row.get("verdict") == FAILED for row in rows)
    columns = ("fixed", "moving", "verdict", "structure, linear", "structure, end", "error")
    summary = f"{refused} of {len(rows)} were refused."
    return Table(f"{TITLE}, recipe {options.recipe}", columns, rows, (summary,), refused == len(rows))


def run(data: str, fixed: str, moving: str, recipe: str) -> dict[str, Any]:
    """Register one pairing; finding no pose at all is a refusal as well."""
    first = read_image(Path(data) / fixed / "fixed.nii.gz")
    second = noise_like(first) if moving == NOISE else read_image(Path(data) / moving / "fixed.nii.gz")
    try:
        result = register(first, second, recipe)
    except RegistrationError as error:
        return {"verdict": FAILED, "error": error.message}
    measures = result.measures
    return {
        "verdict": result.verdict.level,
        "structure, linear": measures.structure_linear,
        "structure, end": measures.structure_after,
    }


def noise_like(image: Image) -> Image:
    """Return uniform noise on the grid of an image."""
    values = np.random.default_rng(0).integers(0, 255, image.array.shape, dtype=np.uint8)
    return Image(values, image.geometry, NOISE)


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run(*sys.argv[1:-1])), encoding="utf-8")
