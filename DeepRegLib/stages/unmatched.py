"""Where the anatomy has no partner, before the deformable stage would match it to something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.deformable import Level, register_deformable
from DeepRegLib.optimization.field_grid import to_image_grid
from DeepRegLib.optimization.unmatched import matched_weight
from DeepRegLib.preparation import foreground_weight
from DeepRegLib.recipes import DISPLACEMENT
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import LinearTransform
from DeepRegLib.transforms.sampling import identity_grid, sample


def without_unmatched(run: Run, levels: Sequence[Level], linear: LinearTransform) -> list[Level]:
    """Let what both directions of a coarse registration contradict each other on count less in the fixed images.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    levels
        Coarse to fine; the finest is not used, and a single one is returned as it is.
    linear
        The linear transform, by which the moving images were brought there.
    """
    coarse = list(levels[:-1])
    if not coarse:
        return list(levels)
    backward = [_reversed(run, level, linear) for level in coarse]
    weight = matched_weight(*(_field(run, way) for way in (coarse, backward)))
    last = coarse[-1].fixed
    share = float(((1 - weight) * last.weight).sum() / last.weight.sum().clamp_min(1e-6))
    run.log.add_decision(f"Without a partner in the moving scan: {share:.1%} of the anatomy, which counts less.")
    return [_weighted(level, weight, last.geometry) for level in levels]


def _reversed(run: Run, level: Level, linear: LinearTransform) -> Level:
    moving = level.moving
    foreground = foreground_weight(run.pair.moving, moving.geometry, run.device, linear, poll=run.monitor.poll)
    return Level(replace(moving, weight=moving.weight * foreground), level.fixed)


def _field(run: Run, levels: Sequence[Level]) -> Tensor:
    recipe = run.recipe.deformable
    chosen = replace(recipe, shrink=recipe.shrink[:-1], iterations=recipe.iterations[:-1], parametrisation=DISPLACEMENT)
    poll = run.monitor.poll
    fit = register_deformable(levels, chosen, on_step=lambda *_: poll(), poll=poll)
    return to_image_grid(fit.field, levels[-1].fixed.geometry.shape)


def _weighted(level: Level, weight: Tensor, geometry: Geometry) -> Level:
    fixed = level.fixed
    offset = weight.new_tensor(geometry.to_index(fixed.geometry.origin).tolist())
    index = identity_grid(fixed.geometry.shape, weight.device) * (fixed.geometry.spacing[0] / geometry.spacing[0])
    kept = fixed.weight * sample(weight[None], index + offset)[0]
    return replace(level, fixed=replace(fixed, weight=kept))
