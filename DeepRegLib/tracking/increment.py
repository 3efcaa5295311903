"""What has moved since the last scan, found on coarse levels and put before the last transform."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from DeepRegLib.optimization.deformable import displacement_of, register_deformable
from DeepRegLib.stages.deformable import continued, to_displacement_field
from DeepRegLib.stages.levels import finest_grid, level_on, pyramid, with_deformable_similarity, with_useful_levels
from DeepRegLib.stages.run import REPORT_EVERY, Run
from DeepRegLib.transforms import Transform, compose

COARSER = 2.0  # than the finest level
SHRINK, ITERATIONS = (2, 1), (20, 15)


def moved_on(run: Run, last: Transform) -> tuple[Transform, Run]:
    """Return the last transform after what has moved since, x -> last(x + d(x)).

    Coarse levels are blind to what is smaller than their voxels. So they look at the new scan as the last transform
    brings it there, and find what is left: what that transform knew of small things stays.

    Parameters
    ----------
    run
        The new pair; its deformable similarity is decided on the way.
    last
        Fixed points to where the scan lies about.
    """
    grid = finest_grid(run)
    level = level_on(run, grid.resized(COARSER * grid.spacing[0]), last)
    decided, level = with_deformable_similarity(run, level)
    deformable = replace(decided.recipe.deformable, shrink=SHRINK, iterations=ITERATIONS)
    coarse = with_useful_levels(decided.with_recipe(replace(decided.recipe, deformable=deformable)), level)
    chosen = coarse.recipe.deformable

    def report(_level: int, iteration: int, _similarity: Tensor) -> None:
        if iteration % REPORT_EVERY == 0:
            run.monitor.poll()

    fit = register_deformable(pyramid(coarse, level, chosen.shrink), chosen, on_step=report, poll=run.monitor.poll)
    run.log.add_curve("since the last scan", fit.curves[-1])
    field, geometry = continued(displacement_of(chosen, fit.field), fit.geometry, run.pair.fixed.original.geometry)
    return compose(to_displacement_field(field, geometry), last), decided
