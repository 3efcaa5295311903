"""Whether a discriminator as similarity teaches a registration network more than LNCC: the same training by each."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from DeepRegLib.image import write_image
from DeepRegLib.training import train
from DeepRegLib.training.config import TrainingConfig, config_from_dict
from Testing.benchmarks.networks import write_scans
from Testing.benchmarks.options import Options
from Testing.benchmarks.segmentation import SET, Labelled, labelled
from Testing.benchmarks.tables import Table, nothing

TITLE = "A discriminator as similarity"
STEPS = 150
# An adversarial loss alone is refused, as it teaches nothing until the discriminator knows something.
LOSSES = {
    "LNCC": {"lncc": 1.0},
    "discriminator": {"lncc": 0.001, "adversarial": 1.0},
    "both": {"lncc": 1.0, "adversarial": 0.3},
}
MEASURES = ("error_mm_before", "error_mm_after", "real_dice_before", "real_dice_after", "real_folds")


def measure(options: Options) -> Table:
    """Train on scans deformed by known fields, and measure on others, and on a pair of two people never trained on."""
    scans = labelled(options.data, options.only or SET)
    if len(scans) < 4:
        return nothing(TITLE, f"There is no case of {options.only or SET} with four labelled scans in {options.data}.")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_scans(scans[2:], place / "data")
        write_held_back(scans[:2], place / "held back" / "pair")
        for name, losses in LOSSES.items():
            begun = time.process_time()
            found: list[dict[str, Any]] = []
            train(_config(place, losses), place / name, device="cpu", report=lambda line, kept=found: kept.append(line))
            (last,) = (line for line in found if line["group"] == "validation")
            told = {measure: last[measure] for measure in MEASURES}
            rows.append({"taught by": name, **told, "CPU seconds": time.process_time() - begun})
            print(f"  {rows[-1]}", flush=True)
    dice = {row["taught by"]: row["real_dice_after"] for row in rows}
    summary = [f"Dice of the pair held back: {', '.join(f'{name} {value:.3f}' for name, value in dice.items())}."]
    return Table(TITLE, tuple(rows[0]), rows, summary)


def write_held_back(pair: list[Labelled], folder: Path) -> None:
    """Write two labelled scans as a pair that a training validates on."""
    folder.mkdir(parents=True)
    for side, scan in zip(("fixed", "moving"), pair, strict=True):
        write_image(scan.image, folder / f"{side}.nii.gz")
        write_image(scan.labels, folder / f"{side}_labels.nii.gz")


def _config(place: Path, losses: dict[str, float]) -> TrainingConfig:
    return config_from_dict(
        {
            "name": "taught",
            "network": {
                "architecture": "pyramid",
                "arguments": {"channels": [8, 16, 16, 16], "self_similarity": False},
            },
            "images": {"size": [48, 64, 48], "spacing": 1.0, "margin": 4},
            "sources": {"shapes": 0.0, "images": 1.0, "folder": str(place / "data")},
            "deformation": {"distances": [10.0, 20.0], "amplitudes": [1.5, 3.0]},
            "appearance": {"remap": 0.0, "cropped": 0.0},
            "losses": {"labels": 0.0, "endpoint": 0.0, "smoothness": 0.5, **losses},
            "optimisation": {"iterations": STEPS, "rate": 2e-3, "warmup": 10, "average": 0.95},
            "record": {"log_every": 50, "checkpoint_every": STEPS},
            "validation": {"every": STEPS, "pairs": 8, "folder": str(place / "held back")},
        }
    )
