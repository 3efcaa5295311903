"""The transforms of a series made smooth in time, inverted and measured, frame by frame."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device
from DeepRegLib.motion.fields import Field, common_grid, field_of, without_folds
from DeepRegLib.result import FAILED
from DeepRegLib.series.chain import frame_folder, require_some
from DeepRegLib.series.fields import weighted_sum
from DeepRegLib.series.frames import PERCENT, Frames
from DeepRegLib.series.measures import Delivered, frame_row, points_inside
from DeepRegLib.series.members import Reference, Running
from DeepRegLib.series.result import FrameRow
from DeepRegLib.series.stores import Found
from DeepRegLib.series.temporal import Clock, roughness, smoothing_weights
from DeepRegLib.stages.inverse import delivered_inverse
from DeepRegLib.transforms import LinearTransform, Transform

KEPT_FIELDS = 16
FINISHING = 0.25  # of the progress


def clock_of(frames: Frames, cyclic: bool) -> Clock:
    """Return when the frames of a series were taken."""
    times = frames.times
    if not cyclic:
        return Clock(times, None)
    round_trip = 100.0 if frames.unit == PERCENT else float(np.ptp(times) + np.median(np.diff(times)))
    return Clock(times, max(round_trip, float(np.ptp(times)) + 1e-6))


@dataclass(frozen=True, eq=False)
class Work:
    """What is made smooth: frames, what was found of each, the reference and its number (None for the mean)."""

    frames: Frames
    anchor: Reference
    found: list[Found]
    index: int | None
    cyclic: bool
    sigma: float


@dataclass(frozen=True, eq=False)
class Finished:
    """Final transforms and inverses, measures a frame, and the roughness of paths before and after smoothing, mm."""

    transforms: Sequence[Transform]
    inverses: Sequence[Transform]
    rows: tuple[FrameRow, ...]
    roughness_before: float
    roughness_after: float


@dataclass(eq=False)
class _Paths:
    """Where points of the foreground go, frame by frame."""

    points: NDArray[np.float64]
    before: list[NDArray[np.float64]] = field(default_factory=list)
    after: list[NDArray[np.float64]] = field(default_factory=list)


def finished(running: Running, work: Work) -> Finished:
    """Make the displacements smooth in time, invert, measure, and keep, frame by frame."""
    require_some([each for n, each in enumerate(work.found) if n != work.index])
    known = _trusted(work)
    smoothed = _smoothed_fields(running, work, known)
    paths = _Paths(points_inside(work.anchor.foreground, running.seed))
    device = str(choose_device(running.device))
    rows, names = [], []
    for n, each in enumerate(work.found):
        running.tell("inverse", 1 - FINISHING * (1 - n / len(work.found)))
        transform = smoothed(n)
        frame = work.frames[n]
        image = frame.read()
        inverse, reached = delivered_inverse(
            transform, work.anchor.foreground, image.geometry, running.seed, device=device, poll=running.poll
        )
        delivered = Delivered(transform, inverse.folds, reached, bridged=not known[n])
        rows.append(frame_row(n, frame, image, each, work.anchor, delivered, paths.points, running.poll))
        paths.before.append((each.transform if each.registered else transform).apply_to_points(paths.points))
        paths.after.append(transform.apply_to_points(paths.points))
        names.append(frame_folder(n))
        running.store.finish(names[-1], transform, inverse.inverse)
    transforms, inverses = running.store.finished(names)
    rough = [roughness(np.stack(each), cyclic=work.cyclic) for each in (paths.before, paths.after)]
    return Finished(transforms, inverses, tuple(rows), *rough)


def _trusted(work: Work) -> NDArray[np.bool_]:
    """Tell which frames' own transforms count: those found; if most are trusted, those trusted."""
    there = np.array([each.registered for each in work.found])
    trusted = there & np.array([each.verdict.level != FAILED for each in work.found])
    return trusted if 2 * trusted.sum() > len(trusted) else there


def _smoothed_fields(running: Running, work: Work, known: NDArray[np.bool_]) -> functools.partial[Transform]:
    """Return what gives the final transform of a frame by its number."""
    clock = clock_of(work.frames, work.cyclic)
    if not running.recipe.deformable.enabled:
        return functools.partial(_nearest_linear, work.found, clock, known)
    there = (each.transform for each in work.found if each.registered)
    grid = common_grid(there, work.anchor.scan.side.original.geometry)

    @functools.lru_cache(maxsize=KEPT_FIELDS)
    def field_by_number(number: int) -> Field:
        return field_of(work.found[number].transform, grid, running.poll)

    def final(number: int) -> Transform:
        if number == work.index:
            return LinearTransform.identity()
        weights = smoothing_weights(clock, number, work.sigma, known)
        wanted = weighted_sum(field_by_number, weights)
        nearest = int(np.argmin(np.where(known, np.abs(clock.since(number)), np.inf)))
        own = field_by_number(number if known[number] else nearest)
        return without_folds(wanted, own, grid, work.anchor.scan.side.original.geometry)

    return functools.partial(final)


def _nearest_linear(found: Sequence[Found], clock: Clock, known: NDArray[np.bool_], number: int) -> Transform:
    apart = np.where(known, np.abs(clock.since(number)), np.inf)
    return found[int(np.argmin(apart))].transform
