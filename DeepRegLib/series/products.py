"""What a registered series is for: the stabilised series, labels and points on all frames, maps over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.labels import check_label_grid, label_map
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.motion.components import principal_motion
from DeepRegLib.series.measures import jacobian_and_strain, map_grid
from DeepRegLib.series.result import SeriesRegistration
from DeepRegLib.transforms import Transform, apply_to_image, apply_to_labels, compose


@dataclass(frozen=True, eq=False)
class MotionMaps:
    """Maps over the whole series on the reference's extent, float32.

    Parameters
    ----------
    volume_change
        Largest minus smallest Jacobian determinant over the frames; of lungs, the regional ventilation (Reinhardt et
        al., Med Image Anal 12, 2008).
    peak_strain
        The largest principal Green-Lagrange strain of any frame.
    motion
        The longest displacement of any frame, mm.
    """

    volume_change: Image
    peak_strain: Image
    motion: Image


def stabilised_frame(series: SeriesRegistration, index: int, *, poll: Poll = never_cancel) -> Image:
    """Return one frame on the reference's grid, resampled once, in its own intensities and type."""
    frame = series.frames[index]
    moved: Image = apply_to_image(series.transforms[index], frame.read(), series.reference.geometry, poll=poll)
    return moved


def stabilised(series: SeriesRegistration, *, poll: Poll = never_cancel) -> Iterator[Image]:
    """Give the frames on the reference's grid one after another."""
    for index in range(len(series.frames)):
        yield stabilised_frame(series, index, poll=poll)


def labels_on_frame(
    series: SeriesRegistration, labels: Image, index: int, *, drawn_on: int | None = None, poll: Poll = never_cancel
) -> Image:
    """Carry a label map of the reference, or of one frame, onto another frame's grid.

    Parameters
    ----------
    series
        The result.
    labels
        Label map on the grid of the reference, or of the frame `drawn_on`.
    index
        The frame that gets them.
    drawn_on
        The number of the frame they were drawn on; None for the reference.
    poll
        May raise to stop.

    Raises
    ------
    InputError
        If there is no such frame, or the label map lies on another grid.
    """
    source = series.reference if drawn_on is None else frame_image(series, drawn_on)
    check_label_grid(labels, source)
    return labels_between(series, label_map(labels), index, drawn_on=drawn_on, poll=poll)


def labels_between(
    series: SeriesRegistration, labels: Image, index: int, *, drawn_on: int | None = None, poll: Poll = never_cancel
) -> Image:
    """As `labels_on_frame`, of a label map on any grid in the world of the frame it was drawn on."""
    target = frame_image(series, index)
    return apply_to_labels(_between(series, index, drawn_on), labels, target.geometry, poll=poll)


def trajectories(
    series: SeriesRegistration, points: NDArray[np.floating], *, placed_on: int | None = None
) -> NDArray[np.float64]:
    """Return where points lie at each frame, shape ``(frames, n, 3)``, LPS mm.

    Parameters
    ----------
    series
        The result.
    points
        ``(n, 3)``, LPS mm, on the reference, or on the frame `placed_on`.
    placed_on
        The number of the frame; None for the reference.
    """
    at = np.atleast_2d(np.asarray(points, dtype=np.float64))
    if placed_on is not None:
        check_index(series, placed_on)
        at = series.inverses[placed_on].apply_to_points(at)
    return np.stack([series.transforms[n].apply_to_points(at) for n in range(len(series.frames))])


def motion_maps(series: SeriesRegistration, *, poll: Poll = never_cancel) -> MotionMaps:
    """Measure volume change, strain and motion at every place over all frames."""
    grid = map_grid(series.reference.geometry)
    least, most = np.full(grid.shape, np.inf, np.float32), np.full(grid.shape, -np.inf, np.float32)
    strain, motion = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    points = grid.points().reshape(*grid.shape, 3)
    for index in range(len(series.frames)):
        poll()
        transform = series.transforms[index]
        determinant, stretched = jacobian_and_strain(transform, grid, poll)
        least, most = np.minimum(least, determinant), np.maximum(most, determinant)
        strain = np.maximum(strain, stretched)
        moved = np.linalg.norm(transform.apply_to_points(points) - points, axis=-1).astype(np.float32)
        motion = np.maximum(motion, moved)
    return MotionMaps(
        _map(most - least, grid, "volume change"), _map(strain, grid, "peak strain"), _map(motion, grid, "motion")
    )


def motion_scores(series: SeriesRegistration, *, poll: Poll = never_cancel) -> NDArray[np.float64] | None:
    """Return the scores of the motion's principal components at each frame, ``(frames, c)``, mm; None if none moves."""
    try:
        return principal_motion(series.transforms, series.reference.geometry, poll=poll).scores
    except InputError:
        return None


def frame_image(series: SeriesRegistration, index: int) -> Image:
    """Read a frame by its number.

    Raises
    ------
    InputError
        If there is no such frame.
    """
    check_index(series, index)
    image: Image = series.frames[index].read()
    return image


def check_index(series: SeriesRegistration, index: int) -> None:
    """Make sure that there is a frame of a number.

    Raises
    ------
    InputError
        If not.
    """
    if not 0 <= index < len(series.frames):
        raise InputError(f"There is no frame {index}.", f"The series has the frames 0 to {len(series.frames) - 1}.")


def _between(series: SeriesRegistration, index: int, drawn_on: int | None) -> Transform:
    """Return what takes points of a frame to points of another, or of the reference."""
    back = series.inverses[index]
    return back if drawn_on is None else compose(back, series.transforms[drawn_on])


def _map(values: NDArray[np.float32], grid: Geometry, name: str) -> Image:
    return Image(values, grid, name)
