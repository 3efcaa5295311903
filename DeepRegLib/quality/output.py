"""A quality sheet as JSON, as CSV, and as a page to print."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from DeepRegLib.files import write_text
from DeepRegLib.grading import Item, overall, value_text
from DeepRegLib.saving import json_text

SCHEMA_VERSION = 1
FILES = ("quality.json", "quality.csv", "quality.html")
STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#1b1b1b}table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}td.n{text-align:right}
.pass{color:#166534}.look{color:#92400e;font-weight:600}.fail{color:#991b1b;font-weight:700}.information{color:#555}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em}dt{color:#555}dd{margin:0;overflow-wrap:anywhere}
@media print{body{margin:0}thead{display:table-header-group}tr{break-inside:avoid}}
"""


def write_sheet(folder: Path, items: Sequence[Item], about: Mapping[str, Any]) -> None:
    """Write the three files into a folder.

    Parameters
    ----------
    folder
        It exists.
    items
        The lines.
    about
        Who, when, recipe, versions, hashes: plain values, shown in this order.
    """
    write_text(folder / "quality.json", json_text(sheet_table(items, about)))
    write_text(folder / "quality.csv", sheet_csv(items))
    write_text(folder / "quality.html", sheet_html(items, about))


def sheet_table(items: Sequence[Item], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sheet as plain values."""
    lines = [asdict(item) for item in items]
    return {"schema_version": SCHEMA_VERSION, "grade": overall(items), "items": lines, "about": dict(about)}


def sheet_csv(items: Sequence[Item]) -> str:
    """Return the lines as CSV text; what could not be measured is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [each.name for each in fields(Item)]
    writer.writerow(names)
    for item in items:
        values = {**asdict(item), "value": "" if math.isnan(item.value) else f"{item.value:.6g}"}
        writer.writerow([values[name] for name in names])
    return text.getvalue()


def sheet_html(items: Sequence[Item], about: Mapping[str, Any]) -> str:
    """Return a page without scripts or links, to be printed to PDF from a browser."""
    rows = "".join(
        f"<tr><td>{html.escape(item.name)}</td><td>{html.escape(item.structure)}</td>"
        f'<td class="n">{html.escape(value_text(item))}</td><td>{html.escape(item.limit)}</td>'
        f'<td class="{item.grade}">{item.grade}</td><td>{html.escape(item.note)}</td></tr>'
        for item in items
    )
    facts = "".join(f"<dt>{html.escape(key)}</dt><dd>{html.escape(_text(value))}</dd>" for key, value in about.items())
    grade = overall(items)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Quality sheet</title>'
        f"<style>{STYLE}</style></head><body><h1>Quality sheet of a registration</h1>"
        f'<p>Grade: <strong class="{grade}">{grade}</strong>. The gravest of the items below (AAPM TG-132). Research '
        f"software: not a medical device.</p><table><thead><tr><th>item</th><th>structure</th><th>value</th>"
        f"<th>limit</th><th>grade</th><th>note</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<h2>About</h2><dl>{facts}</dl></body></html>\n"
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    return str(value)
