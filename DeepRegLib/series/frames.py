"""The frames of a series: where each comes from, when it was taken, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.time_points import TimePoint, time_points_of
from DeepRegLib.errors import InputError
from DeepRegLib.formats.nifti import TIME_STEP
from DeepRegLib.formats.raster import Raster, Spooled
from DeepRegLib.guarding import guarded
from DeepRegLib.image import Image, from_raster, grid_of, read_image, spool_raster
from DeepRegLib.naming import base_name, shown

FRAMES, SECONDS, PERCENT = "frame", "s", "%"
LISTED = ("list", "time", "vector", "point")
INDEX_VALUES = "axis 0 index values"
LEAST_FRAMES = 2
# In a folder of volumes each file is a frame.
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a series, read when it is needed.

    Parameters
    ----------
    name
        What it is called in messages.
    time
        When it was taken, in the unit of its series.
    read
        Returns its image.
    """

    name: str
    time: float
    read: Callable[[], Image]


@dataclass(frozen=True, eq=False)
class Frames(Sequence[Frame]):
    """The frames of a series in the order of time.

    Parameters
    ----------
    frames
        At least two.
    unit
        Of their times: ``"s"``, ``"%"`` of a cycle, or ``"frame"`` where only their order is known.
    name
        What the series is called in messages.
    remarks
        What the user should know of how they were found, one sentence each.

    Raises
    ------
    InputError
        If there are fewer than two, or two were taken at one time.
    """

    frames: tuple[Frame, ...]
    unit: str = FRAMES
    name: str = "the series"
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.frames)
        if count < LEAST_FRAMES:
            raise InputError(
                f"{self.name} has {count} frame{'s' if count != 1 else ''}, and a series has at least {LEAST_FRAMES}.",
                "Give a 4-D file, a DICOM series with time points, or a list of volumes.",
            )
        times = self.times
        if not np.all(np.isfinite(times)):
            raise InputError(f"{self.name} has a frame without a time.", "Repair its header, or give a list of files.")
        same = np.flatnonzero(np.diff(times) <= 0)
        if same.size:
            one, other = self.frames[int(same[0])], self.frames[int(same[0]) + 1]
            raise InputError(
                f"{one.name} and {other.name} of {self.name} have the times {one.time:g} and {other.time:g}, which do "
                "not follow each other.",
                "Give each frame a later time than the one before.",
            )

    @property
    def times(self) -> NDArray[np.float64]:
        """When each was taken, shape ``(n,)``, in `unit`."""
        return np.array([frame.time for frame in self.frames], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: Any) -> Any:
        return self.frames[index]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)


Source = str | Path | Image


def read_frames(source: Source | Sequence[Source] | Frames) -> Frames:
    """Find the frames of a series.

    Parameters
    ----------
    source
        A 4-D file (NIfTI, NRRD, Slicer's ``.seq.nrrd``), a folder or file of a DICOM series with time points, a folder
        of volumes in the order of their names, or a list of images and files in the order of time. Frames may have
        grids of their own. A frame is read when it is needed; a compressed 4-D file is unpacked into a temporary file
        first.

    Raises
    ------
    InputError
        If something is not there or cannot be read, or there are fewer than two frames.
    """
    if isinstance(source, Frames):
        return source
    if isinstance(source, Image):
        raise InputError(f"{source.name} is one volume, not a series.", "Give the other frames too.")
    if isinstance(source, str | Path):
        return _of_path(Path(source))
    return _of_list(list(source), "the series")


def _of_list(sources: list[Source], name: str) -> Frames:
    missing = next((each for each in sources if not isinstance(each, Image) and not Path(each).exists()), None)
    if missing is not None:
        raise InputError(f"The frame {shown(str(missing))} does not exist.", "Check the path, or leave the frame out.")
    return Frames(tuple(_listed(each, number) for number, each in enumerate(sources)), name=name)


def _listed(source: Source, number: int) -> Frame:
    if isinstance(source, Image):
        return Frame(base_name(source.name), float(number), lambda: source)
    path = Path(source)
    # A DICOM folder often bears the patient's name.
    name = f"DICOM series {number + 1}" if path.is_dir() else base_name(shown(path))
    return Frame(name, float(number), lambda: read_image(path))


def _of_path(path: Path) -> Frames:
    with guarded(path):
        if not path.exists():
            raise InputError(f"{shown(path)} does not exist.", "Check the path.")
        if path.is_dir():
            volumes = sorted(each for each in path.iterdir() if each.name.lower().endswith(VOLUME_SUFFIXES))
            if volumes:
                return _of_list(list(volumes), shown(path))
        points = time_points_of(path)
        if points is not None:
            return _of_time_points(points.points, points.unit, points.remarks, path)
        return _of_file(spool_raster(path), shown(path))


def _of_time_points(points: Sequence[TimePoint], unit: str, remarks: tuple[str, ...], path: Path) -> Frames:
    def frame(point: TimePoint) -> Frame:
        name = f"time point {point.time:g}"

        def read() -> Image:
            with guarded(path):  # read long after the headers were
                return from_raster(point.read(), name)

        return Frame(name, point.time, read)

    return Frames(tuple(frame(point) for point in points), unit, "the DICOM series", remarks)


def _of_file(spooled: Spooled, name: str) -> Frames:
    raster = spooled.raster
    array = _time_first(raster, name)
    grid = grid_of(Raster(array[0], 1, raster.spacing, raster.origin, raster.direction), name)
    times, unit = _times(raster, len(array), name)

    def frame(number: int) -> Frame:
        called = f"frame {number + 1}"
        # A copy: what is looked at of a file's voxels stays in memory as long as the file's array.
        return Frame(called, times[number], lambda: Image(spooled.finished(np.array(array[number])), grid, called))

    return Frames(tuple(frame(number) for number in range(len(array))), unit, base_name(name), raster.remarks)


def _time_first(raster: Raster, name: str) -> NDArray[Any]:
    """Return the voxels as ``(t, k, j, i)``."""
    array = raster.array
    if array.dtype.kind == "c":
        raise InputError(f"{name} has complex voxels.", "Convert it to magnitude.")
    if raster.channels > 1:
        kind = raster.marks.get("component kind", "").lower()
        if array.ndim != 4 or not (kind in LISTED or name.lower().endswith(".seq.nrrd")):
            raise InputError(
                f"{name} has {raster.channels} components a voxel, which are no frames in time.",
                "Give a file whose fourth axis is time.",
            )
        return np.moveaxis(array, -1, 0)
    while array.ndim > 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3:
        raise InputError(
            f"{name} holds one volume: a series of one frame.", "Give a 4-D file, or a list of all the frames."
        )
    if array.ndim != 4:
        raise InputError(f"{name} is {array.ndim}-D.", "Give a file with three axes of space and one of time.")
    return array


def _times(raster: Raster, count: int, name: str) -> tuple[list[float], str]:
    step = float(raster.marks.get(TIME_STEP, "0") or 0)
    if step > 0:
        return [step * number for number in range(count)], SECONDS
    words = raster.marks.get(INDEX_VALUES, "").split()
    if words:
        values = _numbers(words)
        if len(values) == count and np.all(np.isfinite(values)):
            if np.all(np.diff(values) > 0):
                return values, FRAMES
            raise InputError(
                f"The frames of {name} have index values that do not grow.", "Sort the sequence by its index."
            )
    return [float(number) for number in range(count)], FRAMES


def _numbers(words: Sequence[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:  # the index of a sequence may be text
        return []
