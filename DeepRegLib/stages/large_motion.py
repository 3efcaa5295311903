"""A first field for motion larger than what moves, from which the deformable stage starts."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.cost_volume import find_large_motion
from DeepRegLib.optimization.deformable import Level, transfer_field
from DeepRegLib.recipes import Recipe
from DeepRegLib.stages.candidates import FieldFunction
from DeepRegLib.stages.run import Run


def large_motion_field(run: Run, level: Level, begin: float = 0.0) -> FieldFunction:
    """Find a field without folds and return the function that gives it on a grid, in voxels of that grid.

    Parameters
    ----------
    run
        Whose recipe says how far to look.
    level
        The finest level of the deformable stage with its foreground weight, the moving image brought there by the
        linear transform.
    begin
        How much of the present stage is already done, for the progress.
    """
    weight = level.fixed.weight if level.foreground is None else level.fixed.weight * level.foreground
    # What is compared has to survive a change of contrast anyway.
    inside = Level(replace(level.fixed, weight=weight, mapped=None), replace(level.moving, mapped=None))

    def report(fraction: float) -> None:
        run.monitor.step(begin + (1 - begin) * fraction)

    field, nodes = find_large_motion(inside, run.recipe.large_motion, on_step=report, poll=run.monitor.poll)

    def start(grid: Geometry) -> Tensor:
        return transfer_field(field, nodes, grid)

    return start


def looks_everywhere(recipe: Recipe, finest: Level) -> bool:
    """Tell whether the search reaches, from each place, to half the width of the anatomy on the finest level.

    It leaves a model nothing to add then: on hippocampi the model's field was never needed.
    """
    search = recipe.large_motion
    reach = sum(shrink * radius for shrink, radius in zip(search.shrink, search.radius, strict=True))
    return 2 * reach >= max(finest.fixed.geometry.size)
