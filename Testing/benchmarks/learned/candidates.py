"""Models for registration beside each other: how far each reaches alone and in the pipeline, how well that ends, time.

`--model A,B` names them. `--recipe none` asks the networks alone, which takes a second a scan instead of twenty.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from DeepRegLib.errors import DeepRegError
from DeepRegLib.image import Image, box_around
from DeepRegLib.models import load_network, usable_bundle
from DeepRegLib.models.inference import network_grid, predict
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.pipeline import register
from DeepRegLib.preprocessing import foreground_mask
from DeepRegLib.preprocessing.network_input import on_grid
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.stages.deformable import to_displacement_field
from DeepRegLib.transforms import Transform
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.learned.capture import ERRORS_MM, HOME_MM, deformed, distances
from Testing.benchmarks.options import Options
from Testing.benchmarks.pairs import truth_of
from Testing.benchmarks.poses import fine_enough
from Testing.benchmarks.tables import Table, nothing

TITLE = "Candidates beside each other"
COLUMNS = ("candidate", "case", "mm before", "mm left", f"within {HOME_MM:g} mm", "Dice", "TRE (mm)", "CPU seconds")
ALONE, NO_MODEL = "none", "no model"
Aligner = Callable[[Image, Image], Transform]


def measure(options: Options) -> Table:
    """Deform a scan of each kind that is held back by known fields, and register the pairs that are held back."""
    cases = held_back(find_cases(options.data, options.only))
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    rows: list[dict[str, Any]] = []
    for name, aligner in candidates(options.model.split(","), options.recipe).items():
        for case in one_of_a_kind(cases):
            rows += said(reached(name, aligner, case))
        if options.recipe != ALONE:
            for case in cases:
                rows += said(ended(name, aligner, case))
    return Table(TITLE, COLUMNS, rows, summed_up(rows))


def held_back(cases: Sequence[Case]) -> list[Case]:
    """Return every second case of each set, and those that are alone: what no choice was made by."""
    sets: dict[str, list[Case]] = {}
    for case in cases:
        sets.setdefault(case.set_name(), []).append(case)
    return [case for of_set in sets.values() for case in (of_set[1::2] or of_set)]


def one_of_a_kind(cases: Sequence[Case]) -> list[Case]:
    """Return the first case of each set."""
    return list({case.set_name(): case for case in reversed(cases)}.values())[::-1]


def candidates(models: Sequence[str], recipe: str) -> dict[str, Aligner]:
    """Return what aligns two scans: each model alone, or the recipe without one, with each, and then without search."""
    if recipe == ALONE:
        return {model: alone(model) for model in models}
    chosen = load_recipe(recipe)
    quick = replace(chosen, large_motion=replace(chosen.large_motion, enabled=False))
    found = {NO_MODEL: registered(replace(chosen, model=replace(chosen.model, name="")))}
    for model in models:
        for told, one in (("", chosen), (", no search", quick)):
            found[model + told] = registered(replace(one, model=replace(one.model, name=model)))
    return found


def registered(recipe: Recipe) -> Aligner:
    """Return the whole pipeline of a recipe."""
    return lambda fixed, moving: register(fixed, moving, recipe, device="cpu").transform


def alone(model: str) -> Aligner:
    """Return a network asked as a recipe asks it, from no displacement, without what comes before and after it."""
    bundle, wanted = usable_bundle(model, "registration"), load_recipe("auto").model
    network = load_network(bundle, "cpu")

    def aligned(fixed: Image, moving: Image) -> Transform:
        multiple = getattr(network, "multiple", 1)
        grid = network_grid(box_around(foreground_mask(fixed)), bundle.manifest.input, multiple)
        seen = (on_grid(image, grid) for image in (fixed, moving))
        sides = [
            WorkingImage(torch.from_numpy(values), torch.from_numpy(known.astype(np.float32)), grid)
            for values, known in seen
        ]
        field = predict(
            network,
            Level(sides[0], sides[1]),
            passes=wanted.passes,
            consistent=wanted.consistent,
            on_step=lambda _fraction: None,
        )
        return to_displacement_field(field, field_grid(grid))

    return aligned


def reached(name: str, aligner: Aligner, case: Case) -> Iterator[dict[str, Any]]:
    """Register a scan with itself, deformed by each mean error."""
    scan = fine_enough(case.images()[0], case.name)
    for number, error in enumerate(ERRORS_MM):
        moved, truth, points = deformed(scan, error, seed=number)
        if len(points) == 0:
            continue  # too small a scan to be moved so far
        before = float(distances(truth, None, points).mean())
        row = {"candidate": name, "case": f"{case.name}, {error:g} mm", "mm before": before}
        begun = time.process_time()
        try:
            left = distances(truth, aligner(scan, moved), points)
            row |= {"mm left": float(left.mean()), COLUMNS[4]: float((left < HOME_MM).mean())}
        except DeepRegError as failure:
            row |= {"mm left": math.inf, COLUMNS[4]: 0.0, "error": failure.message}
        yield row | {"CPU seconds": time.process_time() - begun}


def ended(name: str, aligner: Aligner, case: Case) -> Iterator[dict[str, Any]]:
    """Register a pair whose truth is known."""
    if case.labels() is None and case.landmarks() is None:
        return
    begun = time.process_time()
    transform = aligner(*case.images())
    seconds = time.process_time() - begun
    found = truth_of(case, transform, "end")
    measures = {"Dice": found.get("Dice end"), "TRE (mm)": found.get("TRE end")}
    yield {"candidate": name, "case": case.name, **measures, "CPU seconds": seconds}


def said(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows, each printed as soon as it is there."""
    found = []
    for row in rows:
        print(f"  {row}", flush=True)
        found.append(row)
    return found


def summed_up(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return a sentence a candidate: the share of cases that end below `HOME_MM`, means of the pairs, time."""
    sentences = []
    for name in dict.fromkeys(row["candidate"] for row in rows):
        own = [row for row in rows if row["candidate"] == name]
        left = [row["mm left"] for row in own if "mm left" in row]
        means = [
            f"mean {what} {math.fsum(values) / len(values):.3f}"
            for what in ("Dice", "TRE (mm)")
            if (values := [row[what] for row in own if row.get(what) is not None])
        ]
        seconds = math.fsum(row["CPU seconds"] for row in own) / len(own)
        home = f"{sum(one < HOME_MM for one in left)} of {len(left)} deformed scans below {HOME_MM:g} mm"
        mean_left = f"{math.fsum(left) / len(left):.2f} mm left on average" if left else "none measured"
        sentences.append(f"{name}: " + ", ".join([home, mean_left, *means, f"{seconds:.1f} CPU s each"]) + ".")
    return tuple(sentences)
