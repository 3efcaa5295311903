"""Whether the patient as a whole has moved since the last scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.optimization.deformable import match
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.recipes import AUTO, FEATURES, LNCC_NGF, Deformable
from DeepRegLib.stages.linear import refine_linear
from DeepRegLib.stages.run import Run, aligned_level, working_grid, working_pair
from DeepRegLib.transforms import LinearTransform, Transform, compose, linear_part

VOXELS = 60_000
ITERATIONS = 20  # what is missing lies near
# What cannot be compared on images that are aligned but not yet described or given each other's contrast.
NEEDS_MORE = (AUTO, FEATURES, LNCC_NGF)
SMALL = 0.2  # working voxels that are not worth a comparison


def better_start(run: Run, last: Transform) -> tuple[Transform, Run]:
    """Return the last transform, or that followed by a rigid motion of the patient if it matches better.

    Parameters
    ----------
    run
        The new pair; its linear similarity is decided on the way.
    last
        Fixed points to the points of the last moving scan.

    Raises
    ------
    RegistrationError
        If the images do not overlap where the last scan lay.
    """
    wanted, earlier = run.recipe.linear, linear_part(last).matrix
    rigid = replace(wanted, model="rigid", voxels=VOXELS, iterations=min(wanted.iterations, ITERATIONS))
    coarse = run.with_recipe(replace(run.recipe, linear=rigid))
    found, decided = refine_linear(coarse, working_pair(coarse), [earlier])
    linear = replace(wanted, similarity=decided.recipe.linear.similarity)
    run = run.with_recipe(replace(run.recipe, linear=linear))
    grid = working_grid(run.pair.fixed.original.geometry, VOXELS)
    motion = found.matrix @ np.linalg.inv(earlier)
    moved_by = _longest(motion, linear_part(last).apply_to_points(grid.corners()))
    if moved_by < SMALL * grid.spacing[0]:
        return last, run
    moved = compose(last, LinearTransform(motion))
    stays, moves = (_match(run, each) for each in (last, moved))
    taken = moves > stays
    run.log.add_decision(
        f"The patient moved by {moved_by:.1f} mm at most: {'used' if taken else 'not used'} "
        f"(similarity {moves:.3f} with it, {stays:.3f} without)."
    )
    return (moved if taken else last), run


def _longest(motion: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(LinearTransform(motion).apply_to_points(points) - points, axis=-1).max())


def _match(run: Run, transform: Transform) -> float:
    grid = working_grid(run.pair.fixed.original.geometry, VOXELS)
    level = aligned_level(run, grid, transform)
    nodes = field_grid(grid)
    still = torch.zeros(3, *nodes.shape, device=level.fixed.device)
    return match(level, still, _comparable(run.recipe.deformable))


def _comparable(recipe: Deformable) -> Deformable:
    return replace(recipe, similarity="ngf", features="") if recipe.similarity in NEEDS_MORE else recipe
