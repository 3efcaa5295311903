"""Networks of one image, trained here and now: labels of scans held back, and scans with noise registered."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DeepRegLib.evaluation import measure_segments
from DeepRegLib.image import Image, write_image
from DeepRegLib.models import ModelBundle
from DeepRegLib.models.denoising import denoised_by
from DeepRegLib.pipeline import align
from DeepRegLib.preprocessing import denoise
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Request
from DeepRegLib.segmentation import segment_with
from DeepRegLib.training import export, train
from DeepRegLib.training.config import config_from_dict
from DeepRegLib.training.denoising import rician
from DeepRegLib.transforms import apply_to_labels
from Testing.benchmarks.options import Options
from Testing.benchmarks.segmentation import SET, Labelled, labelled
from Testing.benchmarks.tables import Table, nothing

TITLE = "Networks trained in minutes"
COLUMNS = ("what", "scan", "CPU seconds", "Dice", "Dice, contrast turned", "PSNR (dB)", "Dice registered")
LEAST_DICE = 0.80
HELD_BACK = 2
STRENGTHS = (0.05, 0.10, 0.20)
CURVATURE = "curvature"
PATCH = {"size": [32, 48, 32], "spacing": 1.0, "margin": 4}
BENT = {"distances": [8.0, 16.0], "amplitudes": [1.0, 2.0], "rotation": 15.0, "scaling": 0.15}
SEGMENTING = {
    "task": "segmentation",
    "network": {"architecture": "segmentation-unet", "arguments": {"channels": [8, 16, 32]}},
    "images": PATCH,
    "segmentation": {"names": {"1": "anterior", "2": "posterior"}},
    "deformation": BENT,
    "appearance": {"cropped": 0.0},
}
STEPS = {"images": 420, "maps": 420, "noise": 300}


def measure(options: Options) -> Table:
    """Train on all scans of the set but two: by scans, by label maps alone, against noise; measure on the two."""
    scans = labelled(options.data, options.only or SET)
    if len(scans) < HELD_BACK + 2:
        return nothing(TITLE, f"There is no case of {options.only or SET} with four labelled scans in {options.data}.")
    known, held_back = [scans[n] for n in range(len(scans)) if n not in (0, 3)], [scans[0], scans[3]]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_scans(known, place / "data")
        for source in ("images", "maps"):
            bundle, seconds = _trained(SEGMENTING, source, place / source, place / "data", STEPS[source])
            rows += [_segmented(bundle, scan, source, seconds) for scan in held_back]
            _say(rows[-HELD_BACK:])
        plain = {"task": "denoise", "network": {"architecture": "autoencoder"}, "images": PATCH, "deformation": BENT}
        still = dict.fromkeys(("noise", "thick", "artefacts", "cropped", "bias", "remap", "blur", "gamma"), 0.0)
        bundle, seconds = _trained(
            plain | {"appearance": still}, "images", place / "noise", place / "data", STEPS["noise"]
        )
        for strength in STRENGTHS:
            rows += _noisy(bundle, held_back, strength, seconds)
            _say(rows[-3:])
    means = {source: _mean([row["Dice"] for row in rows if row["what"] == source]) for source in ("images", "maps")}
    turned = {s: _mean([row["Dice, contrast turned"] for row in rows if row["what"] == s]) for s in ("images", "maps")}
    summary = [
        f"Trained on {len(known)} scans, measured on {HELD_BACK} others. By the scans: {means['images']:.3f} Dice, "
        f"{turned['images']:.3f} with the contrast turned. By their label maps alone: {means['maps']:.3f} and "
        f"{turned['maps']:.3f}."
    ]
    return Table(f"{TITLE}: {options.only or SET}", COLUMNS, rows, summary, means["images"] >= LEAST_DICE)


def turned_contrast(scan: Image) -> Image:
    """Return a scan whose bright is dark and whose dark is bright."""
    return scan.with_array(float(scan.array.max()) - scan.array.astype(np.float32))


def with_noise(scan: Image, strength: float, seed: int) -> Image:
    """Return a scan with Rician noise, its standard deviation a share of the range from 0.1 to 99.9 %."""
    low, high = np.percentile(scan.array, [0.1, 99.9])
    image = torch.from_numpy(((scan.array.astype(np.float32) - low) / (high - low)).astype(np.float32))[None, None]
    parts = torch.randn(1, 2, *scan.array.shape, generator=torch.Generator().manual_seed(seed))
    spoilt = rician(image.clamp(min=0), parts, torch.full((1, 1, 1, 1, 1), strength))[0, 0].numpy()
    return scan.with_array((spoilt * (high - low) + low).astype(np.float32))


def psnr(found: Image, truth: Image) -> float:
    """Return the peak signal-to-noise ratio in dB, the peak being the range from 0.1 to 99.9 % of the truth."""
    low, high = np.percentile(truth.array, [0.1, 99.9])
    error = np.mean((found.array.astype(np.float64) - truth.array.astype(np.float64)) ** 2)
    return float(10 * math.log10((high - low) ** 2 / max(float(error), 1e-12)))


def _trained(table: dict[str, Any], source: str, run: Path, data: Path, steps: int) -> tuple[ModelBundle, float]:
    appearance = {**table.get("appearance", {}), **({"remap": 0.0} if source == "images" else {})}
    config = config_from_dict(
        {
            "name": run.name,
            **table,
            "appearance": appearance,
            "sources": {"shapes": 0.0, source: 1.0, "folder": str(data)},
            "optimisation": {"iterations": steps, "rate": 6e-3, "warmup": 20, "average": 0.98},
            "record": {"log_every": 100, "checkpoint_every": steps},
            "validation": {"every": steps, "pairs": 0},
        }
    )
    begun = time.process_time()
    train(config, run, device="cpu")
    return export(run, run.with_name(f"{run.name}-bundle")), time.process_time() - begun


def _segmented(bundle: ModelBundle, scan: Labelled, source: str, seconds: float) -> dict[str, Any]:
    scores = [
        measure_segments(scan.labels, segment_with(bundle.folder, image, device="cpu").labels).mean("dice")
        for image in (scan.image, turned_contrast(scan.image))
    ]
    return {
        "what": source,
        "scan": scan.name,
        "CPU seconds": seconds,
        "Dice": scores[0],
        "Dice, contrast turned": scores[1],
    }


def _noisy(bundle: ModelBundle, pair: Sequence[Labelled], strength: float, seconds: float) -> list[dict[str, Any]]:
    """Register both scans held back with noise, cleaned in three ways."""
    spoilt = [with_noise(scan.image, strength, number) for number, scan in enumerate(pair)]
    recipe = load_recipe("fast")
    rows = []
    for how in ("", CURVATURE, str(bundle.folder)):
        chosen = replace(recipe, prepare=replace(recipe.prepare, denoise=how))
        found = align(Request(spoilt[0], spoilt[1], chosen, device="cpu"))
        carried = apply_to_labels(found.transform, pair[1].labels, pair[0].image.geometry)
        name = {"": "nothing", CURVATURE: "curvature flow"}.get(how, "autoencoder")
        cleaned = [_cleaned(image, how, bundle) for image in spoilt]
        ratios = [psnr(image, scan.image) for image, scan in zip(cleaned, pair, strict=True)]
        rows.append(
            {
                "what": f"noise {strength:.0%}, {name}",
                "scan": "both held back",
                "CPU seconds": seconds if name == "autoencoder" else None,
                "PSNR (dB)": _mean(ratios),
                "Dice registered": measure_segments(pair[0].labels, carried).mean("dice"),
            }
        )
    return rows


def _cleaned(image: Image, how: str, bundle: ModelBundle) -> Image:
    if not how:
        return image
    return denoise(image, how) if how == CURVATURE else denoised_by(bundle, image, device="cpu")


def write_scans(scans: Sequence[Labelled], folder: Path) -> None:
    """Write scans and labels as a training reads them."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number, scan in enumerate(scans):
        write_image(scan.image, folder / "images" / f"{number}.nii.gz")
        write_image(scan.labels, folder / "labels" / f"{number}.nii.gz")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _say(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
