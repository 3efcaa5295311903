"""How a registration shows itself in a notebook: verdict, slices before and after, measures."""

from __future__ import annotations

import base64
from html import escape

from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.report import MeasureRow, measure_rows
from DeepRegLib.report.pages import BANNERS
from DeepRegLib.report.planes import planes_of
from DeepRegLib.result import CHECK, Registration

COLOURS = {"ok": "#1a7f37", "check": "#9a6700", "failed": "#c1121f"}
CAPTION = "Fixed in red, moving in cyan, before and after; what agrees is grey. The patient's right is on the left."


def notebook_html(registration: Registration) -> str:
    """Return a piece of HTML that needs nothing else; without Pillow it has no picture.

    It names no folders, and what files and sentences hold is shown as text, never as markup.
    """
    kind, sign, level, advice = BANNERS.get(registration.verdict.level, BANNERS[CHECK])
    names = [image.name for image in (registration.fixed, registration.moving)]
    fixed, moving = (escape(base_name(name)) for name in names)
    sentences = without_folders((*registration.verdict.reasons, *registration.warnings), names)
    parts = [
        f'<p><b style="color:{COLOURS[kind]}">{sign} {level}</b> {escape(advice)}<br>{moving} onto {fixed}</p>',
        f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>" if sentences else "",
        _picture(registration),
        "<table><tr><th></th><th>before</th><th>after</th></tr>",
        *map(_row, measure_rows(registration.measures)),
        "</table>",
    ]
    return f"<div>{''.join(parts)}</div>"


def _picture(registration: Registration) -> str:
    try:
        from DeepRegLib.report.figures import overlay_figure
    except ModuleNotFoundError:
        return ""
    data = base64.b64encode(overlay_figure(planes_of(registration))).decode("ascii")
    return f'<img alt="{CAPTION}" title="{CAPTION}" style="max-width:720px" src="data:image/jpeg;base64,{data}">'


def _row(row: MeasureRow) -> str:
    cells = (row.name, row.before, row.after)
    return f'<tr title="{escape(row.meaning)}">{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
