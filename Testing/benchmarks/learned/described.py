"""Learned features as similarity beside those that need no training, on pairs of unlike contrast."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import FEATURES, LNCC_NGF, Recipe, load_recipe
from DeepRegLib.transforms import linear_part
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.learned.contrast import CURVES, with_curve
from Testing.benchmarks.options import Options
from Testing.benchmarks.pairs import truth_of
from Testing.benchmarks.tables import Table, nothing

TITLE = "Learned features as similarity"
COLUMNS = ("pair", "similarity", "Dice linear", "Dice", "TRE linear (mm)", "TRE (mm)", "folds", "CPU seconds")
# Of one contrast: the moving scan is given another.
TURNED = "hippocampus_mr_msd_004_006"
PAIRS = ("spine_mr_sct_t1_t2", "brain_ct_mr_templates", "brain_multimodal_stroke_t1_t2warp", TURNED)
WITHOUT_TRAINING = ("mind", LNCC_NGF, "ngf")


def measure(options: Options) -> Table:
    """Register each pair by each similarity, all else as the recipe has it; `--model` names the network of features."""
    cases = [case for case in find_cases(options.data, options.only) if case.name in PAIRS]
    if not cases:
        return nothing(TITLE, f"There is no case of {', '.join(PAIRS)} in {options.data}.")
    rows = []
    for case in cases:
        for similarity in (*WITHOUT_TRAINING, FEATURES):
            begun = time.process_time()
            found = register(*unlike(case), by(similarity, load_recipe(options.recipe), options.model), device="cpu")
            seconds = time.process_time() - begun
            truth = truth_of(case, found.transform, "end") | truth_of(case, linear_part(found.transform), "start")
            rows.append(row_of(case.name, similarity, truth, found.measures.folds, seconds))
            print(f"  {rows[-1]}", flush=True)
    return Table(f"{TITLE} ({options.model})", COLUMNS, rows, summed_up(rows))


def unlike(case: Case) -> tuple[Image, Image]:
    """Return the images of a case, the moving one with bright and dark turned if both are of one contrast."""
    fixed, moving = case.images()
    return fixed, with_curve(moving, CURVES["turned"]) if case.name == TURNED else moving


def by(similarity: str, recipe: Recipe, features: str) -> Recipe:
    """Return a recipe whose deformable stage compares by a similarity, and that asks no model for a field."""
    named = features if similarity == FEATURES else ""
    deformable = replace(recipe.deformable, similarity=similarity, features=named)
    return replace(recipe, model=replace(recipe.model, name=""), deformable=deformable)


def row_of(pair: str, similarity: str, truth: dict[str, Any], folds: int, seconds: float) -> dict[str, Any]:
    """Return a row of the table; what is not known of the pair is None."""
    return {
        "pair": pair,
        "similarity": similarity,
        "Dice linear": truth.get("Dice start"),
        "Dice": truth.get("Dice end"),
        "TRE linear (mm)": truth.get("TRE start"),
        "TRE (mm)": truth.get("TRE end"),
        "folds": folds,
        "CPU seconds": seconds,
    }


def summed_up(rows: list[dict[str, Any]]) -> list[str]:
    """Return a sentence a pair: where the features end, and the best of those that need no training."""
    sentences = []
    for pair in dict.fromkeys(row["pair"] for row in rows):
        own = [row for row in rows if row["pair"] == pair]
        key, better = ("Dice", max) if own[0]["Dice"] is not None else ("TRE (mm)", min)
        (learned,) = (row[key] for row in own if row["similarity"] == FEATURES)
        others = {row["similarity"]: row[key] for row in own if row["similarity"] != FEATURES}
        best = better((value, name) for name, value in others.items())
        sentences.append(f"{pair}: {key} {learned:.3f} by learned features, {best[0]:.3f} by {best[1]}.")
    return sentences
