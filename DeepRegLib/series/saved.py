"""A series' folder read again: what `deepreg apply` needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.errors import InputError
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.geometry import Geometry, geometry_from
from DeepRegLib.guarding import guarded
from DeepRegLib.series.names import SERIES_JSON
from DeepRegLib.series.stores import INVERSE, TRANSFORM, SavedTransforms

AGAIN = "Register the series again."
LARGEST = 100_000_000
MOST_FRAMES = 100_000


@dataclass(frozen=True, eq=False)
class SavedSeries:
    """The transforms of a series' folder, read when they are asked for.

    Parameters
    ----------
    geometry
        The reference's grid.
    times, unit
        Of its frames.
    transforms, inverses
        Points of the reference to points of each frame, and back.
    """

    geometry: Geometry
    times: tuple[float, ...]
    unit: str
    transforms: SavedTransforms
    inverses: SavedTransforms


def read_series_folder(folder: Path) -> SavedSeries:
    """Read the table of a series' folder.

    Raises
    ------
    InputError
        If it is damaged, or a frame's transform is missing.
    """
    with guarded(folder / SERIES_JSON, AGAIN):
        return _read(folder)


def _read(folder: Path) -> SavedSeries:
    damaged = InputError(f"{folder / SERIES_JSON} is damaged.", AGAIN)
    table = json_table(folder / SERIES_JSON, LARGEST)
    if table is None:
        raise damaged
    try:
        geometry = geometry_from(table["reference"])
        times = tuple(float(row["time"]) for row in table["frames"])
        unit = str(table["unit"])
    except (ValueError, KeyError, TypeError) as error:
        raise damaged from error
    if not 0 < len(times) <= MOST_FRAMES:
        raise damaged
    # Where a frame lies is told by its number, not by the table.
    places = [folder / f"frame_{number:04d}" for number in range(len(times))]
    missing = next((p for p in places if not all((p / file).is_file() for file in (TRANSFORM, INVERSE))), None)
    if missing is not None:
        raise InputError(f"{missing} lacks its transform or inverse.", AGAIN)
    return SavedSeries(
        geometry,
        times,
        unit,
        SavedTransforms(tuple(place / TRANSFORM for place in places)),
        SavedTransforms(tuple(place / INVERSE for place in places)),
    )
