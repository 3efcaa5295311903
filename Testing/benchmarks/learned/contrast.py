"""What another contrast costs: each pair as it is, and with the moving intensities sent along a crooked curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from Testing.benchmarks.cases import find_cases, preferred
from Testing.benchmarks.learned.variants import WITH, WITHOUT, variants
from Testing.benchmarks.options import Options
from Testing.benchmarks.pairs import truth_of
from Testing.benchmarks.tables import Table, nothing

TITLE = "Another contrast"
PAIRS = (
    "brain_t1_nirep_na02_na03",
    "head_t1_freesurfer_sub01_sub02",
    "hippocampus_mr_msd_001_003",
    "cardiac_cine_acdc_patient102_ED_ES",
)
MOST_LOST = 0.02
# Where black, dark grey, grey, light grey and white go: neither brighter for brighter nor darker for brighter.
CURVE = (0.0, 0.9, 0.45, 0.65, 0.2)


def measure(options: Options) -> Table:
    """Register each pair with the same and with another contrast, with and without the model, and compare the Dice."""
    cases = [case for case in preferred(find_cases(options.data, options.only), PAIRS) if case.labels() is not None]
    if not cases:
        return nothing(TITLE, f"There is no case with labels in {options.data}.")
    chosen = variants(options.recipe, options.model)
    rows = []
    for case in cases:
        fixed, moving = case.images()
        row: dict[str, Any] = {"case": case.name}
        for name in (WITHOUT, WITH):
            for what, image in (("same", moving), ("other", recoloured(moving))):
                found = register(fixed, image, chosen[name])
                row[f"{what} contrast, {name}"] = truth_of(case, found.transform, "end")["Dice end"]
            row[f"lost, {name}"] = row[f"same contrast, {name}"] - row[f"other contrast, {name}"]
        rows.append(row)
        print(f"  {row}", flush=True)
    lost = max(row[f"lost, {WITH}"] for row in rows)
    summary = (f"With the model another contrast costs at most {lost:.3f} Dice; the limit is {MOST_LOST:g}.",)
    return Table(TITLE, tuple(rows[0]), rows, summary, lost <= MOST_LOST)


def recoloured(image: Image) -> Image:
    """Send intensities along `CURVE`, between the least one and the 99.5th percentile."""
    values = image.array.astype(np.float32)
    low, high = float(values.min()), float(np.percentile(values, 99.5))
    return Image(
        np.interp(values, np.linspace(low, high, len(CURVE)), CURVE).astype(np.float32), image.geometry, image.name
    )
