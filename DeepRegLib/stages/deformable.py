"""The displacement field on top of the linear transform, free of folds, and its inverse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from DeepRegLib.evaluation import InverseConsistency, folded_voxels, inverse_consistency
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around
from DeepRegLib.optimization.deformable import DeformableFit, Level, match, register_deformable, transfer_field
from DeepRegLib.optimization.field_grid import RATIO, field_grid, image_grid
from DeepRegLib.optimization.linear import LNCC_RADIUS
from DeepRegLib.optimization.regularity import PATIENT_ROUNDS, repair_folds, smooth_locally
from DeepRegLib.optimization.sliding import Surface, sharpened, surface_of
from DeepRegLib.optimization.working import coarser
from DeepRegLib.preparation import foreground_weight
from DeepRegLib.preprocessing import smooth_and_resample
from DeepRegLib.recipes import AUTO, MATCHED
from DeepRegLib.stages.contrast import recoloured_where_wanted, same_contrast, share_explained
from DeepRegLib.stages.pulls import with_pulls
from DeepRegLib.stages.run import MARGIN_VOXELS, REPORT_EVERY, Run, aligned_level, working_grid
from DeepRegLib.stages.unmatched import without_unmatched
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    displacement_on_grid,
    invert,
    parts_of,
)

logger = logging.getLogger(__name__)

# Gives a field in voxels of the grid it is called with, ``(3, D, H, W)``.
StartField = Callable[[Geometry], Tensor]


@dataclass(frozen=True, eq=False)
class Starts:
    """The fields a descent may start from.

    Parameters
    ----------
    given
        By the user; None for zero.
    searched
        By the search for large motion. The levels coarser than the search are done as well, and the field that matches
        better goes on to the finer ones.
    predicted
        By a model; it goes on instead if it matches better still.
    """

    given: StartField | None = None
    searched: StartField | None = None
    predicted: StartField | None = None


WINDOW = 2 * LNCC_RADIUS + 1
FEWEST_VOXELS = 12
# Below, what one image would look like in the other's contrast is anybody's guess.
LEAST_EXPLAINED = 0.05
FOLD_ROUNDS = 12
# A search looks so far that it also finds matches by accident: it must be better by this share.
CLEARLY_BETTER = 0.015
# A network proposes one field only, so any gain counts that is more than rounding.
SLIGHTLY_BETTER = 0.001
INVERSE_MEAN_MM, INVERSE_P99_MM = 0.09, 0.45
INVERSE_SAMPLES = 20_000
# The inverse bends more than the field where that shrinks space, so it gets a finer grid from the start.
INVERSE_REFINEMENTS = (2.0, 3.0, 4.5)


def finest_level(run: Run, linear: LinearTransform) -> Level:
    """Return both images on the finest working grid about the fixed foreground, the moving one aligned linearly.

    With the rim of the foreground, which more than one stage needs.
    """
    geometry = working_grid(box_around(run.pair.fixed.foreground), run.recipe.deformable.voxels, MARGIN_VOXELS)
    rim = foreground_weight(run.pair.fixed, geometry, run.device, poll=run.monitor.poll)
    return replace(aligned_level(run, geometry, linear), rim=rim)


def with_deformable_similarity(run: Run, level: Level) -> Run:
    """Replace ``deformable.similarity = "auto"`` by the choice for this pair, judged on the aligned images."""
    recipe = run.recipe.deformable
    if recipe.similarity != AUTO:
        return run
    same, reason = same_contrast(run, level)
    name = "lncc" if same else MATCHED
    if not same:
        explained = share_explained(run, level)
        if explained < LEAST_EXPLAINED:
            name = "ngf"
        reason += f", and intensities explain {explained:.2f} of each other (limit {LEAST_EXPLAINED})"
    radius = LNCC_RADIUS if name == "ngf" else lncc_radius(run, level)
    run.decisions.append(f"Deformable similarity: {name}, because {reason}.")
    if radius > LNCC_RADIUS:
        run.decisions.append(
            f"Window: {2 * radius + 1} voxels wide instead of {WINDOW}, because the slices are thicker."
        )
    return run.with_recipe(replace(run.recipe, deformable=replace(recipe, similarity=name, radius=radius)))


def lncc_radius(run: Run, level: Level) -> int:
    """Return the radius of LNCC's window in voxels of the finest level.

    A window no wider than a slice is thick sees what one slice or two hold, interpolated: few values, from which a
    correlation is uncertain. It is a voxel wider to each side then.
    """
    sides = run.pair.fixed.original, run.pair.moving.original
    thickest = max(max(side.geometry.spacing) for side in sides)
    return LNCC_RADIUS + int(thickest > WINDOW * level.fixed.geometry.spacing[0])


def with_useful_levels(run: Run, finest: Level) -> Run:
    """Leave out the coarse levels on which the anatomy would be too few voxels across to tell anything."""
    recipe = run.recipe.deformable
    across = sorted(finest.fixed.geometry.size)[1]  # a stack of few slices is judged by its slices
    first = next((n for n, shrink in enumerate(recipe.shrink) if across / shrink >= FEWEST_VOXELS), -1)
    useful = slice(first, None)
    left = replace(recipe, shrink=recipe.shrink[useful], iterations=recipe.iterations[useful])
    if left == recipe:
        return run
    kept = ", ".join(map(str, left.shrink))
    run.decisions.append(f"Levels: shrink {kept} only, as coarser ones are below {FEWEST_VOXELS} voxels across.")
    return run.with_recipe(replace(run.recipe, deformable=left))


def deform(run: Run, level: Level, linear: LinearTransform, starts: Starts) -> Transform:
    """Find the field u and return x -> linear(x + u(x)), without folds on the working and on the fixed image's grid.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    level
        The finest level.
    linear
        The linear transform.
    starts
        What there is to start from.
    """
    fit = find_field(run, level, linear, starts)
    field, geometry = continued(fit.field, fit.geometry, run.pair.fixed.original.geometry)
    if run.sliding_mask is not None:
        field, geometry = _with_sharp_jump(run, run.sliding_mask, field, geometry)
    field, repaired = repair_folds(field, rounds_a_reach=PATIENT_ROUNDS, poll=run.monitor.poll)
    if repaired:
        logger.info("Smoothed the field at %d cells that folded or nearly did.", repaired)
    return compose(_without_folds(run, field, geometry), linear)


def find_field(run: Run, level: Level, linear: LinearTransform, starts: Starts) -> DeformableFit:
    """Descend from a start through the levels; the parameters are those of `deform`.

    With ``parametrisation = "velocity"`` the starts are velocities, and so is the field found.
    """
    level = recoloured_where_wanted(run, level)
    levels = with_pulls(run, _pyramid(run, level, run.recipe.deformable.shrink), linear)
    if run.recipe.deformable.ignore_unmatched:
        levels = without_unmatched(run, levels, linear)
    coarse, start = 0, starts.given
    if starts.searched is not None or starts.predicted is not None:
        coarse = sum(shrink > run.recipe.large_motion.shrink[-1] for shrink in run.recipe.deformable.shrink)
        coarse = min(coarse, len(levels) - 1)
        start = _better_start(run, levels, coarse, starts)
    return _descend(run, levels, slice(coarse, None), start)


def start_field(run: Run, linear: LinearTransform, initial: Transform) -> StartField | None:
    """Return the function that gives u with linear(x + u(x)) = initial(x); None if `initial` holds no field."""
    if not has_field(initial):
        return None
    relative = compose(initial, linear.inverse())

    def start(geometry: Geometry) -> Tensor:
        voxels = displacement_on_grid(relative, geometry, poll=run.monitor.poll) @ geometry.world_to_index[:3, :3].T
        channels_first = np.ascontiguousarray(np.moveaxis(voxels, -1, 0), dtype=np.float32)
        return torch.from_numpy(channels_first).to(run.device)

    return start


def invert_well(run: Run, transform: Transform, seed: int, known: Transform | None = None) -> Transform:
    """Return a known inverse if it is exact enough, or invert numerically.

    That is done on the coarsest grid on which interpolating the inverse is exact enough, or the finest tried.
    """
    if not has_field(transform):
        return invert(transform)
    if known is not None:
        reached = consistency(run, transform, known, seed)
        if is_exact(reached):
            return known
        run.decisions.append(
            f"Inverse: solved numerically, because the flow backwards misses by {reached.mean:.2g} mm on average and "
            f"{reached.p99:.2g} mm at the 99th percentile."
        )
    inverse: Transform | None = None
    sharper = 1 if run.sliding_mask is None else RATIO  # such a field has the finer grid itself
    for refinement in (factor / sharper for factor in INVERSE_REFINEMENTS):
        inverse = invert(transform, refinement=refinement, near=inverse, device=str(run.device), poll=run.monitor.poll)
        if is_exact(consistency(run, transform, inverse, seed)):
            break
    assert inverse is not None  # noqa: S101  # for mypy: there are refinements
    return inverse


def consistency(run: Run, transform: Transform, inverse: Transform, seed: int = 0) -> InverseConsistency:
    """Return how far points of the fixed foreground end from where they started, on a sample of them."""
    foreground = run.pair.fixed.foreground
    return inverse_consistency(transform, inverse, foreground, INVERSE_SAMPLES, seed, poll=run.monitor.poll)


def is_exact(reached: InverseConsistency) -> bool:
    """Tell whether an inverse is as exact as one should be."""
    return reached.mean < INVERSE_MEAN_MM and reached.p99 < INVERSE_P99_MM


def has_field(transform: Transform) -> bool:
    """Tell whether a transform is more than linear."""
    return any(isinstance(part, DisplacementField) for part in parts_of(transform))


def to_displacement_field(field: Tensor, geometry: Geometry) -> DisplacementField:
    """Turn a field in voxels, ``(3, D, H, W)``, into one in mm (LPS)."""
    voxels = np.moveaxis(field.double().cpu().numpy(), 0, -1)
    return DisplacementField((voxels @ geometry.index_to_world[:3, :3].T).astype(np.float32), geometry)


def continued(field: Tensor, geometry: Geometry, fixed: Geometry) -> tuple[Tensor, Geometry]:
    """Continue a field past its border by the values there until it covers an image.

    Beyond its grid a displacement is zero, and a jump to zero within the image would be a fold.

    Parameters
    ----------
    field
        Shape ``(3, D, H, W)``, in voxels of `geometry`.
    geometry
        Its grid.
    fixed
        The grid to cover.

    Returns
    -------
    Tensor, Geometry
        The larger field and its grid, which holds all voxels of the old one.
    """
    index = geometry.to_index(fixed.corners())
    before = np.maximum(np.ceil(-index.min(0) - 1e-6), 0).astype(int)
    after = np.maximum(np.ceil(index.max(0) + 1 - np.array(geometry.size) - 1e-6), 0).astype(int)
    i, j, k = (np.array(geometry.size) + before + after).tolist()
    x, y, z = geometry.to_world(-before).tolist()
    padding = np.stack([before, after], axis=1).ravel().tolist()
    larger = torch.nn.functional.pad(field[None], padding, mode="replicate")[0]
    return larger, replace(geometry, size=(i, j, k), origin=(x, y, z))


def _better_start(run: Run, levels: Sequence[Level], coarse: int, starts: Starts) -> StartField | None:
    """Return what goes on to the finer levels: what the coarse ones come to, what was searched for, or predicted."""
    level = levels[coarse]
    if coarse == 0 and starts.searched is not None:
        best: StartField | None = starts.searched
    else:
        best = _descended(run, levels, coarse, starts.given)
        if starts.searched is not None:
            best = _better_of(run, level, best, starts.searched, "Search for large motion", CLEARLY_BETTER)
    if starts.predicted is not None:
        best = _better_of(run, level, best, starts.predicted, "The model's field", SLIGHTLY_BETTER)
    return best


def _descended(run: Run, levels: Sequence[Level], coarse: int, start: StartField | None) -> StartField | None:
    """Return what the coarse levels come to; the start where there are none."""
    if coarse == 0:
        return start
    fit = _descend(run, levels, slice(coarse), start)

    def descended(geometry: Geometry) -> Tensor:
        return transfer_field(fit.field, fit.geometry, geometry)

    return descended


def _better_of(
    run: Run, level: Level, so_far: StartField | None, other: StartField, what: str, margin: float
) -> StartField | None:
    """Return the other field if it matches better than that so far by more than a share; note which and why."""
    grid = field_grid(level.fixed.geometry)
    still = torch.zeros(3, *grid.shape, device=level.fixed.device)
    fields = still if so_far is None else so_far(grid), other(grid)
    before, after = (match(level, field, run.recipe.deformable) for field in fields)
    better = after - before > margin * abs(before)
    reason = f"similarity {after:.3f} with it, {before:.3f} without"
    run.decisions.append(f"{what}: {'used' if better else 'not needed'} ({reason}).")
    return other if better else so_far


def _descend(run: Run, levels: Sequence[Level], part: slice, start: StartField | None) -> DeformableFit:
    """Descend through some of the levels, and note how."""
    recipe = run.recipe.deformable
    chosen = replace(recipe, shrink=recipe.shrink[part], iterations=recipe.iterations[part])
    first = part.start or 0
    report = _reporter(run, levels, first)
    fit = register_deformable(levels[part], chosen, start=start, on_step=report, poll=run.monitor.poll)
    for number, curve in enumerate(fit.curves):
        run.curves[f"deformable {first + number + 1}"] = curve
    return fit


def _pyramid(run: Run, finest: Level, shrink: Sequence[int]) -> list[Level]:
    geometry = finest.fixed.geometry
    levels = []
    for factor in shrink:
        fixed, moving = finest.fixed, finest.moving
        if factor != 1:
            # From the finest: interpolating from level to level blurs, which cost hearts 0.01 Dice.
            grid = geometry.resized(geometry.spacing[0] * factor)
            fixed, moving = coarser(fixed, grid), coarser(moving, grid)
        # Only now, or the background would bleed into the moving image alone and identical images would differ.
        rim = finest.rim if factor == 1 else None
        if rim is None:
            rim = foreground_weight(run.pair.fixed, fixed.geometry, run.device, poll=run.monitor.poll)
        surface = _surface(run, field_grid(fixed.geometry))
        levels.append(Level(replace(fixed, weight=fixed.weight * rim), moving, surface=surface))
    return levels


def _surface(run: Run, geometry: Geometry) -> Surface | None:
    """Return the surface to slide along on the grid of a field."""
    return None if run.sliding_mask is None else surface_of(_share(run, run.sliding_mask, geometry))


def _share(run: Run, mask: Image, geometry: Geometry) -> Tensor:
    """Return how much of each voxel of a grid lies in a mask, ``(D, H, W)``."""
    return torch.from_numpy(smooth_and_resample(mask, geometry, poll=run.monitor.poll).array).to(run.device)


def _with_sharp_jump(run: Run, mask: Image, field: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry]:
    """Return the field on the grid of its images, where its jump at the surface of the mask is narrower."""
    finer = image_grid(geometry)
    shares = (_share(run, mask, grid) for grid in (geometry, finer))
    return sharpened(field, surface_of(next(shares)), next(shares), poll=run.monitor.poll), finer


def _reporter(run: Run, levels: Sequence[Level], first: int) -> Callable[[int, int, Tensor], None]:
    iterations = run.recipe.deformable.iterations
    costs = [level.fixed.intensity.numel() * n for level, n in zip(levels, iterations, strict=True)]

    def report(number: int, iteration: int, similarity: Tensor) -> None:
        if iteration % REPORT_EVERY:
            run.monitor.poll()
            return
        level = first + number
        done = sum(costs[:level]) + costs[level] * iteration / max(iterations[level], 1)
        run.monitor.step(done / max(sum(costs), 1), float(similarity.max()))

    return report


def _without_folds(run: Run, field: Tensor, geometry: Geometry) -> DisplacementField:
    """Return the field in mm, smoothed further where it would fold on the fixed image's own, finer grid."""
    fixed = run.pair.fixed.original.geometry
    displacement = to_displacement_field(field, geometry)
    for attempt in range(FOLD_ROUNDS):
        folded = folded_voxels(displacement, fixed, poll=run.monitor.poll)
        if not folded.any():
            break
        logger.info("Round %d: %d voxels fold on the fixed grid.", attempt + 1, int(folded.sum()))
        cells = cells_at(np.argwhere(folded)[:, ::-1], fixed, geometry)
        run.monitor.poll()
        smoothed = smooth_locally(field, cells.to(field.device), reach=1 + attempt)
        field, _ = repair_folds(smoothed, rounds_a_reach=PATIENT_ROUNDS, poll=run.monitor.poll)
        displacement = to_displacement_field(field, geometry)
    return displacement


def cells_at(index: np.ndarray, fixed: Geometry, geometry: Geometry) -> Tensor:
    """Mark the cells of `geometry` that hold voxels of `fixed`."""
    cells = np.floor(geometry.to_index(fixed.to_world(index))).astype(np.int64)
    i, j, k = np.clip(cells, 0, np.array(geometry.size) - 2).T
    marked = torch.zeros([n - 1 for n in geometry.shape], dtype=torch.bool)
    marked[k, j, i] = True
    return marked
