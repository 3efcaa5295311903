"""What adapting a model to scans without labels gains: pairs of others of the same kind, before and after."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from DeepRegLib.image import write_image
from DeepRegLib.recipes import load_recipe
from DeepRegLib.training import export, train
from DeepRegLib.training.adaptation import adaptation
from DeepRegLib.transforms import LinearTransform, Transform
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.learned.candidates import alone, registered
from Testing.benchmarks.options import Options
from Testing.benchmarks.pairs import truth_of
from Testing.benchmarks.segmentation import SET
from Testing.benchmarks.tables import Table, nothing

TITLE = "A model adapted to scans without labels"
COLUMNS = ("pair", "Dice before", "model alone", "adapted alone", "registered with the model", "with the adapted one")


def measure(options: Options) -> Table:
    """Adapt the model to the scans of a set but its first pair in `--count` steps, and register that pair."""
    cases = find_cases(options.data, options.only or SET)
    if len(cases) < 2:
        return nothing(TITLE, f"There is no case of {options.only or SET} with a second one in {options.data}.")
    with tempfile.TemporaryDirectory() as folder:
        adapted, seconds = _adapted(options, cases[1:], Path(folder))
        models = {"model alone": options.model, "adapted alone": adapted}
        row: dict[str, Any] = {"pair": cases[0].name}
        fixed, moving = cases[0].images()
        chosen = load_recipe(options.recipe)
        for name, model in models.items():
            field = alone(model)(fixed, moving)
            row |= {"Dice before": _dice(cases[0], LinearTransform.identity()), name: _dice(cases[0], field)}
        for name, model in zip(COLUMNS[4:], models.values(), strict=True):
            with_it = replace(chosen, model=replace(chosen.model, name=model, if_needed=False))
            row[name] = _dice(cases[0], registered(with_it)(fixed, moving))
    summary = [f"{options.count} steps on {2 * len(cases) - 2} scans, {seconds:.0f} CPU s."]
    return Table(f"{TITLE} ({options.model})", COLUMNS, [row], summary)


def _adapted(options: Options, cases: list[Case], place: Path) -> tuple[str, float]:
    """Return the folder of the adapted model and the seconds that took."""
    (place / "scans").mkdir()
    for case in cases:
        for side, image in zip(("fixed", "moving"), case.images(), strict=True):
            write_image(image, place / "scans" / f"{case.name}-{side}.nii.gz")
    config = adaptation(options.model, place / "scans")
    config = replace(config, optimisation=replace(config.optimisation, iterations=options.count))
    begun = time.process_time()
    train(config, place / "run", device="cpu")
    return str(export(place / "run", place / "adapted").folder), time.process_time() - begun


def _dice(case: Case, transform: Transform) -> float:
    return truth_of(case, transform, "end")["Dice end"]
