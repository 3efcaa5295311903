"""Points with labels, and what is shared by the files that hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import FARTHEST
from DeepRegLib.naming import shown

SUFFIXES = (".csv", ".fcsv", ".mrk.json")
EXPORT_AGAIN = "Export the points again as .csv, .fcsv or .mrk.json."
FRAMES = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}
NOT_PLACED = (math.nan, math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class PointList:
    """Points in the order of their list, those among them that were not placed.

    Parameters
    ----------
    points
        Shape ``(n, 3)``, LPS mm; NaN where a point was skipped or not placed yet.
    labels
        One a point; empty where it has none.
    name
        What to call the list in messages.

    Examples
    --------
    >>> PointList(np.array([[1.0, 2.0, 3.0]]), ("tip",)).labels
    ('tip',)
    """

    points: NDArray[np.float64]
    labels: tuple[str, ...]
    name: str = "the list"

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which points were placed, shape ``(n,)``.

        Examples
        --------
        >>> PointList(np.array([[1.0, 2.0, 3.0], NOT_PLACED]), ("tip", "base")).placed.tolist()
        [True, False]
        """
        return np.asarray(np.isfinite(self.points).all(axis=1))

    def placed_only(self) -> PointList:
        """Return the list without the points that were not placed.

        Examples
        --------
        >>> PointList(np.array([[1.0, 2.0, 3.0], NOT_PLACED]), ("tip", "base")).placed_only().labels
        ('tip',)
        """
        rows = np.flatnonzero(self.placed)
        return PointList(self.points[rows], tuple(self.labels[row] for row in rows), self.name)


@dataclass(frozen=True)
class Entry:
    """One line of a file: where its point lies (LPS mm; NaN if it was not placed) and its label.

    Examples
    --------
    >>> Entry((1.0, 2.0, 3.0), "tip").label
    'tip'
    """

    position: tuple[float, float, float]
    label: str


def suffix_of(path: Path) -> str:
    """Return which of the endings a file has.

    Examples
    --------
    >>> suffix_of(Path("points.MRK.json"))
    '.mrk.json'
    """
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise InputError(f"{shown(path)} is not a point list by its name.", f"End it in one of {', '.join(SUFFIXES)}.")


def is_number(cell: str) -> bool:
    """Tell whether a cell of a table is a number.

    Examples
    --------
    >>> is_number("1e3"), is_number("x"), is_number("1_0")
    (True, False, False)
    """
    if "_" in cell or not cell.isascii():  # Python's own ways to write a number
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def coordinates(where: str, row: Sequence[object], columns: Sequence[int]) -> tuple[float, float, float]:
    """Return the three coordinates of a row.

    Examples
    --------
    >>> coordinates("points.csv, line 2", ["tip", "1", "2", "3"], (1, 2, 3))
    (1.0, 2.0, 3.0)
    """
    if len(columns) < 3 or len(row) <= max(columns):
        raise InputError(f"{where}: there are fewer than three coordinates.", "Give x, y and z in mm.")
    x, y, z = (_coordinate(where, "xyz"[axis], row[column]) for axis, column in enumerate(columns))
    return x, y, z


def _coordinate(where: str, axis: str, value: object) -> float:
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool) and is_number(str(value)):
        number = float(value)
    if not math.isfinite(number):
        raise InputError(
            f"{where}: {axis} is {repr(value)[:40]}, not a finite number.", "Correct the line or remove the point."
        )
    if abs(number) > FARTHEST:
        raise InputError(
            f"{where}: {axis} is {number:g} mm, farther away than any scan lies.",
            "Correct the line or remove the point.",
        )
    return number


def frame_named(where: str, name: object) -> str:
    """Return "LPS" or "RAS".

    Examples
    --------
    >>> frame_named("points.fcsv, line 2", 0)
    'RAS'
    """
    frame = FRAMES.get(str(name).upper())
    if frame is None:
        raise InputError(f"{where}: the coordinate system is {repr(name)[:40]}.", "Save the points in LPS or RAS.")
    return frame


def to_lps(point: Sequence[float], frame: str) -> tuple[float, float, float]:
    """Return a point of a frame in LPS.

    Examples
    --------
    >>> to_lps((1.0, 2.0, 3.0), "RAS")
    (-1.0, -2.0, 3.0)
    """
    x, y, z = point
    # Adding zero turns -0.0 into 0.0.
    return (x, y, z) if frame == "LPS" else (0.0 - x, 0.0 - y, z)
