"""register_series(): each frame registered from its neighbour's result, then made smooth in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from DeepRegLib.devices import choose_device
from DeepRegLib.errors import InputError
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.orientation import standard_order
from DeepRegLib.recipes import AUTO, Recipe, load_recipe
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.series.chain import registered_outward, registered_to_the_mean
from DeepRegLib.series.finishing import FINISHING, Work, finished
from DeepRegLib.series.frames import Frames, Source, read_frames
from DeepRegLib.series.looking import FrameOverview, central_frame, is_cyclic, look_at
from DeepRegLib.series.low_rank import refined_by_rank
from DeepRegLib.series.members import Running, prepared_reference
from DeepRegLib.series.result import FrameRow, SeriesRegistration
from DeepRegLib.series.rigid_motion import rigid_motion
from DeepRegLib.series.stores import MemoryStore, Store
from DeepRegLib.versions import versions

MEAN = "mean"
SMOOTHING = 0.5  # frame intervals: on a breathing liver 1.07 mm without, 0.99 mm with it
MOST_NAMED = 6
LOOKING = 0.03  # of the progress


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
    running = Running(chosen, device, seed, store or MemoryStore(), progress, cancel)
    clock = _Clock()
    with clock.step("look"):
        running.tell("frames", 0.0)
        looks = look_at(given, running.poll)
        index = _reference_index(reference, given, looks)
        found_cyclic = is_cyclic(given, looks) if cyclic is None else cyclic
    decisions = [_told_reference(reference, given, index), _told_cycle(found_cyclic, given=cyclic is not None)]
    # Two more times through all frames for those of changing contrast.
    rank = chosen.series.low_rank
    span = (LOOKING, (1 - FINISHING) / 2 if rank else 1 - FINISHING)
    if reference == MEAN:
        with clock.step("mean"):
            anchor, found, shifts = registered_to_the_mean(running, given, index, found_cyclic, span)
        decisions.append(
            "The mean of all frames is the reference; its shape was moved by "
            + ", then ".join(f"{shift:.2f} mm" for shift in shifts)
            + " on average, so that no frame is favoured."
        )
    else:
        anchor = prepared_reference(given[index].read(), running)
        with clock.step("register"):
            found = registered_outward(running, given, anchor, index, found_cyclic, span)
    if rank:
        with clock.step("low rank"):
            found = refined_by_rank(
                running, given, anchor, found, None if reference == MEAN else index, (span[1], 1 - FINISHING)
            )
        decisions.append(_told_rank(rank))
    with clock.step("finish"):
        done = finished(
            running,
            Work(given, anchor, found, None if reference == MEAN else index, found_cyclic, sigma),
        )
    running.tell("judge", 1.0)
    verdict, warnings = _judged(done.rows)
    return SeriesRegistration(
        frames=given,
        reference=anchor.image,
        reference_index=None if reference == MEAN else index,
        foreground=standard_order(anchor.image.geometry).back(anchor.foreground, geometry=anchor.image.geometry),
        transforms=done.transforms,
        inverses=done.inverses,
        rows=done.rows,
        cyclic=found_cyclic,
        smoothing=sigma,
        roughness_before=done.roughness_before,
        roughness_after=done.roughness_after,
        motion=None if chosen.deformable.enabled else rigid_motion(done.transforms, anchor.image.geometry.centre),
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


def _reference_index(reference: int | str, frames: Frames, looks: FrameOverview) -> int:
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
    # Names often count from 1, as a user does who scrolls; the number is what the option takes.
    named = f"{frames[index].name} ({index} counted from 0)"
    if reference == AUTO:
        return f"Reference: {named}, sharp and in the middle of the motion."
    if reference == MEAN:
        return f"{named[:1].upper()}{named[1:]} gave the mean its grid."
    return f"Reference: {named}, as asked for."


def _told_rank(components: int) -> str:
    kept = f"{components} principal component{'s' if components != 1 else ''}"
    return f"Contrast changes: each frame was registered to the mean and {kept} of all."


def _told_cycle(cyclic: bool, *, given: bool) -> str:
    why = "as was said" if given else "which was found from the images or their phases"
    return f"The last frame {'leads' if cyclic else 'does not lead'} to the first, {why}."


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
