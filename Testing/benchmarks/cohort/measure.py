"""The part `cohort` of the benchmarks: costs, faults, the report in a browser, and real pairs."""

from __future__ import annotations

from Testing.benchmarks.cases import find_cases
from Testing.benchmarks.cohort import costs, faults, page, pairs
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing

TITLE = "Cohorts: what a case costs besides its registration, and what becomes of it when something dies"
COLUMNS = ("what", "value", "unit", "limit", "came of it", "right")


def measure(options: Options) -> Table:
    """Measure what `--only` names of costs, faults, page and pairs, or all."""
    if not find_cases(options.data):
        return nothing(TITLE, "There is no case.")
    found = []
    if options.only in ("", "costs"):
        found += list(costs.rows())
    if options.only in ("", "faults"):
        found += list(faults.rows())
    if options.only in ("", "page"):
        options.output.mkdir(parents=True, exist_ok=True)
        found += list(page.rows(options.output / "cohort.png"))
    if options.only in ("", "pairs"):
        found += list(pairs.rows(options.data))
    kept = [row["limit"] is None or row["value"] <= row["limit"] for row in found if "limit" in row]
    right = [bool(row["right"]) for row in found if row.get("right") is not None]
    return Table(TITLE, COLUMNS, found, (), all(kept) and all(right))
