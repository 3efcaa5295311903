"""A finished transform corrected near a few places, by what a user drags there and by the images.

What is sought is a displacement w before the earlier transform T, so that the corrected one is x -> T(x + w(x)): both
images are compared with the moving one already aligned by T, so w starts at zero and T's detail is kept. Beyond a
radius about the dragged places w is exactly zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.correction import Correction
from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import folds_and_statistics
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.optimization.deformable import DeformableFit, Level, register_deformable
from DeepRegLib.optimization.field_grid import RATIO, field_grid
from DeepRegLib.optimization.pulls import LandmarkPull
from DeepRegLib.optimization.regularity import PATIENT_ROUNDS, repair_folds, smooth_locally
from DeepRegLib.recipes import DISPLACEMENT
from DeepRegLib.stages.deformable import FOLD_ROUNDS, cells_at, to_displacement_field
from DeepRegLib.stages.levels import finest_grid, level_on, pyramid, with_deformable_similarity
from DeepRegLib.stages.pulls import UNMET_VOXELS
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import (
    CompositeTransform,
    DisplacementField,
    Transform,
    compose,
    displacement_on_grid,
    invert,
    parts_of,
)

# How far from a dragged place the field may change: so many times as far as it is dragged, and so many voxels more. A
# displacement that falls to zero over less would squeeze the tissue beside it.
REACH_LENGTHS = 3.0
REACH_VOXELS = 12.0
# Up to this share of the reach the change is as found, from there it fades out.
FULL_SHARE = 0.5
# On the coarsest level a place is dragged by so many voxels at most: a landmark takes its surroundings as far along.
LONGEST_DRAG_VOXELS = 2.0
# What a user drags pulls at least as hard as a landmark does by default, whatever the recipe says of landmarks.
LEAST_PULL = 1.0
# The inverse of the change is solved on a grid so many times finer.
INVERSE_REFINEMENT = 2.0
# Nodes that a change moves by less keep what they had.
LEAST_CHANGE_MM = 1e-4
# Every so many nodes of a region tell where the field takes it.
THINNED = 7


@dataclass(frozen=True, eq=False)
class Corrected:
    """A corrected transform.

    Parameters
    ----------
    transform, inverse
        Fixed points to moving points, and back.
    reach
        Farther from every dragged place, in mm, nothing has changed.
    left
        How far from where it belongs the worst of the dragged places is left, in mm of the moving world.
    met
        Whether that is as near as landmarks are to come.
    """

    transform: Transform
    inverse: Transform
    reach: float
    left: float
    met: bool


def correct(run: Run, earlier: Transform, inverse: Transform, correction: Correction) -> Corrected:
    """Return the earlier transform, changed near the dragged places.

    Parameters
    ----------
    run
        With a recipe whose ``"auto"`` may be undecided; it is decided near the places then.
    earlier, inverse
        What is corrected: fixed points to moving points, and back.
    correction
        What is dragged.

    Raises
    ------
    InputError
        If a place lies outside of the fixed anatomy.
    """
    finest = finest_grid(run)
    _check_within(finest, correction)
    reach = REACH_LENGTHS * correction.longest + REACH_VOXELS * finest.spacing[0]
    run, level = with_deformable_similarity(run, level_on(run, _part_of(finest, correction, reach), earlier))
    fit = _solve_levels(run, _levels(run, level, correction, inverse))
    window = torch.from_numpy(_window(fit.geometry, correction, reach)).to(fit.field)
    field, _ = repair_folds(fit.field * window, rounds_a_reach=PATIENT_ROUNDS, poll=run.monitor.poll)
    change = _without_folds(run, field, fit.geometry, earlier)
    undone = invert(change, refinement=INVERSE_REFINEMENT, device=str(run.device), poll=run.monitor.poll)
    transform = _before(run, change, earlier)
    wanted = earlier.apply_to_points(correction.shown)
    left = float(np.linalg.norm(transform.apply_to_points(correction.wanted) - wanted, axis=1).max())
    met = left <= UNMET_VOXELS * finest.spacing[0]
    return Corrected(transform, _after(run, earlier, inverse, undone), reach, left, met)


def _check_within(grid: Geometry, correction: Correction) -> None:
    for places, what in ((correction.shown, "from"), (correction.wanted, "to")):
        index = grid.to_index(places)
        outside = (index < 0) | (index > np.array(grid.size) - 1)
        if outside.any():
            x, y, z = places[int(np.argmax(outside.any(axis=1)))]
            raise InputError(
                f"The correction drags {what} ({x:.1f}, {y:.1f}, {z:.1f}) mm, outside of the fixed anatomy.",
                "Drag places within the anatomy that the fixed scan shows.",
            )


def _part_of(grid: Geometry, correction: Correction, reach: float) -> Geometry:
    """Return the part of a grid that a correction may change, its field's nodes being those of the whole grid."""
    index = grid.to_index(np.concatenate([correction.shown, correction.wanted]))
    margin = reach / grid.spacing[0] + RATIO
    first = np.maximum(np.floor((index.min(0) - margin) / RATIO).astype(int) * RATIO, 0)
    last = np.minimum(np.ceil((index.max(0) + margin) / RATIO).astype(int) * RATIO, np.array(grid.size))
    i, j, k = (last - first).tolist()
    x, y, z = grid.to_world(first).tolist()
    return replace(grid, size=(i, j, k), origin=(x, y, z))


def _levels(run: Run, finest: Level, correction: Correction, inverse: Transform) -> list[Level]:
    """Return the finest levels of the recipe, as many as it takes to drag so far, each with the pull."""
    spacing = finest.fixed.geometry.spacing[0]
    coarsest = max(1.0, correction.longest / spacing / LONGEST_DRAG_VOXELS)
    recipe = run.recipe.deformable
    shrink = [factor for factor in recipe.shrink if factor <= coarsest] or [recipe.shrink[-1]]
    places, targets = _pulled(run, finest.fixed.geometry, correction, inverse)
    weight = max(recipe.landmark_pull, LEAST_PULL)
    levels = []
    for level in pyramid(run, finest, shrink):
        grid = field_grid(level.fixed.geometry)
        pull = LandmarkPull(grid.to_index(places), grid.to_index(targets), grid.shape, weight=weight, device=run.device)
        levels.append(replace(level, pulls=(pull,)))
    return levels


def _pulled(
    run: Run, region: Geometry, correction: Correction, inverse: Transform
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what pulls: places and where the change is to take them; the landmarks of the run among them."""
    places, targets = correction.wanted, correction.shown
    if run.landmarks is not None and run.recipe.deformable.landmark_pull > 0:
        index = region.to_index(run.landmarks[0])
        held = ((index >= 0) & (index <= np.array(region.size) - 1)).all(axis=1)
        places = np.concatenate([places, run.landmarks[0][held]])
        targets = np.concatenate([targets, inverse.apply_to_points(run.landmarks[1][held])])
    return places, targets


def _solve_levels(run: Run, levels: Sequence[Level]) -> DeformableFit:
    recipe = run.recipe.deformable
    shrink, iterations = recipe.shrink[-len(levels) :], recipe.iterations[-len(levels) :]
    chosen = replace(recipe, parametrisation=DISPLACEMENT, shrink=shrink, iterations=iterations)

    def report(level: int, iteration: int, similarity: Tensor) -> None:
        run.monitor.poll()
        done = (level + iteration / max(iterations[level], 1)) / len(levels)
        run.monitor.step(done, float(similarity.max()))

    fit = register_deformable(levels, chosen, on_step=report, poll=run.monitor.poll)
    for number, curve in enumerate(fit.curves, start=1):
        run.log.add_curve(f"correction {number}", curve)
    return fit


def _window(grid: Geometry, correction: Correction, reach: float) -> NDArray[np.float32]:
    """Return how much of the change each node keeps, ``(k, j, i)``: 1 near the drags, 0 from the reach on."""
    points = grid.points()
    nearest = np.full(grid.shape, np.inf)
    for start, end in zip(correction.shown, correction.wanted, strict=True):
        along = end - start
        share = np.clip((points - start) @ along / (along @ along), 0.0, 1.0)
        np.minimum(nearest, np.linalg.norm(points - start - share[..., None] * along, axis=-1), out=nearest)
    farthest = reach - math.sqrt(3) * grid.spacing[0]  # past it a field is still interpolated, within one cell
    left = np.clip((farthest - nearest) / (farthest * (1 - FULL_SHARE)), 0.0, 1.0)
    return (left**2 * (3 - 2 * left)).astype(np.float32)


def _without_folds(run: Run, field: Tensor, geometry: Geometry, earlier: Transform) -> DisplacementField:
    """Return the change in mm, smoothed where the corrected transform would fold on the fixed grid."""
    fixed = _covered_part(run.pair.fixed.original.geometry, geometry)
    everywhere = Image(np.ones(fixed.shape, dtype=np.bool_), fixed)
    poll = run.monitor.poll
    change = to_displacement_field(field, geometry)
    for attempt in range(FOLD_ROUNDS):
        folded, _ = folds_and_statistics(compose(change, earlier), fixed, everywhere, poll=poll)
        if not folded.any():
            break
        cells = cells_at(np.argwhere(folded)[:, ::-1], fixed, geometry).to(field.device)
        inside = field.ne(0).any(0, keepdim=True)  # smoothing must not carry the change past its reach
        field, _ = repair_folds(smooth_locally(field, cells, reach=1 + attempt), poll=poll)
        field = field * inside
        change = to_displacement_field(field, geometry)
    return change


def _covered_part(fixed: Geometry, region: Geometry) -> Geometry:
    """Return the voxels of the fixed grid that a region holds."""
    index = fixed.to_index(region.corners())
    first = np.clip(np.floor(index.min(0)).astype(int), 0, np.array(fixed.size) - 2)
    last = np.clip(np.ceil(index.max(0)).astype(int) + 1, first + 2, np.array(fixed.size))
    i, j, k = (last - first).tolist()
    x, y, z = fixed.to_world(first).tolist()
    return replace(fixed, size=(i, j, k), origin=(x, y, z))


def _before(run: Run, change: DisplacementField, earlier: Transform) -> Transform:
    """Return the transform that applies the change, then the earlier transform; as one field if that begins with one.

    Nodes that the change does not reach keep their displacement bit by bit.
    """
    first, *others = parts_of(earlier)
    if not isinstance(first, DisplacementField):
        return compose(change, earlier)
    chain = CompositeTransform((change, first))
    return compose(_updated(run, first, chain, change.geometry.corners()), *others)


def _after(run: Run, earlier: Transform, inverse: Transform, undone: Transform) -> Transform:
    """Return the transform that applies the earlier inverse, then takes the change back; as one field where it can."""
    first = parts_of(earlier)[0]
    *others, last = parts_of(inverse)
    if not isinstance(last, DisplacementField) or not isinstance(undone, DisplacementField):
        return compose(inverse, undone)
    if not isinstance(first, DisplacementField):
        return compose(inverse, undone)
    touched = first.apply_to_points(undone.geometry.points().reshape(-1, 3)[::THINNED])
    chain = CompositeTransform((last, undone))
    return compose(*others, _updated(run, last, chain, touched))


def _updated(run: Run, field: DisplacementField, chain: Transform, touched: NDArray[np.float64]) -> DisplacementField:
    """Return a field that does near some points, ``(n, 3)``, what a chain does, and elsewhere what it did."""
    grid = field.geometry
    index = grid.to_index(touched)
    first = np.clip(np.floor(index.min(0)).astype(int) - 1, 0, np.array(grid.size) - 1)
    last = np.clip(np.ceil(index.max(0)).astype(int) + 2, first + 1, np.array(grid.size))
    i, j, k = (last - first).tolist()
    x, y, z = grid.to_world(first).tolist()
    displacement = displacement_on_grid(chain, replace(grid, size=(i, j, k), origin=(x, y, z)), poll=run.monitor.poll)
    array = field.array.copy()
    part = array[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
    changed = np.abs(displacement - part).max(axis=-1, keepdims=True) > LEAST_CHANGE_MM
    np.copyto(part, displacement, where=changed, casting="same_kind")
    return DisplacementField(array, grid)
