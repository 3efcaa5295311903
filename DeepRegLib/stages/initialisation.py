"""Where the descent starts: from what coarse levels come to, from what was searched for, or from what is predicted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.deformable import (
    DeformableFit,
    Level,
    displacement_of,
    match,
    register_deformable,
    transfer_field,
)
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.velocity import logarithm
from DeepRegLib.recipes import LNCC_NGF, VELOCITY, Recipe
from DeepRegLib.stages.contrast import map_contrasts_again
from DeepRegLib.stages.run import REPORT_EVERY, Run

# Gives a field in voxels of the grid it is called with, ``(3, D, H, W)``.
FieldFunction = Callable[[Geometry], Tensor]

# A search looks so far that it also finds matches by accident: it must be better by this share.
CLEARLY_BETTER = 0.015
# A network proposes one field only, so any gain counts that is more than rounding.
SLIGHTLY_BETTER = 0.001
# Where the search matches worse by this share, nothing has moved further than the coarse levels reach. Of 24 pairs, a
# network's field was better on four, and on none of them was the search worse by more than 2.1 %.
CLEARLY_WORSE = 0.025

# Of the progress of the deformable stage, where contrasts are learned again.
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
        Whether a search has shown that nothing moved further than the levels already solved can capture.
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


def from_coarse_levels(run: Run, levels: Sequence[Level], begin: float = 0.0) -> Initialisation:
    """Solve the levels coarser than the search for large motion from zero; return where that leads.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    levels
        Coarse to fine.
    begin
        How much of the present stage is already done, for the progress.
    """
    coarse = coarse_levels(run.recipe)
    if coarse == 0:
        return Initialisation()
    return Initialisation(_as_function(_solve_levels(run, levels, slice(coarse), None, begin)), coarse)


def with_searched_if_better(
    run: Run, levels: Sequence[Level], start: Initialisation, searched: FieldFunction
) -> Initialisation:
    """Return the initialisation with the displacement searched for if that matches clearly better.

    It is taken if no level has been solved, too.
    """
    field = parametrised(run, searched)
    if start.level == 0:
        return replace(start, field=field)
    better, gain = _better_of(run, levels[start.level], start.field, field, "Search for large motion", CLEARLY_BETTER)
    return replace(start, field=better, within_capture_range=gain < -CLEARLY_WORSE)


def with_predicted_if_better(
    run: Run, levels: Sequence[Level], start: Initialisation, predicted: FieldFunction
) -> Initialisation:
    """Return the initialisation with the displacement that a model predicts if that matches better."""
    field = parametrised(run, predicted)
    better, _ = _better_of(run, levels[start.level], start.field, field, "The model's field", SLIGHTLY_BETTER)
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


def _better_of(
    run: Run, level: Level, so_far: FieldFunction | None, other: FieldFunction | None, what: str, margin: float
) -> tuple[FieldFunction | None, float]:
    """Return the other field if it matches better than that so far by more than a share, and by what share it does.

    Which was taken and why is noted.
    """
    grid = field_grid(level.fixed.geometry)
    still = torch.zeros(3, *grid.shape, device=level.fixed.device)
    fields = (still if field is None else field(grid) for field in (so_far, other))
    before, after = (match(level, field, run.recipe.deformable) for field in fields)
    gain = (after - before) / max(abs(before), 1e-6)
    better = gain > margin
    reason = f"similarity {after:.3f} with it, {before:.3f} without"
    run.log.add_decision(f"{what}: {'used' if better else 'not needed'} ({reason}).")
    return other if better else so_far, gain


def _as_velocity(run: Run, start: FieldFunction) -> FieldFunction:
    """Turn a function that gives a displacement into one that gives the velocity behind it.

    Kept beside a velocity v, as exp(v) o start, a start would need an inverse of its own, which can only be solved
    numerically; so it is replaced by the flow that comes nearest to it.
    """

    @functools.cache
    def velocity(geometry: Geometry) -> Tensor:
        found = logarithm(start(geometry), poll=run.monitor.poll)
        mean, largest = (float(error * geometry.spacing[0]) for error in (found.mean_error, found.largest_error))
        run.log.add_decision(
            f"Start: a flow that ends {mean:.2g} mm from the field given on average, {largest:.2g} mm at most."
        )
        return found.velocity

    return velocity
