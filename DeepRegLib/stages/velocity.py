"""The deformable stage with a stationary velocity: its flow is the displacement, its flow backwards the inverse."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.evaluation import JacobianStatistics, folds_and_statistics
from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.deformable import Level, transfer_field
from DeepRegLib.optimization.regularity import LEAST_DETERMINANT, corner_determinants, smooth_locally
from DeepRegLib.optimization.velocity import exponential, squarings_for
from DeepRegLib.stages.deformable import Deformed, cells_at, continued, to_displacement_field
from DeepRegLib.stages.initialisation import Initialisation, solve_levels
from DeepRegLib.stages.inverse import consistency, is_exact
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, compose
from DeepRegLib.transforms.sampling import identity_grid

logger = logging.getLogger(__name__)

# Between voxels both flows are interpolated, an error that a finer grid makes smaller in both alike.
FLOW_REFINEMENTS = (1, 2, 3)
# Voxels of the finer ones; computing a flow takes about 80 bytes each.
LARGEST_FLOW = 20_000_000
REPAIR_ROUNDS = 40
ROUNDS_A_REACH = 4


def deform_by_flow(run: Run, levels: Sequence[Level], linear: LinearTransform, start: Initialisation) -> Deformed:
    """Find the velocity v and return x -> linear(exp(v)(x)), without folds, and its inverse.

    Both are on the coarsest grid on which they undo each other as an inverse should; on the coarsest of all where they
    do so on none. The parameters are those of `deform`.
    """
    fit = solve_levels(run, levels, start)
    velocity, geometry = continued(fit.field, fit.geometry, run.pair.fixed.original.geometry)
    coarsest: Deformed | None = None
    for refinement in FLOW_REFINEMENTS:
        if coarsest and np.prod(geometry.size) * refinement**3 > LARGEST_FLOW:
            break
        there, back, jacobian = _flows(run, velocity, geometry, refinement, linear)
        found = Deformed(there, back, jacobian)
        if is_exact(consistency(run, there, back)):
            return found
        coarsest = coarsest or found
    assert coarsest is not None  # noqa: S101  # for mypy: there are refinements
    return coarsest


def _flows(
    run: Run, velocity: Tensor, geometry: Geometry, refinement: int, linear: LinearTransform
) -> tuple[Transform, Transform, JacobianStatistics | None]:
    """Return the flow on a finer grid before the linear transform, both backwards, and what the first does to space.

    Where the flow would fold, the velocity is smoothed first.
    """
    fixed, foreground = run.pair.fixed.original.geometry, run.pair.fixed.foreground
    grid = geometry if refinement == 1 else geometry.resized(geometry.spacing[0] / refinement)
    jacobian: JacobianStatistics | None = None
    for attempt in range(REPAIR_ROUNDS):
        run.monitor.poll()
        flow = _flow(run, velocity, geometry, grid)
        there = to_displacement_field(flow, grid)
        places = _nearly_folded(flow, grid)
        if not len(places):
            run.monitor.poll()
            folded, jacobian = folds_and_statistics(compose(there, linear), fixed, foreground, poll=run.monitor.poll)
            places = fixed.to_world(np.argwhere(folded)[:, ::-1])
        if not len(places):
            break
        jacobian = None
        logger.info("Round %d: the flow folds or nearly does at %d places.", attempt + 1, len(places))
        cells = _cells_on_the_way(places, there, geometry)
        velocity = smooth_locally(velocity, cells.to(velocity.device), reach=1 + attempt // ROUNDS_A_REACH)
    back = to_displacement_field(_flow(run, -velocity, geometry, grid), grid)
    return compose(there, linear), compose(linear.inverse(), back), jacobian


def _flow(run: Run, velocity: Tensor, geometry: Geometry, grid: Geometry) -> Tensor:
    finer = transfer_field(velocity, geometry, grid)
    return exponential(finer, squarings_for(finer), identity_grid(grid.shape, finer.device), poll=run.monitor.poll)


def _nearly_folded(flow: Tensor, grid: Geometry) -> NDArray[np.float64]:
    """Return the middles of the cells in which a flow on a grid folds or nearly does, ``(n, 3)``, mm."""
    low = (corner_determinants(flow) < LEAST_DETERMINANT).cpu().numpy()
    return grid.to_world(np.argwhere(low)[:, ::-1] + 0.5)


def _cells_on_the_way(points: NDArray[np.float64], there: DisplacementField, geometry: Geometry) -> Tensor:
    """Mark the cells of the velocity's grid that points ``(n, 3)`` pass: somewhere there space was squeezed."""
    way = there.displacement_at(points)
    steps = 1 + int(np.ceil(np.linalg.norm(way, axis=1).max() / geometry.spacing[0]))
    marked = [cells_at(geometry.to_index(points + way * n / steps), geometry, geometry) for n in range(steps + 1)]
    return torch.stack(marked).any(0)
