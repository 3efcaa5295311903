"""The scores of a series over time as a table in its folder, and the folders of many read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.guarding import guarded
from DeepRegLib.naming import shown

SCORES, SERIES_JSON = "motion.csv", "series.json"
SECONDS, PERCENT = "s", "%"
AGAIN = "Register the series again."
LARGEST = 100_000_000
LEAST_FRAMES = 4


@dataclass(frozen=True, eq=False)
class ScoredSeries:
    """The scores of one series.

    Parameters
    ----------
    name
        Of its folder.
    times
        ``(n,)``, ascending, in `unit`.
    unit
        ``"s"`` or ``"%"`` of a cycle.
    scores
        ``(n, c)``, mm.
    """

    name: str
    times: NDArray[np.float64]
    unit: str
    scores: NDArray[np.float64]


def scores_as_csv(times: Sequence[float], scores: NDArray[np.float64]) -> str:
    """Return scores ``(frames, c)`` over time as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", "time", *(f"component_{number + 1}_mm" for number in range(scores.shape[1]))])
    for number, (time, row) in enumerate(zip(times, scores.tolist(), strict=True)):
        writer.writerow([number, f"{time:.6g}", *(f"{value:.5f}" for value in row)])
    return text.getvalue()


def read_scores(folder: Path) -> ScoredSeries:
    """Read the scores of the folder of a series.

    Raises
    ------
    InputError
        If there are none, they are damaged, or they have no time in seconds or percent of a cycle.
    """
    path = folder / SCORES
    with guarded(path, AGAIN):
        try:
            if max(path.stat().st_size, (folder / SERIES_JSON).stat().st_size) > LARGEST:
                raise InputError(f"{shown(path)} is larger than scores are.", AGAIN)
            unit = str(json.loads((folder / SERIES_JSON).read_text(encoding="utf-8"))["unit"])
            rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
            table = np.array([[float(value) for value in row[1:]] for row in rows[1:]])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{shown(path)} is not there or damaged.", AGAIN) from error
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all() or np.any(np.diff(table[:, 0]) <= 0):
        raise InputError(f"{shown(path)} is damaged.", AGAIN)
    if unit not in (SECONDS, PERCENT):
        raise InputError(
            f"The frames of {shown(folder)} have neither seconds nor phases.", "Give series whose times are known."
        )
    if len(table) < LEAST_FRAMES:
        raise InputError(f"{shown(folder)} has {len(table)} frames.", f"Give series of at least {LEAST_FRAMES}.")
    return ScoredSeries(folder.name, table[:, 0], unit, table[:, 1:])


def read_collection(folder: str | Path) -> list[ScoredSeries]:
    """Read the scores of every series' folder in a folder.

    Raises
    ------
    InputError
        If there is none, or one cannot be used.
    """
    home = Path(folder)
    found = sorted(path for path in home.iterdir() if (path / SERIES_JSON).is_file()) if home.is_dir() else []
    if not found:
        raise InputError(f"{shown(home)} holds no folder of a series.", "Give a folder of what `deepreg series` wrote.")
    return [read_scores(path) for path in found]
