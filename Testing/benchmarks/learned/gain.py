"""What a model gains on the pairs with a known truth, and whether half the iterations do with it."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from DeepRegLib.files import make_folder, write_text
from DeepRegLib.recipes import recipe_to_toml
from Testing.benchmarks.learned.variants import HALF_WITH, HALF_WITHOUT, WITH, WITHOUT, variants
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers.measure import measured
from Testing.benchmarks.peers.recipes import cases_with_truth
from Testing.benchmarks.peers.store import Row
from Testing.benchmarks.peers.summary import BEFORE, DIGITS, UNITS, Comparison, gain
from Testing.benchmarks.peers.tools import DEEPREG, Tool, deepreg
from Testing.benchmarks.tables import Table, nothing

TITLE = "What the model gains"
# No set may lose more.
MOST_LOST = {"Dice": 0.005, "TRE": 0.1}
COMPARED = (WITHOUT, WITH, HALF_WITHOUT, HALF_WITH)


def measure(options: Options) -> Table:
    """Run the recipe without and with the model, with all and half of the iterations, on the cases with a truth."""
    once = replace(options, repeats=min(options.repeats, 1))  # the score is the same each time
    return gain_table(measured(once, tools(options), cases_with_truth(options)))


def tools(options: Options) -> tuple[Tool, ...]:
    """Return DeepReg with each variant, written as a recipe of its own."""
    folder = make_folder(options.output / "recipes")
    found = []
    for name, recipe in variants(options.recipe, options.model).items():
        path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.toml"
        write_text(path, recipe_to_toml(recipe))
        found.append(deepreg(str(path), f"{DEEPREG}:{name}"))
    return tuple(found)


def gain_table(comparison: Comparison) -> Table:
    """Return the means of each set without and with the model."""
    if not comparison.cases:
        return nothing(TITLE, "There is no case with labels or landmarks in the folder.")
    names = {BEFORE: BEFORE, **{tool.name: tool.name.partition(":")[2] for tool in comparison.tools}}
    rows, kept = [], []
    for found in comparison.sets():
        scores = {names[tool]: mean for tool, mean in found.means.items()}
        row = {"set": found.name, "pairs": found.pairs, "measure": UNITS[found.measure], **scores}
        if WITHOUT in scores and WITH in scores:
            gained = gain(scores[WITH], scores[WITHOUT], found.measure)
            kept.append(gained >= -MOST_LOST[found.measure] - 1e-9)
            row["gain"] = f"{gained:+.{DIGITS[found.measure]}f}"
        rows.append(row)
    seconds = {name: median_seconds(comparison.rows, tool) for tool, name in names.items() if tool != BEFORE}
    summary = (
        "Seconds of a registration, median: "
        + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        + ".",
        f"No set may lose more than {MOST_LOST['Dice']:g} Dice or {MOST_LOST['TRE']:g} mm by the model.",
    )
    columns = ("set", "pairs", "measure", BEFORE, *COMPARED, "gain")
    return Table(TITLE, columns, rows, summary, all(kept) if kept else None)


def median_seconds(rows: list[Row], tool: str) -> float:
    """Return the middle one of what the registrations of a tool took."""
    seconds = [run["seconds"]["register"] for row in rows if row["tool"] == tool for run in row.get("runs", [])]
    return median(seconds) if seconds else float("nan")
