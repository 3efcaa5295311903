"""Point lists out of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.guarding import guarded
from DeepRegLib.landmarks.markups_json import markups_entries
from DeepRegLib.landmarks.points import EXPORT_AGAIN, PointList, suffix_of
from DeepRegLib.landmarks.tables import csv_entries, fcsv_entries
from DeepRegLib.naming import shown

LARGEST_FILE = 256 << 20
READERS = {".csv": csv_entries, ".fcsv": fcsv_entries, ".mrk.json": markups_entries}


def read_points(path: str | Path) -> NDArray[np.float64]:
    r"""Read the placed points of a list.

    Parameters
    ----------
    path
        A `.csv` file (columns x, y, z or l, p, s in LPS mm or r, a, s in RAS, with a header in any order; without one
        where it is clear which columns are meant), a Slicer `.fcsv` file (RAS unless its header says LPS) or a Slicer
        `.mrk.json` file (LPS unless it says RAS). Points that were not placed are left out.

    Returns
    -------
    NDArray
        Shape ``(n, 3)``, float64, LPS mm, in the order of the file.

    Raises
    ------
    InputError
        If the file is missing, of another kind, damaged or without points, or a coordinate is not a finite number.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "points.csv"
    ...     _ = file.write_text("x,y,z,label\n1,2,3,tip\n4,5,6,base\n")
    ...     read_points(file).tolist()
    [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    return read_point_list(path).placed_only().points


def read_point_list(path: str | Path) -> PointList:
    r"""Read a point list with its labels and with the points that were not placed, as `read_points` does.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "points.csv"
    ...     _ = file.write_text("x,y,z,label\n1,2,3,tip\n4,5,6,base\n")
    ...     read_point_list(file).labels
    ('tip', 'base')
    """
    source = Path(path)
    suffix = suffix_of(source)
    name = shown(source)
    with guarded(source, EXPORT_AGAIN):
        entries = READERS[suffix](name, file_text(source))
    if not any(entry.position[0] == entry.position[0] for entry in entries):
        raise InputError(f"{name} holds no points.", "Place the points and save the list again.")
    points = np.array([entry.position for entry in entries], dtype=np.float64)
    return PointList(points, tuple(entry.label for entry in entries), name)


def file_text(source: Path) -> str:
    r"""Return the text of a file of points, if it is one and no larger than such files are.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "points.csv"
    ...     _ = file.write_text("x,y,z\n1,2,3\n")
    ...     file_text(file).splitlines()
    ['x,y,z', '1,2,3']
    """
    if not source.is_file():
        raise InputError(f"{shown(source)} does not exist or is a folder.", "Check the path.")
    if source.stat().st_size > LARGEST_FILE:
        raise InputError(f"{shown(source)} has {source.stat().st_size >> 20} MB.", "Give a list of points.")
    try:
        # Spreadsheet programs put a byte order mark in front.
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(source)} is not a text file.", EXPORT_AGAIN) from error
