"""Point lists into `.csv`, `.fcsv` and `.mrk.json` files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_text
from DeepRegLib.landmarks.points import suffix_of

MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/"
    "Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
)
FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


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

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "points.csv"
    ...     write_points([[1, 2, 3]], file, names=["tip"])
    ...     file.read_text().splitlines()
    ['x,y,z,label', '1.0,2.0,3.0,tip']
    """
    target = Path(path)
    suffix = suffix_of(target)
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


def _checked(points: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(points, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise InputError(f"The points have shape {rows.shape}.", "Give an array of shape (n, 3): x, y, z in LPS mm.")
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise InputError(f"Point {bad + 1} is {tuple(rows[bad])}, which is not finite.", "Remove or place it.")
    return rows


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
