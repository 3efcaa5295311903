"""Points in tables: `.csv` of any program, and Slicer's `.fcsv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from DeepRegLib.errors import InputError
from DeepRegLib.landmarks.points import EXPORT_AGAIN, NOT_PLACED, Entry, coordinates, frame_named, is_number, to_lps

Row = tuple[int, list[str]]
# The coordinates' names and the frame they are in; plain x, y, z are LPS here.
HEADERS = (("xyz", "LPS"), ("lps", "LPS"), ("ras", "RAS"))
LABEL_NAMES = ("label", "name", "landmark", "point", "id")
NO = ("0", "false", "no")
STATUS_COLUMN = 14  # behind the named columns of Slicer 5's .fcsv
PLACED = "2"
NAME_COLUMNS = "Name the columns x, y, z (LPS mm), l, p, s or r, a, s in a first line."


def csv_entries(source: str, text: str) -> list[Entry]:
    r"""Return the points of a `.csv` file: with a header in any order, or without one where that is clear.

    Examples
    --------
    >>> csv_entries("points.csv", "r,a,s\n1,2,3\n")[0].position  # LPS
    (-1.0, -2.0, 3.0)
    """
    rows = [(n, row) for n, row in _rows(source, text) if any(cell for cell in row) and not row[0].startswith("#")]
    if not rows:
        return []
    header = [cell.lower() for cell in rows[0][1]]
    for letters, frame in HEADERS:
        if set(letters) <= set(header):
            return _with_header(source, header, rows[1:], letters, frame)
    if not any(is_number(cell) for cell in header):
        raise InputError(
            f"{source}, line {rows[0][0]}: the header {', '.join(rows[0][1])[:80]!r} does not name the "
            "columns x, y and z.",
            "Name them x, y, z (LPS mm), l, p, s or r, a, s, or leave the header out.",
        )
    columns, label = _guessed_columns(source, rows)
    return [
        Entry(coordinates(f"{source}, line {n}", row, columns), "" if label is None else _cell(row, label))
        for n, row in rows
    ]


def fcsv_entries(source: str, text: str) -> list[Entry]:
    r"""Return the points of a `.fcsv` file; a point whose status says that it was skipped is not placed.

    Examples
    --------
    >>> fcsv_entries("points.fcsv", "# CoordinateSystem = 0\n1,1,2,3,0,0,0,1,1,1,0,tip\n")[0].position  # LPS
    (-1.0, -2.0, 3.0)
    """
    named, columns, label, status = "", [1, 2, 3], None, STATUS_COLUMN
    for number, line in enumerate(text.splitlines(), 1):
        key, _, value = line.lstrip("# ").partition("=")
        if not line.startswith("#"):
            continue
        if key.strip() == "CoordinateSystem":
            frame = frame_named(f"{source}, line {number}", value.strip())
            if named not in ("", frame):
                raise InputError(f"{source} says both {named} and {frame} of its frame.", EXPORT_AGAIN)
            named = frame
        elif key.strip() == "columns":
            names = [name.strip() for name in value.split(",")]
            columns = [names.index(axis) if axis in names else n for n, axis in enumerate("xyz", 1)]
            label = names.index("label") if "label" in names else None
            status = names.index("positionStatus") if "positionStatus" in names else max(len(names), STATUS_COLUMN)
    entries = []
    for number, row in _rows(source, text):
        if not any(row) or row[0].startswith("#"):
            continue
        text_label = "" if label is None else _cell(row, label)
        if _cell(row, status) in ("0", "1", "3"):
            entries.append(Entry(NOT_PLACED, text_label))
            continue
        entries.append(Entry(to_lps(coordinates(f"{source}, line {number}", row, columns), named or "RAS"), text_label))
    return entries


def _with_header(source: str, header: list[str], rows: Sequence[Row], letters: str, frame: str) -> list[Entry]:
    twice = next((letter for letter in letters if header.count(letter) > 1), None)
    if twice is not None:
        raise InputError(f"{source}: two of its columns are called {twice}.", NAME_COLUMNS)
    columns = [header.index(letter) for letter in letters]
    label = next((header.index(name) for name in LABEL_NAMES if name in header), None)
    defined = header.index("defined") if "defined" in header else None
    entries = []
    for number, row in rows:
        text = "" if label is None else _cell(row, label)
        if defined is not None and _cell(row, defined).lower() in NO:
            entries.append(Entry(NOT_PLACED, text))
            continue
        entries.append(Entry(to_lps(coordinates(f"{source}, line {number}", row, columns), frame), text))
    return entries


def _guessed_columns(source: str, rows: Sequence[Row]) -> tuple[list[int], int | None]:
    """Return which columns of a table without header are x, y and z, and which is the label."""
    width = min(len(row) for _, row in rows)
    numeric = [column for column in range(width) if all(is_number(row[column]) for _, row in rows)]
    first = [column for column in range(len(rows[0][1])) if is_number(rows[0][1][column])]
    texts = [column for column in range(width) if not is_number(rows[0][1][column])]
    label = texts[0] if texts else None
    if len(first) <= 3:  # what is no number in a later line is told there
        _require_no_more(source, rows, first)
        return first[:3], label
    if len(numeric) < 3:
        numeric = first
    if _counts(rows, numeric[0]):
        return numeric[1:4], numeric[0] if label is None else label
    if len(numeric) == 4 and len({float(row[numeric[3]]) for _, row in rows}) == 1:
        return numeric[:3], label  # ANTs' fourth column, the time
    raise InputError(
        f"{source}: which of its {len(numeric)} columns of numbers are x, y and z is not clear.", NAME_COLUMNS
    )


def _require_no_more(source: str, rows: Sequence[Row], columns: Sequence[int]) -> None:
    """Make sure that no later line has more numbers than the first: which of them are meant is not clear then."""
    for number, row in rows:
        count = sum(is_number(cell) for cell in row)
        if count > len(columns):
            raise InputError(
                f"{source}, line {number}: it has {count} numbers, the first {len(columns)}.", NAME_COLUMNS
            )


def _counts(rows: Sequence[Row], column: int) -> bool:
    values = [float(row[column]) for _, row in rows]
    return values[0] in (0, 1) and all(value == values[0] + n for n, value in enumerate(values))


def _cell(row: Sequence[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def _rows(source: str, text: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(text))
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"{source}, line {reader.line_num}: {error}.", EXPORT_AGAIN) from error


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return max(",;\t", key=first.count)
