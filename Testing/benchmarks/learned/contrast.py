"""What another contrast costs: each pair as it is, and with the moving intensities sent along curves."""

from __future__ import annotations

from collections.abc import Sequence
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
# Where black, dark grey, grey, light grey and white go. Turned: darker for brighter, but black stays. Crooked: several
# tissues become one grey, so that something is lost that no comparison can find again.
CURVES = {
    "dimmed": (0.0, 0.0625, 0.25, 0.5625, 1.0),
    "turned": (0.0, 1.0, 0.7, 0.4, 0.1),
    "crooked": (0.0, 0.9, 0.45, 0.65, 0.2),
}
SAME = "same"


def measure(options: Options) -> Table:
    """Register each pair with the same and with other contrasts, with and without the model, and compare the Dice."""
    cases = [case for case in preferred(find_cases(options.data, options.only), PAIRS) if case.labels() is not None]
    if not cases:
        return nothing(TITLE, f"There is no case with labels in {options.data}.")
    chosen = variants(options.recipe, options.model)
    rows = []
    for case in cases:
        fixed, moving = case.images()
        for name in (WITHOUT, WITH):
            row: dict[str, Any] = {"case": case.name, "auto": name}
            for curve in (SAME, *CURVES):
                image = moving if curve == SAME else with_curve(moving, CURVES[curve])
                found = register(fixed, image, chosen[name])
                row[curve] = truth_of(case, found.transform, "end")["Dice end"]
            rows.append(row)
            print(f"  {row}", flush=True)
    lost = {curve: max(row[SAME] - row[curve] for row in rows if row["auto"] == WITH) for curve in CURVES}
    told = ", ".join(f"{curve} {most:.3f}" for curve, most in lost.items())
    summary = (f"With the model another contrast costs at most this much Dice: {told}; the limit is {MOST_LOST:g}.",)
    return Table(TITLE, tuple(rows[0]), rows, summary, max(lost.values()) <= MOST_LOST)


def with_curve(image: Image, curve: Sequence[float]) -> Image:
    """Send intensities along a curve, between the least one and the 99.5th percentile."""
    values = image.array.astype(np.float32)
    low, high = float(values.min()), float(np.percentile(values, 99.5))
    return Image(
        np.interp(values, np.linspace(low, high, len(curve)), curve).astype(np.float32), image.geometry, image.name
    )
