"""Points in Slicer's `.mrk.json` files."""

from __future__ import annotations

import json
from typing import Any

from DeepRegLib.errors import InputError
from DeepRegLib.landmarks.points import EXPORT_AGAIN, NOT_PLACED, Entry, coordinates, frame_named, to_lps

MILLIMETRES = {"mm": 1.0, "um": 1e-3}


def markups_entries(source: str, text: str) -> list[Entry]:
    """Return the control points of the one list of a file; those that were not placed among them.

    Examples
    --------
    >>> text = '{"markups": [{"coordinateSystem": "RAS", "controlPoints": [{"label": "tip", "position": [1, 2, 3]}]}]}'
    >>> markups_entries("points.mrk.json", text)
    [Entry(position=(-1.0, -2.0, 3.0), label='tip')]
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}, line {error.lineno}: {error.msg}.", EXPORT_AGAIN) from error
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or len(markups) != 1 or not isinstance(markups[0], dict):
        count = len(markups) if isinstance(markups, list) else 0
        raise InputError(f"{source} holds {count} point lists instead of one.", "Save one point list to one file.")
    markup = markups[0]
    frame = frame_named(source, markup.get("coordinateSystem", "LPS"))
    scale = _millimetres(source, markup.get("coordinateUnits", "mm"))
    entries = markup.get("controlPoints", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{source}: controlPoints is not a list of points.", EXPORT_AGAIN)
    return [_entry(f"{source}, control point {n}", entry, frame, scale) for n, entry in enumerate(entries, 1)]


def _entry(where: str, entry: dict[str, Any], frame: str, scale: float) -> Entry:
    label = entry.get("label", "")
    text = label if isinstance(label, str) else ""
    if entry.get("positionStatus", "defined") != "defined":
        return Entry(NOT_PLACED, text)
    position = entry.get("position")
    if not isinstance(position, list) or len(position) != 3:
        raise InputError(f"{where}: it has no position of three numbers.", "Place the point or remove it.")
    return Entry(to_lps([scale * c for c in coordinates(where, position, (0, 1, 2))], frame), text)


def _millimetres(source: str, unit: Any) -> float:
    code = unit[0] if isinstance(unit, list) and unit else unit
    if not isinstance(code, str) or code not in MILLIMETRES:
        raise InputError(f"{source}: the unit of the coordinates is {repr(code)[:40]}.", "Save the points in mm.")
    return MILLIMETRES[code]
