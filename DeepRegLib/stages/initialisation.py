"""Where the descent starts: from what coarse levels come to, from what was searched for, or from what is predicted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.deformable import (
    DeformableFit,
    Level,
    displacement_of,
    register_deformable,
    transfer_field,
)
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.velocity import logarithm
from DeepRegLib.recipes import LNCC_NGF, VELOCITY, Recipe
from DeepRegLib.stages.candidates import FieldFunction, better_of
from DeepRegLib.stages.contrast import map_contrasts_again
from DeepRegLib.stages.run import REPORT_EVERY, Run

# Of the progress of the deformable stage, where contrasts are learned again, or levels begun from a given field.
LEARNING_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Initialisation:
    """The initialisation of the deformable stage: where the descent starts.

    Parameters
    ----------
    field
        The field to start from, as `parametrised` returns it; None for zero.
    level
        The number of the first level that is still to be solved.
    within_capture_range
        Whether a search, or the levels already solved, found nothing that moved further than these can capture.
    done
        How much of the deformable stage is already done, for the progress.
    """

    field: FieldFunction | None = None
    level: int = 0
    within_capture_range: bool = False
    done: float = 0.0


def parametrised(run: Run, field: FieldFunction | None) -> FieldFunction | None:
    """Return a displacement in the parametrisation of the recipe: itself, or the velocity whose flow it is."""
    return _as_velocity(run, field) if field and run.recipe.deformable.parametrisation == VELOCITY else field


def coarse_levels(recipe: Recipe) -> int:
    """Return how many levels are coarser than the search for large motion; one at least is not counted."""
    coarser = sum(shrink > recipe.large_motion.shrink[-1] for shrink in recipe.deformable.shrink)
    return min(coarser, len(recipe.deformable.shrink) - 1)


def from_coarse_levels(run: Run, levels: Sequence[Level], end: float = 1.0) -> Initialisation:
    """Solve the levels coarser than the search for large motion from zero; return where that leads.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    levels
        Coarse to fine.
    end
        How much of the present stage is done then, for the progress.
    """
    coarse = coarse_levels(run.recipe)
    if coarse == 0:
        return Initialisation()
    return Initialisation(_as_function(_solve_levels(run, levels, slice(coarse), None, end=end)), coarse)


def within_reach(start: Initialisation) -> Initialisation:
    """Return the initialisation of a run in which nothing has moved further than its levels or its search reach."""
    return replace(start, within_capture_range=True)


def from_given(
    run: Run, finest: Level, levels: Sequence[Level], given: FieldFunction
) -> tuple[Sequence[Level], Initialisation]:
    """Begin on the finest level from a field that is given, or from what coarser levels make of it if that is better.

    A level is blind to what is smaller than its voxels: all of them, begun from a good field, led a liver from 2.28 to
    4.28 mm. Those coarser than the search for large motion are left out, as the field has already come that far. The
    levels come back with contrasts learned where the field aligns the scans, if the recipe compares those.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    finest
        As `map_contrasts_again` takes it.
    levels
        Coarse to fine.
    given
        As `parametrised` returns it.
    """
    last = len(levels) - 1
    first = coarse_levels(run.recipe)
    if run.recipe.deformable.similarity == LNCC_NGF:
        displacement = displacement_of(run.recipe.deformable, given(field_grid(finest.fixed.geometry)))
        levels = map_contrasts_again(run, finest, levels, displacement) or levels
    if first == last:
        return levels, Initialisation(given, last)
    solved = _as_function(_solve_levels(run, levels, slice(first, last), given, end=LEARNING_SHARE))
    better = better_of(run, levels, last, given, solved, "Coarser levels, begun from the field given")
    return levels, Initialisation(better, last, done=LEARNING_SHARE)


def with_searched_if_better(
    run: Run, levels: Sequence[Level], start: Initialisation, searched: FieldFunction
) -> Initialisation:
    """Return the initialisation with the displacement searched for if that matches clearly better.

    It is taken if no level has been solved, too.
    """
    field = parametrised(run, searched)
    if start.level == 0:
        return replace(start, field=field)
    better = better_of(run, levels, start.level, start.field, field, "Search for large motion")
    return replace(start, field=better, within_capture_range=better is not field)


def with_predicted_if_better(
    run: Run, levels: Sequence[Level], start: Initialisation, predicted: FieldFunction
) -> Initialisation:
    """Return the initialisation with the displacement that a model predicts if that matches better."""
    field = parametrised(run, predicted)
    better = better_of(run, levels, start.level, start.field, field, "The model's field")
    return replace(start, field=better)


def with_contrasts_mapped_again(
    run: Run, finest: Level, levels: Sequence[Level], start: Initialisation
) -> tuple[Sequence[Level], Initialisation]:
    """Solve all levels but the finest, and learn there again what either image looks like in the other's contrast.

    What was learned after the linear stage is mixed with what lies beside it. Where that changes much, the next to
    finest level is left to be solved again, from where it led. Levels and start come back as they are where the
    recipe compares no learned contrasts, or has no level to learn on.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    finest
        As `map_contrasts_again` takes it.
    levels
        Coarse to fine.
    start
        Where to start.
    """
    again = len(levels) - 2
    if run.recipe.deformable.similarity != LNCC_NGF or start.level > again:
        return levels, start
    fit = _solve_levels(run, levels, slice(start.level, again + 1), start.field, end=LEARNING_SHARE)
    field = transfer_field(fit.field, fit.geometry, field_grid(finest.fixed.geometry))
    better = map_contrasts_again(run, finest, levels[again:], displacement_of(run.recipe.deformable, field))
    left = replace(start, field=_as_function(fit), done=LEARNING_SHARE)
    if better is None:
        return levels, replace(left, level=again + 1)
    return [*levels[:again], *better], replace(left, level=again)


def solve_levels(run: Run, levels: Sequence[Level], start: Initialisation) -> DeformableFit:
    """Solve the levels that are left.

    With ``parametrisation = "velocity"`` the field found is a velocity.
    """
    return _solve_levels(run, levels, slice(start.level, None), start.field, start.done)


def _solve_levels(
    run: Run, levels: Sequence[Level], part: slice, start: FieldFunction | None, begin: float = 0.0, end: float = 1.0
) -> DeformableFit:
    recipe = run.recipe.deformable
    chosen = replace(recipe, shrink=recipe.shrink[part], iterations=recipe.iterations[part])
    report = _reporter(run, levels[part], chosen.iterations, begin, end)
    fit = register_deformable(levels[part], chosen, start=start, on_step=report, poll=run.monitor.poll)
    for number, curve in enumerate(fit.curves, start=1 + (part.start or 0)):
        run.log.add_curve(f"deformable {number}", curve)
    return fit


def _as_function(fit: DeformableFit) -> FieldFunction:
    """Return the function that gives what was found so far on a grid."""

    def field(geometry: Geometry) -> Tensor:
        return transfer_field(fit.field, fit.geometry, geometry)

    return field


def _reporter(
    run: Run, levels: Sequence[Level], iterations: Sequence[int], begin: float, end: float
) -> Callable[[int, int, Tensor], None]:
    costs = [level.fixed.intensity.numel() * n for level, n in zip(levels, iterations, strict=True)]

    def report(level: int, iteration: int, similarity: Tensor) -> None:
        if iteration % REPORT_EVERY:
            run.monitor.poll()
            return
        done = sum(costs[:level]) + costs[level] * iteration / max(iterations[level], 1)
        run.monitor.step(begin + (end - begin) * done / max(sum(costs), 1), float(similarity.max()))

    return report


def _as_velocity(run: Run, start: FieldFunction) -> FieldFunction:
    """Turn a function that gives a displacement into one that gives the velocity behind it.

    Kept beside a velocity v, as exp(v) o start, a start would need an inverse of its own, which can only be solved
    numerically; so it is replaced by the flow that comes nearest to it.
    """
    told: list[Geometry] = []  # said once, of the first grid it is asked for on

    @functools.cache
    def velocity(geometry: Geometry) -> Tensor:
        found = logarithm(start(geometry), poll=run.monitor.poll)
        mean, largest = (float(error * geometry.spacing[0]) for error in (found.mean_error, found.largest_error))
        if not told:
            run.log.add_decision(
                f"Start: a flow that ends {mean:.2g} mm from the field given on average, {largest:.2g} mm at most."
            )
            told.append(geometry)
        return found.velocity

    return velocity
