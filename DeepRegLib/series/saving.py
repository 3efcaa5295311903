"""A registered series as a folder: a folder a frame, the stabilised series, maps, tables, a report."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import DeepRegError, InputError, OutputError
from DeepRegLib.files import make_folder, output_error, write_text
from DeepRegLib.files.workplace import NEW, exchange, workplace
from DeepRegLib.formats.nifti_series import write_nifti_series
from DeepRegLib.image import Image, write_image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.motion.tables import scores_as_csv
from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.recipes import recipe_to_dict, without_folder
from DeepRegLib.saving import json_text
from DeepRegLib.series.frames import SECONDS
from DeepRegLib.series.names import FRAME, SERIES_FILES, SERIES_JSON
from DeepRegLib.series.products import labels_on_frame, motion_maps, motion_scores, stabilised
from DeepRegLib.series.result import SeriesRegistration
from DeepRegLib.series.stores import FOUND, FOUND_JSON, INVERSE, TRANSFORM, FolderStore, SavedTransforms
from DeepRegLib.transforms import Transform

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
PASS = re.compile(r"pass_[0-9]+")
FRAME_LABELS = "labels.nii.gz"
OF_FRAME = (TRANSFORM, INVERSE, FRAME_LABELS)


@dataclass(frozen=True)
class SeriesFolder:
    """The folder of a series that is being made, and the store in it.

    Parameters
    ----------
    folder
        As it was given.
    work
        Hidden folder in it; what is new is made there, and comes out when all of it is there.
    store
        What is found lies in the folder; the final transforms are new.
    """

    folder: Path
    work: Path
    store: FolderStore

    @property
    def new(self) -> Path:
        """Where new files are made."""
        return self.work / NEW

    def commit(self, names: Sequence[str], old: Iterable[str]) -> None:
        """Give new files their names and take old ones out, all or none; names of both are relative to the folder."""
        try:
            exchange(self.work, self.folder, names, old)
        except OSError as error:
            raise output_error(self.folder, error) from error


@contextlib.contextmanager
def reserved_series(
    directory: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()
) -> Iterator[SeriesFolder]:
    """Reserve a folder for a series. What an interrupted run left in it is gone on from; see `FolderStore`.

    Parameters
    ----------
    directory
        The folder; made where there is none.
    overwrite
        Whether an earlier result in it may be replaced.
    inputs
        Files and folders that the run reads, which must not be among those it replaces.

    Raises
    ------
    InputError
        If it is a file, holds a whole result or files called as those of a result and `overwrite` is false, or would
        replace an input.
    OutputError
        If it cannot be written, or another run has it.
    """
    folder = folder_for(directory)
    if (folder / SERIES_JSON).exists() and not overwrite:
        raise InputError(
            f"{folder} already holds a series.",
            "Choose another output folder, or give --overwrite (overwrite=True in Python).",
        )
    _refuse_inputs(folder, inputs)
    present = _present(folder)
    if present and not overwrite and not _is_begun(folder):
        raise InputError(
            f"{folder / present[0]} is there and not of a series, and would be replaced.",
            "Choose another output folder, or give --overwrite (overwrite=True in Python).",
        )
    with locked_folder(folder) as place:
        yield place


def folder_for(directory: str | Path) -> Path:
    """Return the folder that a result goes into.

    Raises
    ------
    InputError
        If it is a file.
    """
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder.", "Choose another output folder.")
    return folder


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[SeriesFolder]:
    """Make a folder if there is none, and keep other runs out of it.

    Raises
    ------
    OutputError
        If it cannot be written, or another run has it.
    """
    make_folder(folder)
    try:
        with workplace(folder, folder.absolute().name) as work:
            yield SeriesFolder(folder, work, FolderStore(folder, work / NEW))
    except OSError as error:
        raise output_error(folder, error) from error


def write_series(
    series: SeriesRegistration, place: SeriesFolder, labels: Image | None = None, *, poll: Poll = never_cancel
) -> list[str]:
    """Write what belongs to a series into its folder, in place of an earlier one, all or nothing; return the names.

    Parameters
    ----------
    series
        The result.
    place
        From `reserved_series`.
    labels
        Label map on the reference's grid, carried onto every frame.
    poll
        May raise to stop.
    """
    folder, files = place.new, dict(SERIES_FILES)
    count = len(series.frames)
    for index in range(count):
        poll()
        name = f"frame_{index:04d}"
        if not _lies_at(series.transforms, index, folder / name / TRANSFORM):  # made with another store
            place.store.finish(name, series.transforms[index], series.inverses[index])
        if labels is not None:
            write_image(labels_on_frame(series, labels, index, poll=poll), folder / name / FRAME_LABELS)
    write_image(series.reference, folder / files["reference"])
    arrays = (image.array for image in _of_one_type(series, poll))
    write_nifti_series(folder / files["stabilised"], arrays, count, series.reference.geometry, _step(series))
    maps = motion_maps(series, poll=poll)
    write_image(maps.volume_change, folder / files["volume_change"])
    write_image(maps.peak_strain, folder / files["peak_strain"])
    write_image(maps.motion, folder / files["motion"])
    write_text(folder / files["measures"], frames_as_csv(series))
    if series.motion is None:
        del files["rigid_motion"]
    else:
        write_text(folder / files["rigid_motion"], rigid_as_csv(series))
    scores = motion_scores(series, poll=poll)
    if scores is None:
        del files["scores"]
    else:
        write_text(folder / files["scores"], scores_as_csv(series.frames.times.tolist(), scores))
    for name in _write_pictures(series, scores, folder, poll):
        files.pop(name)
    write_text(folder / SERIES_JSON, json_text(series_to_dict(series, files)))
    of_frames = [
        f"{each.name}/{name}" for each in _frame_folders(folder) for name in OF_FRAME if (each / name).exists()
    ]
    place.commit([*of_frames, *files.values()], _present(place.folder))
    _tidy(place.folder)
    return list(files.values())


def save_series(
    series: SeriesRegistration, directory: str | Path, labels: Image | None = None, *, overwrite: bool = False
) -> Path:
    """Write a registered series into a folder.

    It gets ``frame_0000/transform.h5`` and ``inverse.h5`` and so on (and ``labels.nii.gz`` where a label map of the
    reference is given), ``stabilised.nii.gz``, ``reference.nii.gz``, ``volume_change.nii.gz``, ``peak_strain.nii.gz``,
    ``motion.nii.gz``, ``frames.csv``, ``motion.csv`` with the scores of the motion's principal components,
    ``rigid_motion.csv`` of a rigid series, ``moving.gif``, ``report.html`` and
    ``series.json``.

    Raises
    ------
    InputError
        If it is a file, or holds a series and `overwrite` is false.
    OutputError
        If it cannot be written, or another run has it.
    """
    with reserved_series(directory, overwrite=overwrite) as place:
        write_series(series, place, labels)
        return place.folder


def series_to_dict(series: SeriesRegistration, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``series.json`` holds: plain values, no folder names."""
    names = [series.reference.name, series.frames.name]
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": {
            "level": series.verdict.level,
            "reasons": without_folders(series.verdict.reasons, names),
        },
        "warnings": without_folders(series.warnings, names),
        "decisions": without_folders(series.decisions, names),
        "reference": {
            "name": base_name(series.reference.name),
            "index": series.reference_index,
            **asdict(series.reference.geometry),
        },
        "unit": series.frames.unit,
        "cyclic": series.cyclic,
        "smoothing": series.smoothing,
        "roughness_before_mm": series.roughness_before,
        "roughness_after_mm": series.roughness_after,
        "recipe": recipe_to_dict(without_folder(series.recipe)),
        "frames": [asdict(row) | {"folder": f"frame_{row.index:04d}"} for row in series.rows],
        "timings": series.timings,
        "provenance": series.provenance,
        "files": dict(files),
    }


def frames_as_csv(series: SeriesRegistration) -> str:
    """Return the measures of each frame as CSV text."""
    heading = [*(name for name in asdict(series.rows[0]) if name != "verdict"), "verdict", "reasons"]
    rows = []
    for row in series.rows:
        values = asdict(row)
        verdict = values.pop("verdict")
        rows.append([*(_shown(value) for value in values.values()), verdict["level"], " ".join(verdict["reasons"])])
    return _csv(heading, rows)


def rigid_as_csv(series: SeriesRegistration) -> str:
    """Return the six curves and the framewise displacement as CSV text."""
    motion = series.motion
    if motion is None:
        return ""
    heading = ["frame", "time", "x_mm", "y_mm", "z_mm", "about_x_deg", "about_y_deg", "about_z_deg"]
    table = np.column_stack([motion.translations, motion.rotations, motion.framewise_displacement])
    rows = [
        [row.index, _shown(row.time), *(f"{value:.5f}" for value in values)]
        for row, values in zip(series.rows, table.tolist(), strict=True)
    ]
    return _csv([*heading, "framewise_displacement_mm"], rows)


def _csv(heading: list[str], rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heading, *rows])
    return text.getvalue()


def _shown(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _of_one_type(series: SeriesRegistration, poll: Poll) -> Iterator[Image]:
    """Give the stabilised frames in the type of the first that holds them all: its own if all have it, else float32."""
    first: np.dtype[np.generic] | None = None
    for number, image in enumerate(stabilised(series, poll=poll)):
        if number == 0:
            types = {series.frames[n].read().array.dtype for n in range(len(series.frames))}
            first = types.pop() if len(types) == 1 else np.dtype(np.float32)
        yield image.with_array(image.array.astype(first, copy=False))


def _step(series: SeriesRegistration) -> float | None:
    steps = np.diff(series.frames.times)
    even = bool(np.ptp(steps) < 1e-3 * steps.mean())
    return float(steps.mean()) if series.frames.unit == SECONDS and even else None


def _write_pictures(
    series: SeriesRegistration, scores: NDArray[np.float64] | None, folder: Path, poll: Poll
) -> list[str]:
    """Write the moving picture and the report; return which were not."""
    from DeepRegLib.series.report import write_moving_picture, write_series_report

    try:
        write_moving_picture(series, folder / SERIES_FILES["picture"], poll=poll)
        write_series_report(series, scores, folder / SERIES_FILES["picture"], folder / SERIES_FILES["report"])
    except OutputError:
        raise
    except (DeepRegError, ImportError) as error:
        logger.warning("No report was written. %s", error)
        return ["picture", "report"]
    return []


def _refuse_inputs(folder: Path, inputs: Iterable[str | Path]) -> None:
    """Make sure that no input is a file that a series' folder gets, or lies in a frame's."""
    home = Path(os.path.realpath(folder))
    for given in inputs:
        path = Path(os.path.realpath(given))
        inside = path.relative_to(home).parts if path.is_relative_to(home) else ("elsewhere",)
        if not inside or inside[0] in SERIES_FILES.values() or FRAME.fullmatch(inside[0]):
            raise InputError(
                f"{given} is an input of this run, and its result would replace it.", "Choose another output folder."
            )


def _lies_at(transforms: Sequence[Transform], index: int, path: Path) -> bool:
    """Tell whether a transform is the one in a file: one that only lies there may be an earlier series'."""
    return isinstance(transforms, SavedTransforms) and transforms.paths[index] == path


def _present(folder: Path) -> list[str]:
    """Return the names of what lies in a folder and is called as what a series' folder gets."""
    frames = [f"{place.name}/{n}" for place in _frame_folders(folder) for n in OF_FRAME if (place / n).exists()]
    return [name for name in SERIES_FILES.values() if (folder / name).exists()] + frames


def _is_begun(folder: Path) -> bool:
    """Tell whether a folder holds what a run left that was interrupted."""
    return any((place / FOUND_JSON).is_file() for place in _frame_folders(folder))


def _frame_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(place for place in folder.iterdir() if FRAME.fullmatch(place.name) and place.is_dir())


def _tidy(folder: Path) -> None:
    """Remove what is only there for a run that goes on, and the folders of frames that are no longer there."""
    for place in _frame_folders(folder):
        remove_found_in(place)
        with contextlib.suppress(OSError):  # not empty: a frame's, or somebody else's
            place.rmdir()


def remove_found_in(place: Path) -> None:
    """Remove from the folder of a frame or member what is only there for a run that goes on."""
    passes = [inner for inner in place.iterdir() if PASS.fullmatch(inner.name) and inner.is_dir()]
    for found in (place, *passes):
        for name in (FOUND, FOUND_JSON):
            (found / name).unlink(missing_ok=True)
    for inner in passes:
        with contextlib.suppress(OSError):  # as above
            inner.rmdir()
