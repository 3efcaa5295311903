"""register_series(): each frame registered from its neighbour's result, then made smooth in time."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device
from DeepRegLib.errors import InputError, RegistrationError
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.orientation import standard_order
from DeepRegLib.provenance import versions
from DeepRegLib.recipes import AUTO, Recipe, load_recipe
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.series.fields import (
    Field,
    centred,
    common_grid,
    field_of,
    mean_image,
    weighted_sum,
    without_folds,
)
from DeepRegLib.series.frames import PERCENT, Frames, Source, read_frames
from DeepRegLib.series.looking import Looks, central_frame, is_cyclic, look_at
from DeepRegLib.series.measures import frame_row, points_inside
from DeepRegLib.series.members import Reference, Running, prepared_reference, register_member
from DeepRegLib.series.result import FrameRow, SeriesRegistration
from DeepRegLib.series.rigid_motion import rigid_motion
from DeepRegLib.series.stores import Found, MemoryStore, Store
from DeepRegLib.series.temporal import Clock, roughness, smoothing_weights
from DeepRegLib.transforms import LinearTransform, Transform, invert

MEAN = "mean"
SMOOTHING = 0.5  # frame intervals: on a breathing liver 1.07 mm without, 0.99 mm with it
MEAN_PASSES = 2
MOST_NAMED = 6
KEPT_FIELDS = 16
# Shares of the progress.
LOOKING, FINISHING = 0.03, 0.25


def frame_folder(index: int) -> str:
    """Return under which name what belongs to a frame is kept."""
    return f"frame_{index:04d}"


def register_series(
    frames: Source | Sequence[Source] | Frames,
    recipe: str | Path | Recipe = AUTO,
    *,
    reference: int | str = AUTO,
    smoothing: float | None = None,
    cyclic: bool | None = None,
    device: str | None = None,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> SeriesRegistration:
    """Register all frames of a series to one reference.

    The reference is prepared once. The frame next to it is registered from the scanner's position, every other one
    from the result of its neighbour; in a cyclic series from the neighbours on both sides. Then the displacements are
    made smooth in time. A frame that cannot be registered gets the displacement of its neighbours, and is named.

    Parameters
    ----------
    frames
        As `DeepRegLib.series.frames.read_frames` takes them.
    recipe
        How frames are registered: name of a shipped recipe, path of a TOML file, or a `Recipe`. One without a
        deformable stage, ``rigid`` for instance, makes a rigid series, with the curves of its motion.
    reference
        The number of a frame, from 0; ``"auto"``, a sharp one in the middle of the motion; or ``"mean"``, the mean of
        all frames in a space that favours none (groupwise).
    smoothing
        Sigma of the Gaussian over time, in frame intervals; None takes what suits the recipe, which is none for a rigid
        series.
    cyclic
        Whether the last frame leads to the first; None finds out.
    device, seed, progress, cancel
        As of `DeepRegLib.register`.
    store
        Keeps what is found of each frame; None keeps it in memory.

    Returns
    -------
    SeriesRegistration
        Transforms and inverses a frame, measures, verdict.

    Raises
    ------
    InputError
        If the frames, the recipe, the reference or the device cannot be used.
    RegistrationError
        If no frame could be registered, or memory runs out.
    CancelledError
        If `cancel` returned true; what was found stays in the store.
    """
    given = read_frames(frames)
    chosen = load_recipe(recipe)
    sigma = _checked_smoothing(smoothing, chosen)
    running = Running(chosen, device, seed, store or MemoryStore(), progress, cancel or _never)
    clock = _Clock()
    with clock.step("look"):
        running.tell("read", 0.0)
        looks = look_at(given, running.poll)
        index = _reference_index(reference, given, looks)
        found_cyclic = is_cyclic(given, looks) if cyclic is None else cyclic
    decisions = [_told_reference(reference, given, index), _told_cycle(found_cyclic, given=cyclic is not None)]
    if reference == MEAN:
        with clock.step("mean"):
            anchor, found, shifts = _to_the_mean(running, given, index, found_cyclic)
        decisions.append(
            "The mean of all frames is the reference; its shape was moved by "
            + ", then ".join(f"{shift:.2f} mm" for shift in shifts)
            + " on average, so that no frame is favoured."
        )
    else:
        anchor = prepared_reference(given[index].read(), running)
        with clock.step("register"):
            found = _chain(running, given, anchor, index, found_cyclic, span=(LOOKING, 1 - FINISHING))
    with clock.step("finish"):
        finished = _finish(
            running,
            _Work(given, anchor, found, None if reference == MEAN else index, found_cyclic, sigma),
        )
    running.tell("judge", 1.0)
    verdict, warnings = _judged(finished.rows)
    return SeriesRegistration(
        frames=given,
        reference=anchor.image,
        reference_index=None if reference == MEAN else index,
        foreground=standard_order(anchor.image.geometry).back(anchor.foreground, geometry=anchor.image.geometry),
        transforms=finished.transforms,
        inverses=finished.inverses,
        rows=finished.rows,
        cyclic=found_cyclic,
        smoothing=sigma,
        roughness_before=finished.roughness_before,
        roughness_after=finished.roughness_after,
        motion=None if chosen.deformable.enabled else rigid_motion(finished.transforms, anchor.image.geometry.centre),
        verdict=verdict,
        recipe=chosen,
        warnings=(*given.remarks, *anchor.scan.warnings, *warnings),
        decisions=tuple(decisions),
        timings=clock.timings,
        provenance={
            "versions": versions(),
            "device": str(choose_device(device)),
            "seed": seed,
            "reference_sha256": anchor.sha256,
        },
    )


def _never() -> bool:
    return False


class _Clock:
    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._name, self._begun = "", 0.0

    def step(self, name: str) -> _Clock:
        self._name = name
        return self

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.timings[self._name] = time.perf_counter() - self._begun


def _checked_smoothing(smoothing: float | None, recipe: Recipe) -> float:
    if smoothing is None:
        return SMOOTHING if recipe.deformable.enabled else 0.0
    if not 0 <= smoothing <= 10:
        raise InputError(f"The smoothing over time is {smoothing:g}.", "Give 0 (off) to 10 frame intervals.")
    if smoothing > 0 and not recipe.deformable.enabled:
        raise InputError(
            f"The recipe {recipe.name} is linear, and the motion of a rigid body is not smoothed over time.",
            "Leave out the smoothing, or take a recipe with a deformable stage.",
        )
    return smoothing


def _reference_index(reference: int | str, frames: Frames, looks: Looks) -> int:
    if isinstance(reference, str):
        if reference not in (AUTO, MEAN):
            raise InputError(
                f"There is no reference {reference[:40]!r}.", f"Give the number of a frame, {AUTO!r} or {MEAN!r}."
            )
        return central_frame(looks)
    if not 0 <= reference < len(frames):
        raise InputError(
            f"There is no frame {reference}: {frames.name} has the frames 0 to {len(frames) - 1}.",
            "Give one of these numbers.",
        )
    return reference


def _told_reference(reference: int | str, frames: Frames, index: int) -> str:
    if reference == AUTO:
        return f"Reference: frame {index} ({frames[index].name}), sharp and in the middle of the motion."
    if reference == MEAN:
        return f"Frame {index} ({frames[index].name}) gave the mean its grid."
    return f"Reference: frame {index} ({frames[index].name}), as asked for."


def _told_cycle(cyclic: bool, *, given: bool) -> str:
    why = "as was said" if given else "which was found from the images or their phases"
    return f"The last frame {'leads' if cyclic else 'does not lead'} to the first, {why}."


def _clock_of(frames: Frames, cyclic: bool) -> Clock:
    times = frames.times
    if not cyclic:
        return Clock(times, None)
    round_trip = 100.0 if frames.unit == PERCENT else float(np.ptp(times) + np.median(np.diff(times)))
    return Clock(times, max(round_trip, float(np.ptp(times)) + 1e-6))


def _order(count: int, index: int, cyclic: bool) -> list[tuple[int, list[int]]]:
    """Return in which order frames are registered, and the neighbours that each may start from."""
    apart = [min(abs(n - index), count - abs(n - index)) if cyclic else abs(n - index) for n in range(count)]
    order = sorted((n for n in range(count) if n != index), key=lambda n: (apart[n], n))
    done = {index}
    result = []
    for n in order:
        beside = [(n - 1) % count, (n + 1) % count] if cyclic else [n - 1, n + 1]
        result.append((n, [other for other in dict.fromkeys(beside) if other in done]))
        done.add(n)
    return result


def _chain(
    running: Running,
    frames: Frames,
    anchor: Reference,
    index: int,
    cyclic: bool,
    span: tuple[float, float],
) -> list[Found]:
    """Register every frame but the reference, outward from it."""
    still = LinearTransform.identity()
    found: dict[int, Found] = {index: Found(still, Verdict(OK, ()), 0.0)}
    order = _order(len(frames), index, cyclic)
    for number, (n, neighbours) in enumerate(order):
        share = (span[1] - span[0]) / len(order)
        stage, begin = f"frame {number + 2} of {len(frames)}", span[0] + number * share
        running.tell(stage, begin)
        starts = [start for other in neighbours if other != index and (start := found[other].transform) is not None]
        found[n] = register_member(
            running,
            anchor,
            frames[n].read(),
            frame_folder(n),
            starts or [still],
            near=bool(starts),
            progress=running.part(stage, begin, share),
        )
    return [found[n] for n in range(len(frames))]


def _to_the_mean(
    running: Running, frames: Frames, index: int, cyclic: bool
) -> tuple[Reference, list[Found], list[float]]:
    """Register all frames to their mean: again and again to the present mean, whose shape is then made theirs."""
    anchor = prepared_reference(frames[index].read(), running)
    edges = np.linspace(LOOKING, 1 - FINISHING, MEAN_PASSES + 2)
    found = _chain(running, frames, anchor, index, cyclic, span=(edges[0], edges[1]))
    shifts = []
    for number in range(MEAN_PASSES):
        found, shift = _freed(running, found, anchor)
        shifts.append(shift)
        members = (
            (frames[n].read(), each.transform, 1.0) for n, each in enumerate(found) if each.transform is not None
        )
        mean = mean_image(members, anchor.image.geometry, "the mean of all frames", running.poll)
        anchor = prepared_reference(mean.image, running)
        begin, share = edges[number + 1], (edges[number + 2] - edges[number + 1]) / len(frames)
        again = []
        for n, each in enumerate(found):
            stage = f"frame {n + 1} of {len(frames)}"
            running.tell(stage, begin + n * share)
            again.append(
                register_member(
                    running,
                    anchor,
                    frames[n].read(),
                    f"{frame_folder(n)}/pass_{number + 1}",
                    [] if each.transform is None else [each.transform],
                    near=each.transform is not None,
                    progress=running.part(stage, begin + n * share, share),
                )
            )
        found = again
    found, shift = _freed(running, found, anchor)
    return anchor, found, [*shifts, shift]


def _freed(running: Running, found: Sequence[Found], anchor: Reference) -> tuple[list[Found], float]:
    known = [each.transform for each in found if each.transform is not None]
    _require_some(found)
    grid = common_grid(known, anchor.image.geometry)
    device = str(choose_device(running.device))
    freed, shift = centred(known, [1.0] * len(known), grid, device, running.poll)
    rest = iter(freed)
    return [each if each.transform is None else replace(each, transform=next(rest)) for each in found], shift


def _require_some(found: Sequence[Found]) -> None:
    if all(each.transform is None for each in found):
        raise RegistrationError(
            f"None of the {len(found)} frames could be registered ({found[0].verdict.reasons[0]}).",
            "Check that all show the same anatomy.",
        )


@dataclass(frozen=True, eq=False)
class _Work:
    frames: Frames
    anchor: Reference
    found: list[Found]
    index: int | None
    cyclic: bool
    sigma: float


@dataclass(frozen=True, eq=False)
class _Finished:
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


def _finish(running: Running, work: _Work) -> _Finished:
    """Make the displacements smooth in time, invert, measure, and keep, frame by frame."""
    if len([each for n, each in enumerate(work.found) if n != work.index and each.transform is not None]) == 0:
        _require_some([each for n, each in enumerate(work.found) if n != work.index])
    known = _trusted(work)
    smoothed = _smoothed_fields(running, work, known)
    paths = _Paths(points_inside(work.anchor.foreground, running.seed))
    device = str(choose_device(running.device))
    rows, names = [], []
    for n, each in enumerate(work.found):
        running.tell("inverse", 1 - FINISHING * (1 - n / len(work.found)))
        transform = smoothed(n)
        inverse = invert(transform, device=device, poll=running.poll)
        frame = work.frames[n]
        rows.append(
            frame_row(n, frame, each, work.anchor, transform, inverse, not known[n], paths.points, running.poll)
        )
        paths.before.append((each.transform if each.transform is not None else transform).apply_to_points(paths.points))
        paths.after.append(transform.apply_to_points(paths.points))
        names.append(frame_folder(n))
        running.store.finish(names[-1], transform, inverse)
    transforms, inverses = running.store.finished(names)
    rough = [roughness(np.stack(each), cyclic=work.cyclic) for each in (paths.before, paths.after)]
    return _Finished(transforms, inverses, tuple(rows), *rough)


def _trusted(work: _Work) -> NDArray[np.bool_]:
    """Tell which frames' own transforms count: those found; if most are trusted, those trusted."""
    there = np.array([each.transform is not None for each in work.found])
    trusted = there & np.array([each.verdict.level != FAILED for each in work.found])
    return trusted if 2 * trusted.sum() > len(trusted) else there


def _smoothed_fields(running: Running, work: _Work, known: NDArray[np.bool_]) -> functools.partial[Transform]:
    """Return what gives the final transform of a frame by its number."""
    clock = _clock_of(work.frames, work.cyclic)
    if not running.recipe.deformable.enabled:
        return functools.partial(_nearest_linear, work.found, clock, known)
    transforms = [each.transform for each in work.found]
    grid = common_grid([each for each in transforms if each is not None], work.anchor.scan.side.original.geometry)

    @functools.lru_cache(maxsize=KEPT_FIELDS)
    def field_by_number(number: int) -> Field:
        transform = transforms[number]
        assert transform is not None  # noqa: S101  # for mypy: only known frames are asked for
        return field_of(transform, grid, running.poll)

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
    transform = found[int(np.argmin(apart))].transform
    assert transform is not None  # noqa: S101  # for mypy: it is known
    return transform


def _judged(rows: Sequence[FrameRow]) -> tuple[Verdict, tuple[str, ...]]:
    """Judge a series: by its worst frames, which are named."""
    failed = [row.name for row in rows if row.verdict.level == FAILED]
    unsure = [row.name for row in rows if row.verdict.level == CHECK]
    bridged = [row.name for row in rows if row.bridged]
    reasons = []
    if failed:
        reasons.append(f"{len(failed)} of {len(rows)} frames could not be registered or trusted: {_listed(failed)}.")
    if unsure:
        reasons.append(f"{len(unsure)} of {len(rows)} frames are in doubt: {_listed(unsure)}.")
    warnings = (
        (f"These frames have the displacement of their neighbours in time: {_listed(bridged)}.",) if bridged else ()
    )
    if 2 * len(failed) > len(rows):
        return Verdict(FAILED, tuple(reasons)), warnings
    return Verdict(CHECK if reasons else OK, tuple(reasons)), warnings


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
