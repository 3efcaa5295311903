"""Networks of one image, trained here and now: labels of scans held back, and scans with noise registered."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
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
from DeepRegLib.segmentation import Atlas, Segmentation, segment, segment_with
from DeepRegLib.training import export, train
from DeepRegLib.training.config import config_from_dict
from DeepRegLib.training.denoising import rician
from DeepRegLib.transforms import apply_to_labels
from Testing.benchmarks.options import Options
from Testing.benchmarks.segmentation import SET, Labelled, labelled
from Testing.benchmarks.tables import Table, nothing

TITLE = "Networks trained in minutes"
COLUMNS = (
    "what",
    "scan",
    "training CPU s",
    "CPU s a scan",
    "Dice",
    "Dice, contrast turned",
    "PSNR (dB)",
    "Dice registered",
)
LEAST_DICE = 0.80
HELD_BACK = 2
STRENGTHS = (0.05, 0.10, 0.20)
CURVATURE, ATLASES = "curvature", "atlases"
PATCH = {"size": [32, 48, 32], "spacing": 1.0, "margin": 4}
BENT = {"distances": [8.0, 16.0], "amplitudes": [1.0, 2.0], "rotation": 15.0, "scaling": 0.15}
SEGMENTING = {
    "task": "segmentation",
    "images": PATCH,
    "segmentation": {"names": {"1": "anterior", "2": "posterior"}},
    "deformation": BENT,
    "appearance": {"cropped": 0.0},
}
UNET = {"architecture": "segmentation-unet", "arguments": {"channels": [8, 16, 32]}}
CNN = {"architecture": "segmentation-cnn"}
# By what is learned from: the source, the network and the steps.
SEGMENTED: dict[str, tuple[str, dict[str, Any], int]] = {
    "images": ("images", UNET, 420),
    "images, small CNN": ("images", CNN, 200),
    "maps": ("maps", UNET, 420),
}
CLEANING = {
    "task": "denoise",
    "network": {"architecture": "autoencoder"},
    "images": PATCH,
    "deformation": BENT,
    "appearance": dict.fromkeys(("noise", "thick", "artefacts", "cropped", "bias", "remap", "blur", "gamma"), 0.0),
}
CLEANING_STEPS = 140
# Without normalisation an autoencoder diverges at the rate that a segmentation learns fastest with.
RATE, CLEANING_RATE = 6e-3, 1.5e-3


def measure(options: Options) -> Table:
    """Train on all scans of the set but two: by scans, by label maps alone, against noise; measure on the two."""
    scans = labelled(options.data, options.only or SET)
    if len(scans) < HELD_BACK + 2:
        return nothing(TITLE, f"There is no case of {options.only or SET} with four labelled scans in {options.data}.")
    networks = [row for name in SEGMENTED for row in segmentation_rows(scans, name)]
    rows = atlas_rows(scans) + networks + noise_rows(scans)
    means = {name: _mean([row["Dice"] for row in rows if row["what"] == name]) for name in SEGMENTED}
    turned = {s: _mean([row["Dice, contrast turned"] for row in rows if row["what"] == s]) for s in SEGMENTED}
    told = "; ".join(f"{name} {means[name]:.3f}, {turned[name]:.3f} with the contrast turned" for name in SEGMENTED)
    summary = [f"Trained on {len(scans) - HELD_BACK} scans, measured on {HELD_BACK} others, Dice: {told}."]
    return Table(f"{TITLE}: {options.only or SET}", COLUMNS, rows, summary, means["images"] >= LEAST_DICE)


def divided(scans: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Return the scans to learn from, and the two that are held back."""
    return [scans[n] for n in range(len(scans)) if n not in (0, 3)], [scans[0], scans[3]]


def segmentation_rows(scans: Sequence[Labelled], name: str) -> list[dict[str, Any]]:
    """Train one of `SEGMENTED` and segment the scans held back."""
    source, network, steps = SEGMENTED[name]
    with tempfile.TemporaryDirectory() as place:
        bundle, seconds = _trained(scans, SEGMENTING | {"network": network}, source, steps, RATE, Path(place))
        return _said([_segmented(bundle, scan, name, seconds) for scan in divided(scans)[1]])


def atlas_rows(scans: Sequence[Labelled]) -> list[dict[str, Any]]:
    """Segment the scans held back by those that the networks learn from, as atlases."""
    known, unseen = divided(scans)
    atlases = [Atlas(scan.name, scan.image, scan.labels) for scan in known]
    return _said([_scored(ATLASES, scan, lambda image: segment(image, atlases, device="cpu")) for scan in unseen])


def noise_rows(scans: Sequence[Labelled]) -> list[dict[str, Any]]:
    """Train an autoencoder against noise, and register the scans held back with noise."""
    with tempfile.TemporaryDirectory() as place:
        bundle, seconds = _trained(scans, CLEANING, "images", CLEANING_STEPS, CLEANING_RATE, Path(place))
        return [row for strength in STRENGTHS for row in _said(_noisy(bundle, divided(scans)[1], strength, seconds))]


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


def _trained(
    scans: Sequence[Labelled], table: dict[str, Any], source: str, steps: int, rate: float, place: Path
) -> tuple[ModelBundle, float]:
    """Return a model trained on the scans that are not held back, and the CPU seconds that took."""
    write_scans(divided(scans)[0], place / "data")
    appearance = {**table["appearance"], **({"remap": 0.0} if source == "images" else {})}
    config = config_from_dict(
        {
            "name": "trained",
            **table,
            "appearance": appearance,
            "sources": {"shapes": 0.0, source: 1.0, "folder": str(place / "data")},
            "optimisation": {"iterations": steps, "rate": rate, "warmup": 20, "average": 0.98},
            "record": {"log_every": 100, "checkpoint_every": steps},
            "validation": {"every": steps, "pairs": 0},
        }
    )
    begun = time.process_time()
    train(config, place / "run", device="cpu")
    return export(place / "run", place / "bundle"), time.process_time() - begun


def _segmented(bundle: ModelBundle, scan: Labelled, source: str, seconds: float) -> dict[str, Any]:
    row = _scored(source, scan, lambda image: segment_with(bundle.folder, image, device="cpu"))
    return row | {"training CPU s": seconds}


def _scored(what: str, scan: Labelled, segmented: Callable[[Image], Segmentation]) -> dict[str, Any]:
    """Segment a scan as it is, and with bright and dark turned; measure the overlap and the time of the former."""
    begun = time.process_time()
    found = segmented(scan.image)
    seconds = time.process_time() - begun
    turned = segmented(turned_contrast(scan.image))
    return {
        "what": what,
        "scan": scan.name,
        "CPU s a scan": seconds,
        "Dice": measure_segments(scan.labels, found.labels).mean("dice"),
        "Dice, contrast turned": measure_segments(scan.labels, turned.labels).mean("dice"),
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
                "training CPU s": seconds if name == "autoencoder" else None,
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


def _said(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows, printed as soon as they are there."""
    for row in rows:
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows
