"""DICOM with several time points: which frames belong to which, by what their headers say of time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from DeepRegLib.dicom.frames import Frame, frames_of
from DeepRegLib.dicom.pixels import values_of
from DeepRegLib.dicom.reading import dataset_of, headers_by_series, holds_dicom, series_files, without_pydicom_messages
from DeepRegLib.dicom.stack import ONE_PLACE, stacked
from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import Raster

ORDER, MILLISECONDS, PERCENT, SECONDS = "frame", "ms", "%", "s"
# What tells time points apart, the surest first, and its unit.
TIMES = (
    ("phase in percent", PERCENT),
    ("time point", ORDER),
    ("trigger time", MILLISECONDS),
    ("acquisition", ORDER),
    ("acquisition time", SECONDS),
    ("time", SECONDS),
)
PHASE = re.compile(r"(?<![\d.])(100|\d{1,2})(?:\.0+)?\s*%")


@dataclass(frozen=True, eq=False)
class TimePoint:
    """One time point: when, and what reads it."""

    time: float
    read: Callable[[], Raster]


@dataclass(frozen=True, eq=False)
class TimePoints:
    """All time points in the order of time, the unit of their times, and what the user should know."""

    points: tuple[TimePoint, ...]
    unit: str
    remarks: tuple[str, ...] = ()


def time_points_of(source: Path) -> TimePoints | None:
    """Return the time points of a DICOM series, or of the phases of a 4-D CT that are a series each.

    Returns
    -------
    TimePoints, or None
        None if it is no DICOM, or pydicom is missing.

    Raises
    ------
    InputError
        If there is one time point only, or nothing tells them apart.
    """
    if find_spec("pydicom") is None or not holds_dicom(source):
        return None
    with without_pydicom_messages():
        phases = _phases(source) if source.is_dir() else None
        if phases is not None:
            return phases
        files = series_files(source)
        frames = [frame for file in files for frame in frames_of(dataset_of(file, pixels=False), file)]
    return _in_time(frames)


def _phases(folder: Path) -> TimePoints | None:
    """Return the series of a folder that are called after a phase in percent; None if it is one series."""
    series = headers_by_series(folder)
    if len(series) < 2:
        return None
    points = []
    for headers in series:
        found = PHASE.search(headers[0].description)
        if found is None:
            return None
        points.append(TimePoint(float(found.group(1)), partial(_read_files, [header.file for header in headers])))
    return TimePoints(tuple(sorted(points, key=lambda point: point.time)), PERCENT)


def _read_files(files: Sequence[Path]) -> Raster:
    with without_pydicom_messages():
        frames = [frame for file in files for frame in frames_of(dataset_of(file, pixels=False), file)]
    return _read(frames)


def _read(frames: Sequence[Frame]) -> Raster:
    with without_pydicom_messages():
        stack = stacked(list(frames), "the time point")
        datasets = {file: dataset_of(file) for file in {frame.file for frame in frames}}
        array = values_of(stack.frames, datasets)
    x, y, z = stack.frames[0].position.tolist()
    return Raster(array, 1, stack.spacing, (x, y, z), stack.direction)


def _in_time(frames: Sequence[Frame]) -> TimePoints:
    places = _places(frames)
    count = max(len(each) for each in places)
    if count == 1:
        raise InputError("The DICOM series holds one time point.", "Give a series with several, or a list of volumes.")
    for word, unit in TIMES:
        times = {id(frame): _time(frame, word) for frame in frames}
        if any(time is None for time in times.values()):
            continue
        known = {key: time for key, time in times.items() if time is not None}
        found = _by_value(frames, known, len(places)) or _by_rank(places, known)
        if found is not None:
            groups, left = found
            scale = 1e-3 if unit == MILLISECONDS else 1.0
            points = [TimePoint(scale * time, partial(_read, group)) for time, group in groups]
            remarks = (f"{left} of {left + len(points)} time points lack slices and were left out.",) if left else ()
            return TimePoints(tuple(points), SECONDS if unit == MILLISECONDS else unit, remarks)
    raise InputError(
        f"The DICOM series holds {len(frames)} slices at {len(places)} places, and no header tells which belong to one "
        "time.",
        "Export each time point as a series of its own, or convert it to a 4-D file.",
    )


def _places(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return the frames at each place, from the lowest to the highest."""
    first = frames[0]
    normal = np.cross(first.axes[:, 0], first.axes[:, 1])
    heights = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(heights, kind="stable")
    places: list[list[Frame]] = []
    last = -np.inf
    for number in order:
        if heights[number] - last > ONE_PLACE:
            places.append([])
        last = heights[number]
        places[-1].append(frames[number])
    return places


def _time(frame: Frame, word: str) -> float | None:
    text = next((value for other, value in frame.tags if other == word), None)
    if text is None:
        return None
    try:
        if word.endswith("time") and word != "trigger time":
            return _seconds(text)
        return float(text)
    except ValueError:
        return None


def _seconds(text: str) -> float:
    """Return the seconds of the day of DICOM's HHMMSS.ffffff, with or without a date in front."""
    digits = text.split(".")[0]
    clock = digits[-6:]
    fraction = float(f"0.{text.split('.')[1]}") if "." in text else 0.0
    return int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:6]) + fraction


Groups = tuple[list[tuple[float, list[Frame]]], int]


def _by_value(frames: Sequence[Frame], times: dict[int, float], places: int) -> Groups | None:
    """Group frames of one time; None unless at least two of the groups have a frame at each place."""
    groups: dict[float, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(times[id(frame)], []).append(frame)
    whole = sorted((time, group) for time, group in groups.items() if len(group) == places)
    if len(whole) < 2 or any(len(group) > places for group in groups.values()):
        return None
    return whole, len(groups) - len(whole)


def _by_rank(places: Sequence[Sequence[Frame]], times: dict[int, float]) -> Groups | None:
    """Group the first frames at all places, the second ones, and so on: each place has a heartbeat of its own."""
    count = len(places[0])
    if any(len(each) != count for each in places):
        return None
    ranked = [sorted(each, key=lambda frame: times[id(frame)]) for each in places]
    if any(np.diff([times[id(frame)] for frame in each]).min() <= 0 for each in ranked):
        return None
    groups = []
    for number in range(count):
        group = [each[number] for each in ranked]
        groups.append((float(np.median([times[id(frame)] for frame in group])), group))
    return groups, 0
