"""auto beside the other shipped recipes, set by set: who chooses a recipe should gain little over who does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from DeepRegLib.recipes import AUTO, recipe_names
from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers.measure import measured
from Testing.benchmarks.peers.summary import BEFORE, BETTER, DIGITS, UNITS, Comparison, gain, marked
from Testing.benchmarks.peers.tools import DEEPREG, Tool, deepreg
from Testing.benchmarks.tables import Table, nothing

TITLE = "auto beside the other recipes"
NEAR = {"Dice": 0.01, "TRE": 0.1}
WITHIN, BEHIND = "within", "BEHIND"


def measure(options: Options) -> Table:
    """Run auto and every other recipe on the cases with a known truth; the results are kept with those of `peers`."""
    once = replace(options, repeats=min(options.repeats, 1))  # DeepReg's score is the same each time
    return recipe_table(measured(once, recipe_tools(), cases_with_truth(options)))


def known(options: Options) -> Table:
    """Return the table of what has been measured so far."""
    return measure(replace(options, repeats=0, peers=replace(options.peers, fresh=False)))


def recipe_tools() -> tuple[Tool, ...]:
    """Return DeepReg with auto, and with each other shipped recipe."""
    others = [name for name in recipe_names() if name != AUTO]
    return (deepreg(AUTO), *(deepreg(name, f"{DEEPREG}:{name}") for name in others))


def cases_with_truth(options: Options) -> list[Case]:
    """Return the cases of which labels or landmarks are known."""
    kinds = ("labels.nii.gz", "landmarks.csv")
    cases = find_cases(options.data, options.only)
    return [case for case in cases if any((case.folder / f"moving_{kind}").is_file() for kind in kinds)]


def recipe_table(comparison: Comparison) -> Table:
    """Return the means of each set, and how far auto is behind the best recipe there."""
    if not comparison.cases:
        return nothing(TITLE, "There is no case with labels or landmarks in the folder.")
    names = {BEFORE: BEFORE, **{tool.name: tool.name.partition(":")[2] or AUTO for tool in comparison.tools}}
    rows, verdicts = [], []
    sets = comparison.sets()
    for found in sets:
        scores = {names[tool]: mean for tool, mean in found.means.items()}
        verdicts.append(verdict(scores, found.measure))
        cells = marked(scores, found.measure)
        rows.append({"set": found.name, "pairs": found.pairs, "measure": UNITS[found.measure], **cells})
        rows[-1]["auto is"] = verdicts[-1]
    complete = all(found.means.keys() == names.keys() for found in sets)
    ran = (
        "Every recipe ran on every set, also where nobody would choose it."
        if complete
        else "Those with a dash have not run on the whole set yet."
    )
    summary = (
        f"Means of the pairs; a run that failed counts with the images as they came. {ran} auto is meant to be within "
        f"{NEAR['Dice']:g} Dice and {NEAR['TRE']:g} mm of the best of them.",
    )
    columns = ("set", "pairs", "measure", *names.values(), "auto is")
    return Table(TITLE, columns, rows, summary, passed(verdicts, complete=complete))


def verdict(scores: dict[str, float], measure: str) -> str | None:
    """Return whether auto is as good as the best recipe, by how much it is better or worse, and which that is."""
    others = {name: value for name, value in scores.items() if name not in (BEFORE, AUTO)}
    if AUTO not in scores or not others:
        return None
    best = max(others, key=lambda name: BETTER[measure] * others[name])
    found = gain(scores[AUTO], others[best], measure)
    word = WITHIN if found >= -NEAR[measure] - 1e-9 else BEHIND
    return f"{word} ({found:+.{DIGITS[measure]}f}, {best})"


def passed(verdicts: Sequence[str | None], *, complete: bool) -> bool | None:
    """Return whether auto is within reach of the best everywhere; None as long as that is not known."""
    if any(text is not None and text.startswith(BEHIND) for text in verdicts):
        return False
    return True if complete and verdicts and all(verdicts) else None
