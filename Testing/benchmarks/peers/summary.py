"""The comparison as tables: by set, by pair, regularity, cost, and what DeepReg lost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median
from typing import Any

from Testing.benchmarks.cases import Case
from Testing.benchmarks.peers import machine
from Testing.benchmarks.peers.store import Row
from Testing.benchmarks.peers.tools import DEEPREG, Tool
from Testing.benchmarks.tables import Table, nothing

TITLE = "DeepReg beside other tools"
BEFORE = "before"
DIGITS = {"Dice": 3, "TRE": 2}
BETTER = {"Dice": 1.0, "TRE": -1.0}
UNITS = {"Dice": "Dice", "TRE": "TRE mm"}
# What is to be beaten, and by how much: Dice by a hundredth, TRE by a twentieth.
CLASSICAL = ("greedy", "greedy-sv", "ants-quick", "elastix")
BUSY = 0.1  # share of the machine
# The key of a row that another version or machine than today's has measured, and how that is shown.
EARLIER, MARK = "earlier", "†"
# Columns of DeepReg's field beside the scores.
ROUGH, SWAPPED = "sd log J", "swapped, mm"
# The key of what `moved` found of a tool's other ways.
BOTH_WAYS = "both ways"
WAYS = {
    SWAPPED: ("swap mean", "swap p99"),
    "onto itself, mm": ("itself mean", "itself p99"),
    "folds of the inverse": ("inverse folds",),
}
LONG_AGO = "measured earlier, with the version that is named last where there are two, or on the machine named last."


@dataclass(frozen=True)
class SetMeans:
    """The mean scores of one set of cases.

    Parameters
    ----------
    name, measure
        Which set, which score.
    pairs
        How many cases of the set have that score.
    means
        Mean score by tool, and of the images as they came; a tool that was not run on all of the pairs is left out.
    failures
        How many runs of each tool failed; they count with the images as they came.
    """

    name: str
    measure: str
    pairs: int
    means: Mapping[str, float]
    failures: Mapping[str, int]


@dataclass(frozen=True)
class Comparison:
    """What was measured, with its tables.

    Parameters
    ----------
    cases, tools
        In the order in which they are shown.
    rows
        One for each case and tool, and one for each case as it came.
    kept
        All rows of the file, for `as_dict`.
    threads
        How many each tool might use.
    """

    cases: Sequence[Case]
    tools: Sequence[Tool]
    rows: Sequence[Row]
    kept: Sequence[Row]
    threads: int
    passed: None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the rows; the store reads them again."""
        return {"rows": list(self.kept)}

    def markdown(self) -> str:
        """Return everything as Markdown."""
        if not self.cases:
            return nothing(TITLE, "There is no case in the folder.").markdown()
        tables = (
            self.by_set(),
            self.by_pair(),
            self.lost(),
            self.regularity(),
            self.both_ways(),
            self.cost(),
            self.failed(),
        )
        return "\n\n".join([self.heading(), *(table.markdown() for table in tables)])

    def heading(self) -> str:
        """Return what was run, where, and how to read it."""
        tools = [f"- **{tool.name}** {self._version(tool)}: {tool.about}" for tool in self.tools]
        lines = [
            f"# {TITLE}",
            "",
            f"{self._machines()}; {self._threads()}.{self._graphics()} Each run is a process of its "
            "own, the tools take turns on each pair, and one scorer has SimpleITK apply the transform file each wrote: "
            "labels by nearest neighbour, mean Dice over the labels of both maps, mean distance of landmarks (TRE).",
            "",
            *tools,
            *(["", f"{MARK}: {LONG_AGO}"] if self._has_earlier() else []),
        ]
        return "\n".join(lines)

    def by_set(self) -> Table:
        """Return the means of each set."""
        rows = [self._set_row(found) for found in self.sets()]
        summary = (
            "A tool that failed counts with the images as they came. Target: DeepReg above the best of "
            f"{', '.join(CLASSICAL)} by 0.01 Dice, or below it by 5 % TRE.",
        )
        columns = ("set", "pairs", "measure", BEFORE, *self._names, "target")
        return Table("By set", columns, rows, summary)

    def sets(self) -> list[SetMeans]:
        """Return the mean scores of each set."""
        found = []
        for name in dict.fromkeys(case.set_name() for case in self.cases):
            cases = [case.name for case in self.cases if case.set_name() == name]
            for measure in DIGITS:
                known = [case for case in cases if self._score(case, BEFORE, measure) is not None]
                found += [self._set_means(name, known, measure)] if known else []
        return found

    def by_pair(self) -> Table:
        """Return the scores of each pair."""
        rows = []
        for case in self.cases:
            for measure in DIGITS:
                values = {name: self._score(case.name, name, measure) for name in (BEFORE, *self._names)}
                if values[BEFORE] is not None:
                    cells = self._dated([case.name], marked(values, measure))
                    rows.append(
                        {"pair": case.name, "measure": UNITS[measure], **cells, **self._of_the_field(case.name)}
                    )
        summary = (
            f"{ROUGH} and {SWAPPED}: of {DEEPREG} alone; those of the others, and what is meant, stand below. All of "
            "these pairs have been seen while the method was made; they are no test of it on scans of another kind.",
        )
        return Table("By pair", ("pair", "measure", BEFORE, *self._names, ROUGH, SWAPPED), rows, summary)

    def _of_the_field(self, case: str) -> dict[str, str | None]:
        """Return how rough DeepReg's field of a case is, and what swapping the images changes."""
        rough = self._score(case, DEEPREG, "sd log J")
        swapped = self._row(case, DEEPREG).get(BOTH_WAYS, {}).get("swap mean")
        texts = {ROUGH: rough and f"{rough:.3f}", SWAPPED: swapped and f"{swapped:.2f}"}
        old = self._row(case, DEEPREG).get(EARLIER, False)
        return {name: f"{text}{MARK}" if text and old else text for name, text in texts.items()}

    def lost(self) -> Table:
        """Return where another tool, or leaving the images alone, was better than DeepReg; the largest loss first."""
        losses = []
        for case in self.cases:
            for measure in DIGITS:
                own = self._score(case.name, DEEPREG, measure)
                others = {name: self._score(case.name, name, measure) for name in (BEFORE, *self._others)}
                if own is not None:
                    losses += [(case.name, measure, name, own, value) for name, value in others.items() if value]
        losses = [loss for loss in losses if gain(loss[3], loss[4], loss[1]) < 0]
        losses.sort(key=lambda loss: (loss[1], gain(loss[3], loss[4], loss[1])))
        rows = [
            {
                "pair": name,
                "measure": UNITS[measure],
                "better tool": tool,
                "its score": written(value, measure),
                DEEPREG: written(own, measure),
                "by": written(abs(own - value), measure),
            }
            for name, measure, tool, own, value in losses
        ]
        summary = () if rows else ("Nothing.",)
        columns = ("pair", "measure", "better tool", "its score", DEEPREG, "by")
        return Table("Where another tool was better", columns, rows, summary)

    def regularity(self) -> Table:
        """Return folded voxels and the spread of log J."""
        rows = []
        for case in self.cases:
            folds = {name: share(self._row(case.name, name)) for name in self._names}
            spread = {name: self._score(case.name, name, "sd log J") for name in self._names}
            shown = {name: None if value is None else f"{value:.3f}" for name, value in spread.items()}
            for measure, cells in (("folds %", folds), ("sd log J", shown)):
                rows.append({"pair": case.name, "measure": measure, **self._dated([case.name], cells)})
        summary = ("Digital folds and log J on the fixed grid, inside the fixed foreground.",)
        return Table("Regularity", ("pair", "measure", *self._names), rows, summary)

    def both_ways(self) -> Table:
        """Return what swapping the images changes, and how far a scan registered to itself moves."""
        rows = []
        for case in self.cases:
            known = {name: self._row(case.name, name).get(BOTH_WAYS, {}) for name in self._names}
            for measure, keys in WAYS.items():
                texts = {name: _shown_way(found, keys) for name, found in known.items() if keys[0] in found}
                if texts:
                    rows.append({"pair": case.name, "measure": measure, **self._dated([case.name], texts)})
        summary = (
            "Swapped: the images are registered there and, swapped, back; how far points of the fixed anatomy end from "
            "where they began. Onto itself: the fixed image registered to itself. Mean and 99th percentile. Folds of "
            "the inverse: of the delivered one, in the moving anatomy. Pairs that are not named were not swapped.",
        )
        return Table("Swapped, and onto itself", ("pair", "measure", *self._names), rows, summary)

    def cost(self) -> Table:
        """Return seconds and memory, and how many times DeepReg's seconds each tool took."""
        rows = []
        for case in self.cases:
            runs = {name: self._row(case.name, name).get("runs", []) for name in self._names}
            seconds = {name: median(run["seconds"]["register"] for run in of) for name, of in runs.items() if of}
            own = seconds.get(DEEPREG)
            here = self._place_of(case.name, DEEPREG)
            busy = {name for name, of in runs.items() if any((run["others"] or 0) > BUSY for run in of)}
            peaks = {name: [run["peak GB"] for run in of if "peak GB" in run] for name, of in runs.items()}
            memory = {name: f"{max(of):.2f}" for name, of in peaks.items() if of}
            texts = {name: f"{value:.1f}{'~' if name in busy else ''}" for name, value in seconds.items()}
            whole = {name: f"{median(run['whole'] for run in of):.1f}" for name, of in runs.items() if of}
            worked = {name: processor_seconds(of) for name, of in runs.items()}
            rows.append({"pair": case.name, "measure": "seconds", **self._dated([case.name], texts)})
            if any(worked.values()):
                rows.append({"pair": case.name, "measure": "CPU seconds", **self._dated([case.name], worked)})
            rows.append({"pair": case.name, "measure": "whole process", **self._dated([case.name], whole)})
            if own:
                others = [name for name in seconds if name != DEEPREG and self._place_of(case.name, name) == here]
                ratios = {name: f"{seconds[name] / own:.2g} x" for name in others}
                rows.append({"pair": case.name, "measure": "of DeepReg's", **ratios})
            rows.append({"pair": case.name, "measure": "peak GB", **self._dated([case.name], memory)})
        summary = (
            "Seconds of the registration proper, without start-up, reading and writing (greedy and ANTs write their "
            "transforms meanwhile), and of the whole process; medians of the runs. Memory of the whole process; - if "
            "measured in an earlier way, which counted the benchmark's own. CPU seconds: of the registration proper, "
            "all threads together, where they were measured. "
            "~: the machine had other things to do, so the seconds are no measurement.",
        )
        return Table("Seconds and memory", ("pair", "measure", *self._names), rows, summary)

    def failed(self) -> Table:
        """Return the runs that gave no transform."""
        rows = [
            {"pair": row["case"], "tool": row["tool"], "what happened": row["error"]}
            for row in self.rows
            if "error" in row
        ]
        summary = () if rows else ("Nothing.",)
        return Table("What failed", ("pair", "tool", "what happened"), rows, summary)

    @cached_property
    def _names(self) -> list[str]:
        return [tool.name for tool in self.tools]

    @cached_property
    def _others(self) -> list[str]:
        return [name for name in self._names if not name.startswith(DEEPREG)]

    @cached_property
    def _rows_by_place(self) -> dict[tuple[str, str], Row]:
        return {(row["case"], row["tool"]): row for row in self.rows}

    def _row(self, case: str, tool: str) -> Row:
        return self._rows_by_place.get((case, tool), {})

    def _score(self, case: str, tool: str, measure: str) -> float | None:
        row = self._row(case, tool)
        return None if "error" in row else row.get(measure)

    def _set_means(self, name: str, cases: list[str], measure: str) -> SetMeans:
        means, failures = {}, {}
        for tool in (BEFORE, *self._names):
            rows = [self._row(case, tool) for case in cases]
            failures[tool] = sum("error" in row for row in rows)
            if all(rows):
                scores = [
                    self._row(case, BEFORE if "error" in row else tool)[measure]
                    for case, row in zip(cases, rows, strict=True)
                ]
                means[tool] = fmean(scores)
        return SetMeans(name, measure, len(cases), means, failures)

    def _set_row(self, found: SetMeans) -> Row:
        means = {tool: mean for tool, mean in found.means.items() if found.failures[tool] < found.pairs}
        cells = {
            tool: f"{text} ({found.failures[tool]} failed)" if found.failures[tool] else text
            for tool, text in marked(means, found.measure).items()
        }
        names = [case.name for case in self.cases if case.set_name() == found.name]
        dated = self._dated(names, cells)
        row = {"set": found.name, "pairs": found.pairs, "measure": UNITS[found.measure], **dated}
        return row | {"target": target(means, found.measure)}

    def _version(self, tool: Tool) -> str:
        rows = [row for row in self.rows if row["tool"] == tool.name]
        found = sorted({(row.get(EARLIER, False), row["version"]) for row in rows})
        return ", ".join(version for _, version in found)

    def _machines(self) -> str:
        """Return the machines that the rows come from, today's first."""
        rows = [row for row in self.rows if row["tool"] != BEFORE]
        found = sorted({(row.get(EARLIER, False), row["options"]["machine"]) for row in rows})
        return ", and before ".join(dict.fromkeys(name for _, name in found)) or machine.description()

    def _threads(self) -> str:
        """Return how many threads the runs had, by tool where that differs."""
        known = {name: self._threads_of(name) for name in self._names}
        numbers = set().union(*known.values()) or {self.threads}
        if len(numbers) == 1:
            return f"threads a tool: {numbers.pop()}"
        told = (f"{name} {' or '.join(map(str, sorted(of)))}" for name, of in known.items() if of)
        return f"threads: {', '.join(told)}"

    def _threads_of(self, tool: str) -> set[int]:
        rows = (row for row in self.rows if row["tool"] == tool)
        return {row["options"]["threads"] for row in rows if "threads" in row["options"]}

    def _place_of(self, case: str, tool: str) -> tuple[str | None, int | None]:
        """Return the machine and the number of threads of a row: seconds of others are no match for it."""
        options = self._row(case, tool).get("options", {})
        return options.get("machine"), options.get("threads")

    def _has_earlier(self) -> bool:
        return any(row.get(EARLIER, False) for row in self.rows)

    def _dated(self, cases: Sequence[str], cells: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return the cells of some cases by tool, marked where an earlier version has measured one of them."""
        old = {tool for tool in cells if any(self._row(case, tool).get(EARLIER, False) for case in cases)}
        return {tool: f"{text}{MARK}" if text and tool in old else text for tool, text in cells.items()}

    def _graphics(self) -> str:
        devices = sorted({row["device"] for row in self.rows if "device" in row})
        users = sorted({row["tool"] for row in self.rows if "device" in row})
        return f" {', '.join(users)} used {', '.join(devices)}." if devices else ""


def _shown_way(found: Mapping[str, float], keys: Sequence[str]) -> str:
    """Return the numbers of one row of `Comparison.both_ways` as text."""
    return " / ".join(f"{found[key]:.2f}" if isinstance(found[key], float) else str(found[key]) for key in keys)


def gain(own: float, other: float, measure: str) -> float:
    """Return how much better a score is than another; below 0 it is worse."""
    return BETTER[measure] * (own - other)


def target(means: dict[str, float], measure: str) -> str | None:
    """Return whether DeepReg's mean is as much better than the best classical tool's as it is meant to be."""
    classical = [means[name] for name in CLASSICAL if name in means]
    if DEEPREG not in means or not classical:
        return None
    best = max(classical, key=lambda value: BETTER[measure] * value)
    needed = 0.01 if measure == "Dice" else 0.05 * best
    found = gain(means[DEEPREG], best, measure)
    word = "reached" if found >= needed else "missed" if found >= 0 else "BELOW"
    return f"{word} ({found:+.{DIGITS[measure]}f})"


def marked(values: dict[str, Any], measure: str) -> dict[str, str | None]:
    """Return scores as text, the best of the tools' in bold."""
    known = {name: value for name, value in values.items() if value is not None and not math.isnan(value)}
    tools = [value for name, value in known.items() if name != BEFORE]
    best = max(tools, key=lambda value: BETTER[measure] * value) if tools else None
    return {
        name: f"**{written(value, measure)}**" if value == best and name != BEFORE else written(value, measure)
        for name, value in known.items()
    }


def written(value: float, measure: str) -> str:
    """Return a score as text."""
    return f"{value:.{DIGITS[measure]}f}"


def processor_seconds(runs: Sequence[Row]) -> str | None:
    """Return the median processor time of the registration proper as text; None if it was not measured."""
    known = [run["processor"]["register"] for run in runs if "processor" in run]
    return f"{median(known):.1f}" if known else None


def share(row: Row) -> str | None:
    """Return the folded share of the foreground in per cent."""
    if "folds" not in row or "error" in row:
        return None
    part = 100 * row["folds"] / max(row["voxels"], 1)
    return "0" if row["folds"] == 0 else f"{part:.2f}" if part >= 0.01 else "<0.01"
