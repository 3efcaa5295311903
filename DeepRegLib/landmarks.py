"""Point lists: `.csv`, and Slicer's `.fcsv` and `.mrk.json`; LPS mm inside, whatever the file says."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_text

SUFFIXES = (".csv", ".fcsv", ".mrk.json")
MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/"
    "Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
)
FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
FRAMES = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}
MILLIMETRES = {"mm": 1.0, "um": 1e-3}
EXPORT_AGAIN = "Export the points again as .csv, .fcsv or .mrk.json."


def read_points(path: str | Path) -> NDArray[np.float64]:
    """Read a point list.

    Parameters
    ----------
    path
        A `.csv` file (columns x, y, z in LPS mm, with a header in any order, or without one; a column of labels before
        or after them is skipped), a Slicer `.fcsv` file (RAS unless its header says LPS) or a Slicer `.mrk.json` file
        (LPS unless it says RAS; control points that were not placed are left out).

    Returns
    -------
    NDArray
        Shape ``(n, 3)``, float64, LPS mm, in the order of the file.

    Raises
    ------
    InputError
        If the file is missing, of another kind, damaged or without points, or a coordinate is not a finite number.
    """
    source = Path(path)
    suffix = _suffix(source)
    text = _text(source)
    if suffix == ".mrk.json":
        points = _markups_points(source, text)
    elif suffix == ".fcsv":
        points = _fcsv_points(source, text)
    else:
        points = _csv_points(source, text)
    if not points:
        raise InputError(f"{source} holds no points.", "Place the points and save the list again.")
    return np.array(points, dtype=np.float64)


def write_points(points: ArrayLike, path: str | Path, names: Sequence[str] | None = None) -> None:
    """Write a point list in LPS mm, through a temporary name.

    Parameters
    ----------
    points
        Shape ``(n, 3)``, LPS mm, finite.
    path
        Ends in `.csv`, `.fcsv` or `.mrk.json`.
    names
        One label a point; by default numbers in Slicer's files and no label column in a `.csv`.

    Raises
    ------
    InputError
        If the points have another shape or are not finite, there is not one name a point, or the ending is another.
    OutputError
        If the file cannot be written.
    """
    target = Path(path)
    suffix = _suffix(target)
    rows = _checked(points)
    if names is not None and len(names) != len(rows):
        raise InputError(f"There are {len(names)} names for {len(rows)} points.", "Give one name a point.")
    labels = list(names) if names is not None else [str(n + 1) for n in range(len(rows))]
    if suffix == ".mrk.json":
        text = _markups_text(rows, labels)
    elif suffix == ".fcsv":
        text = _fcsv_text(rows, labels)
    else:
        text = _csv_text(rows, None if names is None else labels)
    write_text(target, text)


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise InputError(f"{path} is not a point list by its name.", f"End it in one of {', '.join(SUFFIXES)}.")


def _text(source: Path) -> str:
    if not source.is_file():
        raise InputError(f"{source} does not exist or is a folder.", "Check the path.")
    try:
        # Spreadsheet programs put a byte order mark in front.
        return source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{source} cannot be opened: {error.strerror}.", "Check its permissions.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not a text file.", EXPORT_AGAIN) from error


def _checked(points: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(points, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise InputError(f"The points have shape {rows.shape}.", "Give an array of shape (n, 3): x, y, z in LPS mm.")
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise InputError(f"Point {bad + 1} is {tuple(rows[bad])}, which is not finite.", "Remove or place it.")
    return rows


def _csv_points(source: Path, text: str) -> list[list[float]]:
    rows = [(n, row) for n, row in _rows(source, text) if any(cell for cell in row) and not row[0].startswith("#")]
    if not rows:
        return []
    header = [cell.lower() for cell in rows[0][1]]
    if {"x", "y", "z"} <= set(header):
        columns = [header.index(axis) for axis in "xyz"]
        rows = rows[1:]
    elif any(_is_number(cell) for cell in header):
        columns = _number_columns(rows[0][1])
    else:
        raise InputError(
            f"{source}, line {rows[0][0]}: the header {', '.join(rows[0][1])!r} does not name the columns x, y and z.",
            "Name them x, y, z (LPS mm), or leave the header out.",
        )
    return [_coordinates(f"{source}, line {number}", row, columns) for number, row in rows]


def _rows(source: Path, text: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(text))
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{source}, line {reader.line_num}: {error}.", EXPORT_AGAIN) from error


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return max(",;\t", key=first.count)


def _number_columns(row: list[str]) -> list[int]:
    # Four numbers are a running number and its point.
    numeric = [n for n, cell in enumerate(row) if _is_number(cell)]
    return numeric[1:4] if len(numeric) == 4 and len(row) == 4 else numeric[:3]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _coordinates(where: str, row: Sequence[object], columns: Sequence[int]) -> list[float]:
    if len(columns) < 3 or len(row) <= max(columns):
        raise InputError(f"{where}: there are fewer than three coordinates.", "Give x, y and z in mm.")
    return [_coordinate(where, "xyz"[axis], row[column]) for axis, column in enumerate(columns)]


def _coordinate(where: str, axis: str, value: object) -> float:
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool) and _is_number(str(value)):
        number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{where}: {axis} is {value!r}, not a finite number.", "Correct the line or remove the point.")
    return number


def _fcsv_points(source: Path, text: str) -> list[list[float]]:
    frame, columns = "RAS", [1, 2, 3]
    for number, line in enumerate(text.splitlines(), 1):
        key, _, value = line.lstrip("# ").partition("=")
        if not line.startswith("#"):
            continue
        if key.strip() == "CoordinateSystem":
            frame = _frame(f"{source}, line {number}", value.strip())
        elif key.strip() == "columns":
            names = [name.strip() for name in value.split(",")]
            columns = [names.index(axis) if axis in names else n for n, axis in enumerate("xyz", 1)]
    rows = [(n, row) for n, row in _rows(source, text) if any(row) and not row[0].startswith("#")]
    points = [_coordinates(f"{source}, line {number}", row, columns) for number, row in rows]
    return [_to_lps(point, frame) for point in points]


def _frame(where: str, name: object) -> str:
    frame = FRAMES.get(str(name).upper())
    if frame is None:
        raise InputError(f"{where}: the coordinate system is {name!r}.", "Save the points in LPS or RAS.")
    return frame


def _to_lps(point: list[float], frame: str) -> list[float]:
    # Adding zero turns -0.0 into 0.0.
    return point if frame == "LPS" else [0.0 - point[0], 0.0 - point[1], point[2]]


def _markups_points(source: Path, text: str) -> list[list[float]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}, line {error.lineno}: {error.msg}.", EXPORT_AGAIN) from error
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or len(markups) != 1 or not isinstance(markups[0], dict):
        count = len(markups) if isinstance(markups, list) else 0
        raise InputError(f"{source} holds {count} point lists instead of one.", "Save one point list to one file.")
    markup = markups[0]
    frame = _frame(str(source), markup.get("coordinateSystem", "LPS"))
    scale = _millimetres(source, markup.get("coordinateUnits", "mm"))
    entries = markup.get("controlPoints", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{source}: controlPoints is not a list of points.", EXPORT_AGAIN)
    placed = [(n, entry) for n, entry in enumerate(entries, 1) if entry.get("positionStatus", "defined") == "defined"]
    points = [_position(f"{source}, control point {n}", entry) for n, entry in placed]
    return [_to_lps([scale * c for c in point], frame) for point in points]


def _millimetres(source: Path, unit: Any) -> float:
    code = unit[0] if isinstance(unit, list) and unit else unit
    if code not in MILLIMETRES:
        raise InputError(f"{source}: the unit of the coordinates is {code!r}.", "Save the points in mm.")
    return MILLIMETRES[code]


def _position(where: str, entry: dict[str, Any]) -> list[float]:
    position = entry.get("position")
    if not isinstance(position, list) or len(position) != 3:
        raise InputError(f"{where}: it has no position of three numbers.", "Place the point or remove it.")
    return _coordinates(where, position, (0, 1, 2))


def _csv_text(rows: NDArray[np.float64], labels: list[str] | None) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["x", "y", "z"] if labels is None else ["x", "y", "z", "label"])
    for number, row in enumerate(rows.tolist()):
        writer.writerow(row if labels is None else [*row, labels[number]])
    return stream.getvalue()


def _fcsv_text(rows: NDArray[np.float64], labels: list[str]) -> str:
    stream = io.StringIO()
    # The number is understood by every version of Slicer, the word only by recent ones.
    stream.write(f"# Markups fiducial file version = 4.11\n# CoordinateSystem = 1\n# columns = {FCSV_COLUMNS}\n")
    writer = csv.writer(stream, lineterminator="\n")
    for number, (row, label) in enumerate(zip(rows.tolist(), labels, strict=True), 1):
        # Slicer reads line by line, so a label cannot hold a line break.
        writer.writerow([number, *row, 0, 0, 0, 1, 1, 1, 0, " ".join(label.split()), "", ""])
    return stream.getvalue()


def _markups_text(rows: NDArray[np.float64], labels: list[str]) -> str:
    points = [
        {
            "id": str(number),
            "label": label,
            "description": "",
            "associatedNodeID": "",
            "position": row,
            "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
            "selected": True,
            "locked": False,
            "visibility": True,
            "positionStatus": "defined",
        }
        for number, (row, label) in enumerate(zip(rows.tolist(), labels, strict=True), 1)
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": points,
        "measurements": [],
    }
    return json.dumps({"@schema": MARKUPS_SCHEMA, "markups": [markup]}, indent=1, ensure_ascii=False) + "\n"
