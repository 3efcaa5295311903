"""The transforms of a series' folder applied to another series, to a label map, to points."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_text
from DeepRegLib.formats.nifti_series import write_nifti_series
from DeepRegLib.image import read_image
from DeepRegLib.labels import label_map
from DeepRegLib.landmarks import read_points
from DeepRegLib.series.frames import SECONDS, read_frames
from DeepRegLib.series.saved import SavedSeries
from DeepRegLib.transforms import apply_to_image, apply_to_labels


def carry_series(saved: SavedSeries, data: Path, output: Path, background: float | None) -> None:
    """Bring the frames of another series, of the same number, onto the reference's grid, as one 4-D file.

    Raises
    ------
    InputError
        If it has another number of frames.
    """
    frames = read_frames(data)
    if len(frames) != len(saved.times):
        raise InputError(
            f"{data} has {len(frames)} frames, and the series had {len(saved.times)}.", "Give one of as many frames."
        )
    first = frames[0].read().array.dtype
    moved = (
        apply_to_image(transform, frame.read(), saved.geometry, background=background).array.astype(first, copy=False)
        for frame, transform in zip(frames, saved.transforms, strict=True)
    )
    write_nifti_series(output, moved, len(frames), saved.geometry, _step(saved))


def carry_labels(saved: SavedSeries, data: Path, output: Path) -> None:
    """Bring a label map of the reference onto every frame, on the reference's grid, as one 4-D file.

    Raises
    ------
    InputError
        If it is no label map.
    """
    labels = label_map(read_image(data))
    moved = (apply_to_labels(inverse, labels, saved.geometry).array for inverse in saved.inverses)
    write_nifti_series(output, moved, len(saved.times), saved.geometry, _step(saved))


def carry_points(saved: SavedSeries, data: Path, output: Path) -> int:
    """Write where points of the reference lie at each frame, as CSV; return how many points there are."""
    given = read_points(data)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", "time", "point", "x", "y", "z"])
    for number, (time, transform) in enumerate(zip(saved.times, saved.transforms, strict=True)):
        for point, place in enumerate(transform.apply_to_points(given)):
            writer.writerow([number, f"{time:g}", point + 1, *(f"{value:.4f}" for value in place)])
    write_text(output, text.getvalue())
    return len(given)


def _step(saved: SavedSeries) -> float | None:
    steps = np.diff(saved.times)
    even = saved.unit == SECONDS and len(steps) > 0 and float(np.ptp(steps)) < 1e-3 * float(np.mean(steps))
    return float(np.mean(steps)) if even else None
