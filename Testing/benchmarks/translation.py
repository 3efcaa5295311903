"""Networks that show T2 and PD as T1: pairs registered through what they make.

They are trained here and now on others, or `--model A,B` names some that were trained for longer, and on which scans is
up to whoever trained them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DeepRegLib.evaluation import target_registration_error
from DeepRegLib.image import Image, write_image
from DeepRegLib.models import ModelBundle, usable_bundle
from DeepRegLib.models.manifest import TRANSLATE
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
from Testing.benchmarks.learned.contrast import with_curve
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Registration through a synthetic modality"
COLUMNS = ("pair", "recipe", "TRE (mm)", "p95 (mm)", "verdict", "SSIM", "structure", "CPU seconds", "training")
# Both are T1 beside T2 of a head, with the field between them known.
PAIRS = ("brain_multimodal_brainweb_t1tps_t2", "brain_multimodal_stroke_t1_t2warp")
# A PD, turned and shifted, beside the T1 of the same head: there is no other head with a PD to learn from.
PD = "brain_multimodal_brainweb_pdrot20_t1"
SPACING = 2.0
# With pairs, and without: a step of the latter asks the network three times.
STEPS, UNPAIRED_STEPS = 220, 75
PAIRED, UNPAIRED = "auto, T1 made of T2", "auto, T1 made of T2, learned without pairs"
# Heads of which nothing but the T1 is known, each sent along random curves.
HEADS, CURVES, KNOTS = "head_t1", 8, 5
ANY = "auto, T1 made of any contrast"


def measure(options: Options) -> Table:
    """Train on one pair, registered by `multimodal`, and register the other through it, and the other way round.

    A network that has seen T1 alone, in random contrasts, is measured on both pairs and on a third one with a PD.
    """
    if options.model != Options.model:
        return measure_trained(options)
    cases = {case.name: case for case in find_cases(options.data)}
    heads = [case for name, case in cases.items() if name.startswith(HEADS)]
    if not all(name in cases for name in PAIRS) or not heads:
        return nothing(TITLE, f"There are no cases {', '.join((*PAIRS, HEADS))} in {options.data}.")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        of_any = trained(write_in_random_contrasts(heads, Path(place) / "any"), Path(place) / "any", paired=True)
        for known, held_back in (PAIRS, PAIRS[::-1]):
            models = {
                name: trained_on(cases[known], Path(place) / known / str(name == PAIRED), paired=name == PAIRED)
                for name in (PAIRED, UNPAIRED)
            }
            rows += registered(cases[held_back], models | {ANY: of_any})
        if PD in cases:
            rows += registered(cases[PD], {ANY: of_any})
    means = {
        recipe: sum(row["TRE (mm)"] for row in rows if row["recipe"] == recipe and row["pair"] != PD) / len(PAIRS)
        for recipe in ("multimodal", "auto", PAIRED, UNPAIRED, ANY)
    }
    summary = [f"Mean TRE, T1 and T2: {', '.join(f'{recipe} {tre:.2f} mm' for recipe, tre in means.items())}."]
    return Table(TITLE, COLUMNS, rows, summary, min(means[PAIRED], means[ANY]) <= means["auto"])


def measure_trained(options: Options) -> Table:
    """Register each pair directly and through each model that is named."""
    cases = [case for case in find_cases(options.data, options.only) if case.name in (*PAIRS, PD)]
    if not cases:
        return nothing(TITLE, f"There is no case of {', '.join((*PAIRS, PD))} in {options.data}.")
    named = [usable_bundle(model, TRANSLATE) for model in options.model.split(",")]
    models = {f"auto, through {bundle.manifest.name}": (bundle, None) for bundle in named}
    return Table(TITLE, COLUMNS, [row for case in cases for row in registered(case, models)])


def write_in_random_contrasts(heads: Sequence[Case], folder: Path) -> Path:
    """Write both scans of each case along random curves, and beside each the scan as it is; return the folder."""
    random = np.random.default_rng(0)
    scans = [image for case in heads for image in case.images()]
    for part in ("images", "targets"):
        (folder / "data" / part).mkdir(parents=True)
    for number, scan in enumerate(scans):
        for repeat in range(CURVES):
            name = f"{number}-{repeat}.nii.gz"
            curve = (0.0, *random.uniform(0, 1, KNOTS - 1))  # air is black in all of them
            write_image(with_curve(scan, curve), folder / "data" / "images" / name)
            write_image(scan, folder / "data" / "targets" / name)
    return folder / "data"


def trained_on(case: Case, folder: Path, *, paired: bool) -> tuple[ModelBundle, float]:
    """Train a network that shows the moving modality of a case as the fixed one; return it and its CPU seconds.

    Without pairs it sees both scans as they are, and is not told that they are of one person.
    """
    fixed, moving = case.images()
    if paired:
        found = align(Request(fixed, moving, load_recipe("multimodal"), device="cpu"))
        moving = apply_to_image(found.transform, moving, fixed.geometry)
    for part, image in (("images", moving), ("targets", fixed)):
        (folder / "data" / part).mkdir(parents=True)
        write_image(image, folder / "data" / part / "1.nii.gz")
    return trained(folder / "data", folder, paired=paired)


def trained(data: Path, folder: Path, *, paired: bool) -> tuple[ModelBundle, float]:
    """Train a network on a folder of scans and targets; return it and its CPU seconds."""
    steps = STEPS if paired else UNPAIRED_STEPS
    config = config_from_dict(
        {
            "name": "t2-as-t1",
            "task": "translate",
            "network": {"architecture": "translator"},
            "images": {"size": [48, 48, 48], "spacing": SPACING},
            "sources": {"shapes": 0.0, "images": 1.0, "folder": str(data)},
            "translate": {"paired": paired, "adversarial": 0.02 if paired else 0.5},
            "optimisation": {"iterations": steps, "rate": 3e-3, "warmup": 20, "average": 0.98 if paired else 0.9},
            "record": {"log_every": 20, "checkpoint_every": steps},
            "validation": {"every": steps, "pairs": 0},
        }
    )
    begun = time.process_time()
    train(config, folder / "run", device="cpu")
    return export(folder / "run", folder / "t2-as-t1"), time.process_time() - begun


def registered(case: Case, models: Mapping[str, tuple[ModelBundle, float | None]]) -> list[dict[str, Any]]:
    """Register a case directly and through each model, and compare what they make of the scan that is no T1."""
    fixed, moving = case.images()
    side = "fixed" if case.name == PD else "moving"
    auto = load_recipe("auto")
    recipes = {"multimodal": load_recipe("multimodal"), "auto": auto} | {
        name: replace(auto, translate=Translate(str(bundle.folder), side)) for name, (bundle, _) in models.items()
    }
    rows: list[dict[str, Any]] = []
    best = None
    for name, recipe in recipes.items():
        found = align(Request(fixed, moving, recipe, device="cpu"))
        row = _row(case, name, found)
        if best is None:  # multimodal, by which what the scans show is compared
            best = found
            row["SSIM"] = _ssim(fixed, moving, best)
        if name in models:
            bundle, seconds = models[name]
            made = translate_with(bundle.folder, fixed if side == "fixed" else moving, device="cpu")
            sides = (made.synthetic, moving) if side == "fixed" else (fixed, made.synthetic)
            row |= {"SSIM": _ssim(*sides, best), "structure": made.structure, "training": seconds}
        rows.append(row)
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
