"""Frames in the order they lie in the patient: one even, upright stack, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.frames import Frame
from DeepRegLib.errors import InputError

SLICE_GAP_TOLERANCE = 0.05
ONE_PLACE = 1e-3  # mm
SAME_AXES = 1e-3
MOST_OFF_GRID = 0.5  # of a pixel, of a slice
RESAMPLE = "Export the series again, or convert it with a DICOM importer that resamples it."


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames from the lowest to the highest along the cross product of their axes, and their common grid.

    Parameters
    ----------
    frames
        In order.
    spacing
        Along i, j, k in mm.
    direction
        ``(3, 3)``, one index axis a column.
    """

    frames: tuple[Frame, ...]
    spacing: tuple[float, float, float]
    direction: NDArray[np.float64]


def stacked(frames: Sequence[Frame], name: str) -> Stack:
    """Put frames in order.

    Parameters
    ----------
    frames
        At least one.
    name
        What messages call them: "the DICOM series in ...".

    Raises
    ------
    InputError
        If they differ in size or direction, two lie at one place, a slice is missing, or the stack is tilted.
    """
    first = frames[0]
    _require_alike(frames, name)
    normal = np.cross(first.axes[:, 0], first.axes[:, 1])
    heights = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(heights, kind="stable")
    ordered = tuple(frames[n] for n in order)
    direction = np.column_stack([first.axes, normal])
    if len(frames) == 1:
        return Stack(ordered, (*first.spacing, 1.0), direction)
    positions = np.array([frame.position for frame in ordered])
    steps = np.diff(positions, axis=0)
    gaps = np.linalg.norm(steps, axis=1)
    if gaps.min() < ONE_PLACE or np.diff(heights[order]).min() < ONE_PLACE:
        raise InputError(*_at_one_place(ordered, np.diff(heights[order]), name))
    typical = float(np.median(gaps))
    if np.abs(gaps - typical).max() > SLICE_GAP_TOLERANCE * typical:
        raise InputError(
            f"The slices of {name} are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} mm): slices are missing "
            "or several volumes are mixed.",
            RESAMPLE,
        )
    # A grid has no shear: the voxels of a tilted stack would be put elsewhere.
    drift = float(np.linalg.norm(steps - (steps @ normal)[:, None] * normal, axis=1).max())
    if drift > SLICE_GAP_TOLERANCE * typical:
        raise InputError(
            f"The slices of {name} are tilted: each lies {drift:.2f} mm beside the one before.",
            "Convert it with a DICOM importer that corrects the gantry tilt.",
        )
    height = float(heights.max() - heights.min()) / (len(frames) - 1)
    _require_on_grid(positions, normal, height, first, name)
    return Stack(ordered, (*first.spacing, height), direction)


def _require_on_grid(
    positions: NDArray[np.float64], normal: NDArray[np.float64], height: float, first: Frame, name: str
) -> None:
    """Make sure that little steps that each pass do not add up to a slice that lies elsewhere than the grid has it."""
    offsets = positions - positions[0] - np.arange(len(positions))[:, None] * height * normal
    along = offsets @ normal
    beside = float(np.linalg.norm(offsets - along[:, None] * normal, axis=1).max())
    if beside > MOST_OFF_GRID * min(first.spacing):
        raise InputError(
            f"The slices of {name} are tilted: one lies {beside:.2f} mm beside the first.",
            "Convert it with a DICOM importer that corrects the gantry tilt.",
        )
    if float(np.abs(along).max()) > MOST_OFF_GRID * height:
        raise InputError(
            f"The slices of {name} are unevenly spaced: one lies {np.abs(along).max():.2f} mm from where even slices "
            "would have it.",
            RESAMPLE,
        )


def _require_alike(frames: Sequence[Frame], name: str) -> None:
    first = frames[0]
    for frame in frames:
        if frame.size != first.size:
            sizes = sorted({f"{f.size[0]} x {f.size[1]}" for f in frames})
            raise InputError(f"The slices of {name} differ in size: {', '.join(sizes[:4])} pixels.", RESAMPLE)
        if not np.allclose(frame.spacing, first.spacing, rtol=1e-3):
            raise InputError(f"The slices of {name} differ in the size of their pixels.", RESAMPLE)
        if np.abs(frame.axes - first.axes).max() > SAME_AXES:
            raise InputError(f"The slices of {name} lie in different directions.", RESAMPLE)


def _at_one_place(frames: Sequence[Frame], steps: NDArray[np.float64], name: str) -> tuple[str, str]:
    """Say how many volumes lie in each other, and what tells them apart."""
    places = 1 + int(np.sum(steps >= ONE_PLACE))
    differing: list[str] = []
    for word in dict.fromkeys(word for frame in frames for word, _ in frame.tags):
        values = {value for frame in frames for other, value in frame.tags if other == word}
        if 1 < len(values) < len(frames):
            differing.append(f"{len(values)} of {word}")
    several = f" ({', '.join(differing[:3])})" if differing else ""
    return (
        f"{name[:1].upper()}{name[1:]} holds {len(frames)} slices at {places} places: several volumes{several}.",
        "Export the one to be registered, a time point for instance, as a series of its own.",
    )
