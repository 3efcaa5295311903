"""A first field for motion larger than what moves, from which the deformable stage starts."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.cost_volume import find_large_motion
from DeepRegLib.optimization.deformable import Level, transfer_field
from DeepRegLib.stages.deformable import StartField
from DeepRegLib.stages.run import Run


def large_motion_field(run: Run, level: Level) -> StartField:
    """Find a field without folds and return the function that gives it on a grid, in voxels of that grid.

    Parameters
    ----------
    run
        Whose recipe says how far to look.
    level
        The finest level of the deformable stage with its rim, the moving image brought there by the linear transform.
    """
    fixed = level.fixed if level.rim is None else replace(level.fixed, weight=level.fixed.weight * level.rim)
    inside = Level(fixed, level.moving)
    field, nodes = find_large_motion(inside, run.recipe.large_motion, on_step=run.monitor.step, poll=run.monitor.poll)

    def start(grid: Geometry) -> Tensor:
        return transfer_field(field, nodes, grid)

    return start
