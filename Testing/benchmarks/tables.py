"""Tables of results as Markdown, and as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of one benchmark with a summary.

    Parameters
    ----------
    title
        What was measured.
    columns
        Keys of the rows, in the order they are shown.
    rows
        One mapping a row; what a row lacks is shown as a dash.
    summary
        Sentences below the table.
    passed
        Whether the limits were kept; None where there are none, or nothing could be measured.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    summary: Sequence[str] = field(default_factory=tuple)
    passed: bool | None = None

    def markdown(self) -> str:
        """Return the table as aligned Markdown."""
        cells = [list(self.columns), *([shown(row.get(c)) for c in self.columns] for row in self.rows)]
        widths = [max(len(line[n]) for line in cells) for n in range(len(self.columns))]
        lines = [
            "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        verdict = {True: "Passed.", False: "FAILED.", None: ""}[self.passed]
        body = lines if self.rows else []
        return "\n".join([f"## {self.title}", "", *body, "", *self.summary, verdict]).strip()

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "title": self.title,
            "passed": self.passed,
            "summary": list(self.summary),
            "rows": [dict(row) for row in self.rows],
        }


def nothing(title: str, reason: str) -> Table:
    """Return an empty table that says why."""
    return Table(title, (), (), (reason,))


def shown(value: object) -> str:
    """Return a cell's text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
