"""The levels of the deformable stage, and what is decided on them: the similarity, its window, how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around
from DeepRegLib.optimization.contrast_mapping import map_contrasts
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.linear import LNCC_RADIUS
from DeepRegLib.optimization.sliding import Surface, surface_of
from DeepRegLib.optimization.working import coarser
from DeepRegLib.preparation import foreground_weight
from DeepRegLib.preprocessing import smooth_and_resample
from DeepRegLib.recipes import AUTO, LNCC_NGF
from DeepRegLib.stages.contrast import map_contrasts_where_compared, same_contrast, seen_in_both
from DeepRegLib.stages.features import described_where_wanted
from DeepRegLib.stages.pulls import with_pulls
from DeepRegLib.stages.run import MARGIN_VOXELS, Run, aligned_level, working_grid
from DeepRegLib.stages.unmatched import without_unmatched
from DeepRegLib.transforms import LinearTransform, Transform

WINDOW = 2 * LNCC_RADIUS + 1
FEWEST_VOXELS = 12
# Below, what one image would look like in the other's contrast is anybody's guess: on a spine, explained by .06, edges
# alone gained .012 Dice. Of the other pairs of unlike contrast that were measured, .5 and more is explained.
LEAST_EXPLAINED = 0.1


def finest_level(run: Run, linear: LinearTransform) -> Level:
    """Return both images on the finest working grid about the fixed foreground, the moving one aligned linearly.

    With the weight of the foreground, which more than one stage needs.
    """
    return level_on(run, finest_grid(run), linear)


def finest_grid(run: Run) -> Geometry:
    """Return the grid of `finest_level`."""
    return working_grid(box_around(run.pair.fixed.foreground), run.recipe.deformable.voxels, MARGIN_VOXELS)


def level_on(run: Run, geometry: Geometry, transform: Transform) -> Level:
    """Return both images on an isotropic grid, the moving one aligned by a transform, with the foreground's weight."""
    foreground = foreground_weight(run.pair.fixed, geometry, run.device, poll=run.monitor.poll)
    return replace(aligned_level(run, geometry, transform), foreground=foreground)


def with_deformable_similarity(run: Run, level: Level) -> tuple[Run, Level]:
    """Replace ``deformable.similarity = "auto"`` by the choice for this pair, judged on the aligned images.

    The level comes back with each image in the other's contrast too where that is compared.
    """
    recipe = run.recipe.deformable
    if recipe.similarity != AUTO:
        return run, map_contrasts_where_compared(run, level)
    seen = seen_in_both(run, level)
    same, reason = same_contrast(run, level, seen)
    name = "lncc"
    if not same:
        images = map_contrasts(level.fixed, level.moving, seen)
        reason += f", and intensities explain {images.explained:.2f} of each other (limit {LEAST_EXPLAINED})"
        name = "ngf" if images.explained < LEAST_EXPLAINED else LNCC_NGF
        if name == LNCC_NGF:
            level = replace(level, fixed=images.fixed, moving=images.moving)
    radius = LNCC_RADIUS if name == "ngf" else lncc_radius(run, level)
    run.log.add_decision(f"Deformable similarity: {name}, because {reason}.")
    if radius > LNCC_RADIUS:
        run.log.add_decision(
            f"Window: {2 * radius + 1} voxels wide instead of {WINDOW}, because the slices are thicker."
        )
    return run.with_recipe(replace(run.recipe, deformable=replace(recipe, similarity=name, radius=radius))), level


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
    run.log.add_decision(f"Levels: shrink {kept} only, as coarser ones are below {FEWEST_VOXELS} voxels across.")
    return run.with_recipe(replace(run.recipe, deformable=left))


def all_levels(run: Run, finest: Level, linear: LinearTransform) -> list[Level]:
    """Return the levels of the recipe, coarse to fine, with all that the descent needs to know.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    finest
        From `with_deformable_similarity`.
    linear
        The linear transform that all fields come before.
    """
    levels = with_pulls(run, pyramid(run, finest, run.recipe.deformable.shrink), linear)
    return without_unmatched(run, levels, linear) if run.recipe.deformable.ignore_unmatched else levels


def share_in_mask(run: Run, mask: Image, geometry: Geometry) -> Tensor:
    """Return how much of each voxel of a grid lies in a mask, ``(D, H, W)``."""
    return torch.from_numpy(smooth_and_resample(mask, geometry, poll=run.monitor.poll).array).to(run.device)


def pyramid(run: Run, finest: Level, shrink: Sequence[int]) -> list[Level]:
    """Return the finest level and coarser ones made of it, coarse to fine, with all but their pulls.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    finest
        As `level_on` returns it, in both contrasts where these are compared.
    shrink
        How many times coarser than the finest each level is.
    """
    geometry = finest.fixed.geometry
    levels = []
    for factor in shrink:
        fixed, moving = finest.fixed, finest.moving
        if factor != 1:
            # From the finest: interpolating from level to level blurs, which cost hearts 0.01 Dice.
            grid = geometry.resized(geometry.spacing[0] * factor)
            fixed, moving = coarser(fixed, grid), coarser(moving, grid)
        # Only now, or the background would bleed into the moving image alone and identical images would differ.
        foreground = finest.foreground if factor == 1 else None
        if foreground is None:
            foreground = foreground_weight(run.pair.fixed, fixed.geometry, run.device, poll=run.monitor.poll)
        surface = _surface(run, field_grid(fixed.geometry))
        level = described_where_wanted(run, Level(fixed, moving, surface=surface))
        levels.append(replace(level, fixed=replace(level.fixed, weight=fixed.weight * foreground)))
    return levels


def _surface(run: Run, geometry: Geometry) -> Surface | None:
    """Return the surface to slide along on the grid of a field."""
    return None if run.sliding_mask is None else surface_of(share_in_mask(run, run.sliding_mask, geometry))
