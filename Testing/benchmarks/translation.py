"""A network that shows T2 as T1, trained here and now on one pair: another person's pair registered through it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from DeepRegLib.evaluation import target_registration_error
from DeepRegLib.image import Image, write_image
from DeepRegLib.models import ModelBundle
from DeepRegLib.pipeline import align
from DeepRegLib.preprocessing import foreground_mask, normalise
from DeepRegLib.recipes import Translate, load_recipe
from DeepRegLib.request import Request
from DeepRegLib.result import Registration
from DeepRegLib.similarity.ssim import SSIM
from DeepRegLib.training import export, train
from DeepRegLib.training.config import config_from_dict
from DeepRegLib.transforms import apply_to_image
from DeepRegLib.translation import translate_with
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Registration through a synthetic modality"
COLUMNS = ("pair", "recipe", "TRE (mm)", "p95 (mm)", "verdict", "SSIM", "structure", "CPU seconds", "training")
# Both are T1 beside T2 of a head, with the field between them known.
PAIRS = ("brain_multimodal_brainweb_t1tps_t2", "brain_multimodal_stroke_t1_t2warp")
SPACING = 2.0
# With pairs, and without: a step of the latter asks the network three times.
STEPS, UNPAIRED_STEPS = 220, 75
PAIRED, UNPAIRED = "auto, T1 made of T2", "auto, T1 made of T2, learned without pairs"


def measure(options: Options) -> Table:
    """Train on one pair, registered by `multimodal`; register the other through it, and the other way round."""
    cases = {case.name: case for case in find_cases(options.data)}
    if not all(name in cases for name in PAIRS):
        return nothing(TITLE, f"There are no cases {' and '.join(PAIRS)} in {options.data}.")
    rows: list[dict[str, Any]] = []
    for known, held_back in (PAIRS, PAIRS[::-1]):
        with tempfile.TemporaryDirectory() as folder:
            models = {
                name: trained_on(cases[known], Path(folder) / str(name == PAIRED), paired=name == PAIRED)
                for name in (PAIRED, UNPAIRED)
            }
            rows += registered(cases[held_back], models)
    means = {
        recipe: sum(row["TRE (mm)"] for row in rows if row["recipe"] == recipe) / len(PAIRS)
        for recipe in ("multimodal", "auto", PAIRED, UNPAIRED)
    }
    summary = [f"Mean TRE: {', '.join(f'{recipe} {tre:.2f} mm' for recipe, tre in means.items())}."]
    return Table(TITLE, COLUMNS, rows, summary, means[PAIRED] <= means["auto"])


def trained_on(case: Case, folder: Path, *, paired: bool) -> tuple[ModelBundle, float]:
    """Train a network that shows the moving modality of a case as the fixed one; return it and its CPU seconds.

    Without pairs it sees both scans as they are, and is not told that they are of one person.
    """
    fixed, moving = case.images()
    if paired:
        found = align(Request(fixed, moving, load_recipe("multimodal"), device="cpu"))
        moving = apply_to_image(found.transform, moving, fixed.geometry)
    steps = STEPS if paired else UNPAIRED_STEPS
    for part, image in (("images", moving), ("targets", fixed)):
        (folder / "data" / part).mkdir(parents=True)
        write_image(image, folder / "data" / part / "1.nii.gz")
    config = config_from_dict(
        {
            "name": "t2-as-t1",
            "task": "translate",
            "network": {"architecture": "translator"},
            "images": {"size": [48, 48, 48], "spacing": SPACING},
            "sources": {"shapes": 0.0, "images": 1.0, "folder": str(folder / "data")},
            "translate": {"paired": paired, "adversarial": 0.02 if paired else 0.5},
            "optimisation": {"iterations": steps, "rate": 3e-3, "warmup": 20, "average": 0.98 if paired else 0.9},
            "record": {"log_every": 20, "checkpoint_every": steps},
            "validation": {"every": steps, "pairs": 0},
        }
    )
    begun = time.process_time()
    train(config, folder / "run", device="cpu")
    return export(folder / "run", folder / "t2-as-t1"), time.process_time() - begun


def registered(case: Case, models: dict[str, tuple[ModelBundle, float]]) -> list[dict[str, Any]]:
    """Register a case directly and through each model, and compare what they make of the moving scan."""
    fixed, moving = case.images()
    auto = load_recipe("auto")
    recipes = {"multimodal": load_recipe("multimodal"), "auto": auto} | {
        name: replace(auto, translate=Translate(str(bundle.folder))) for name, (bundle, _) in models.items()
    }
    results = {name: align(Request(fixed, moving, recipe, device="cpu")) for name, recipe in recipes.items()}
    rows = [_row(case, name, found) for name, found in results.items()]
    best = results["multimodal"]
    rows[0]["SSIM"] = _ssim(fixed, moving, best)
    for row in rows[2:]:
        bundle, seconds = models[row["recipe"]]
        made = translate_with(bundle.folder, moving, device="cpu")
        row |= {"SSIM": _ssim(fixed, made.synthetic, best), "structure": made.structure, "training": seconds}
    for row in rows:
        print(row, flush=True)
    return rows


def _row(case: Case, recipe: str, found: Registration) -> dict[str, Any]:
    landmarks = case.landmarks()
    if landmarks is None:
        raise ValueError(f"{case.name} has no landmarks")
    errors = torch.from_numpy(target_registration_error(found.transform, *landmarks))
    return {
        "pair": case.name,
        "recipe": recipe,
        "TRE (mm)": float(errors.mean()),
        "p95 (mm)": float(errors.quantile(0.95)),
        "verdict": found.verdict.level,
        "CPU seconds": sum(found.timings.values()),
    }


def _ssim(fixed: Image, moving: Image, by: Registration) -> float:
    """Return the structural similarity of the fixed image and one that a registration brings onto it, in the body."""
    warped = apply_to_image(by.transform, moving, fixed.geometry)
    body = torch.from_numpy(foreground_mask(fixed).array.astype("float32"))[None]
    first, second = (torch.from_numpy(normalise(image).array.astype("float32"))[None] for image in (fixed, warped))
    return float(SSIM(first, body).value(second))
