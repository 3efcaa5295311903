"""Deformable registration: a displacement field found coarse to fine by compositive Adam steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.comparison import NOISE_FORCE, ROUGHNESS, Comparison, windows_at
from DeepRegLib.optimization.field_grid import RATIO, field_grid, to_field_grid, warp
from DeepRegLib.optimization.parametrisation import parametrisation
from DeepRegLib.optimization.pulls import Pull
from DeepRegLib.optimization.sliding import Surface, smoothing
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.recipes import FEATURES, Deformable
from DeepRegLib.similarity import Windows
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.similarity.mind import MIND_DILATION
from DeepRegLib.transforms.sampling import central_difference, resize_field

FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.99
WEIGHT_REFRESH = 10
STALL_WINDOW = 10
STALL_GAIN = 2e-4


@dataclass(frozen=True, eq=False)
class Level:
    """Both images of one resolution on one grid, the moving one already brought there by the linear transform.

    `pulls` move the field besides the similarity; they are made for the grid of the level's field. Where an organ
    slides, `surface` says along what, on that grid. `foreground` says how much each voxel of the images belongs to the
    fixed anatomy and its soft margin, where that is known and not yet part of the weights.
    """

    fixed: WorkingImage
    moving: WorkingImage
    pulls: tuple[Pull, ...] = ()
    surface: Surface | None = None
    foreground: Tensor | None = None


@dataclass(frozen=True, eq=False)
class DeformableFit:
    """The field in voxels of its grid, ``(3, D, H, W)``, that grid, and the similarity per iteration and level.

    The field is what `Deformable.parametrisation` says: a displacement, or a velocity.
    """

    field: Tensor
    geometry: Geometry
    curves: list[NDArray[np.float64]]


def register_deformable(
    levels: Sequence[Level],
    recipe: Deformable,
    *,
    start: Callable[[Geometry], Tensor] | None = None,
    on_step: Callable[[int, int, Tensor], None],
    poll: Poll = never_cancel,
) -> DeformableFit:
    """Find the displacement field that makes the moving image like the fixed one.

    At each iteration: warp; gradient of the similarity times gradient of the warped image, averaged to the field's
    grid, which is half as fine; plus the forces of the level's pulls; Gaussian (fluid); Adam with one second moment a
    node, so that a step does not depend on the axes; cap; u <- d + u o (id + d); Gaussian (elastic). The composition of
    capped smooth steps is what keeps the field free of folds. With ``recipe.parametrisation = "velocity"`` the
    composition is one of velocities.

    Parameters
    ----------
    levels
        Coarse to fine, isotropic grids of one orientation.
    recipe
        Metric, radius, iterations, step and smoothing; its `shrink` and `iterations` have one number a level.
    start
        Gives the first field (a velocity where the recipe says so) in voxels of the grid it is called with, that of the
        first level's field; None starts from zero.
    on_step
        Called after each iteration with the level, the iteration and the similarity ``(1,)`` on the device; may raise.
    poll
        Called within each iteration; may raise to stop.
    """
    geometry = field_grid(levels[0].fixed.geometry)
    field = start(geometry) if start else torch.zeros(3, *geometry.shape, device=levels[0].fixed.device)
    curves = []
    for number, (level, iterations) in enumerate(zip(levels, recipe.iterations, strict=True)):
        grid = field_grid(level.fixed.geometry)
        field, geometry = transfer_field(field, geometry, grid), grid

        def report(iteration: int, value: Tensor, number: int = number) -> None:
            on_step(number, iteration, value)

        field, curve = _run_level(level, field, recipe, recipe.shrink[number], iterations, report, poll)
        curves.append(curve)
    return DeformableFit(field, geometry, curves)


def match(level: Level, field: Tensor, recipe: Deformable) -> float:
    """Return the similarity of both images of a level under a field on the grid of the level's field."""
    fixed = level.fixed
    moved = warp(level.moving.compared, displacement_of(recipe, field))
    return float(Comparison(recipe, Windows.ALL, fixed, fixed.weight * moved[-1]).value(moved[:-1]))


def displacement_of(recipe: Deformable, field: Tensor) -> Tensor:
    """Return by how much a field of a recipe, ``(3, D, H, W)``, moves the nodes of its grid."""
    _, depth, height, width = field.shape
    return parametrisation(recipe, (depth, height, width), field).displacement(field)


def transfer_field(field: Tensor, old: Geometry, new: Geometry) -> Tensor:
    """Move a field from one isotropic grid to another of the same orientation, in voxels of each."""
    if old == new:
        return field
    offset = torch.tensor(old.to_index(new.origin), dtype=field.dtype, device=field.device)
    return resize_field(field, new.shape, new.spacing[0] / old.spacing[0], offset)


def _run_level(
    level: Level,
    field: Tensor,
    recipe: Deformable,
    shrink: int,
    iterations: int,
    on_step: Callable[[int, Tensor], None],
    poll: Poll,
) -> tuple[Tensor, NDArray[np.float64]]:
    fixed, moving = level.fixed, level.moving
    step, sigma_update, sigma_field = (
        length / RATIO
        for length in (recipe.step, recipe.smooth_update, recipe.smooth_field * ROUGHNESS[recipe.similarity])
    )
    motion = parametrisation(recipe, field_grid(fixed.geometry).shape, field, sigma_field, level.surface)
    smooth_update = smoothing(level.surface, sigma_update)
    channels = moving.compared
    first = torch.zeros_like(field)
    second = torch.zeros_like(field[0])
    at_first = field
    comparison: Comparison | None = None
    # The similarity is a mean over the weights, so one voxel's share of it is one over their sum.
    noise_force = NOISE_FORCE[recipe.similarity] / fixed.weight.sum().clamp_min(1.0)
    values: list[Tensor] = []
    followed: list[list[Tensor]] = [[] for _ in level.pulls]
    for iteration in range(iterations):
        displacement = motion.displacement(field)
        if comparison is None or iteration % WEIGHT_REFRESH == 0:
            moved = warp(channels, displacement)
            warped, seen = moved[:-1], moved[-1]
            weight = fixed.weight * seen
            if recipe.similarity in ("mind", FEATURES):
                weight = weight * _far_from_unknown(seen, recipe.radius)
            comparison = Comparison(recipe, windows_at(shrink), fixed, weight)
        else:
            warped = warp(channels[:-1], displacement)
        poll()
        value, gradients = comparison.value_and_gradient(warped)
        values.append(value)
        poll()
        force = _force(warped, gradients)
        for pull, history in zip(level.pulls, followed, strict=True):
            poll()
            reached, pulling = pull.value_and_force(displacement)
            history.append(reached)
            force.addcmul_(pulling, noise_force)
        poll()
        update = _adam(smooth_update(force), noise_force, first, second, iteration)
        field = motion.stepped(field, _capped(update, step))
        on_step(iteration, value)
        if all(map(_stalled, [values, *followed])):
            break
    curve = torch.cat(values).double().cpu().numpy() if values else np.zeros(0)
    # Steps have a length, so about a perfect match they lead away from it.
    away = len(curve) > 0 and not level.pulls and curve[-STALL_WINDOW:].max() < curve[0]
    return (at_first if away else field), curve


def _force(warped: Tensor, gradients: Tensor) -> Tensor:
    """Return the force on the grid of the field, ``(3, d, h, w)``, of all that is compared, ``(n, D, H, W)``, together.

    One axis after the other, so that no force is ever held on the grid of the images.
    """
    forces = []
    for dim in (-1, -2, -3):
        slopes = (
            central_difference(image, dim).mul_(gradient) for image, gradient in zip(warped, gradients, strict=True)
        )
        along = next(slopes)
        for other in slopes:
            along.add_(other)
        forces.append(to_field_grid(along[None]))
    return torch.cat(forces)


def _far_from_unknown(known: Tensor, radius: int) -> Tensor:
    """Return 1 where a MIND patch sees known voxels only, else 0.

    A patch reaches past its voxel, so next to the border of the field of view it would compare anatomy with nothing. A
    network reaches further, and is told most by what is as near. On small grids the reach is cut, or little would be
    left.
    """
    reach = min(radius + MIND_DILATION, min(known.shape) // 12)
    return (box_sum((known < 0.99).to(known.dtype), reach) < 0.5).to(known.dtype)


def _adam(force: Tensor, noise_force: Tensor, first: Tensor, second: Tensor, iteration: int) -> Tensor:
    """One Adam direction with a scalar second moment a node; a force below `noise_force` makes a short step."""
    power = force.square().sum(0)
    first.mul_(FIRST_MOMENT).add_(force, alpha=1 - FIRST_MOMENT)
    second.mul_(SECOND_MOMENT).add_(power, alpha=1 - SECOND_MOMENT)
    size = torch.sqrt(second / (1 - SECOND_MOMENT ** (iteration + 1)))
    return first / ((1 - FIRST_MOMENT ** (iteration + 1)) * (size + noise_force))


def _capped(update: Tensor, step: float) -> Tensor:
    """Scale the update so that no node moves further than `step`."""
    longest = update.square().sum(0).max().sqrt()
    return update * (step / longest.clamp_min(1.0))


def _stalled(values: list[Tensor]) -> bool:
    """Tell, every `STALL_WINDOW` iterations, whether the values have stopped rising."""
    count = len(values)
    if count < 2 * STALL_WINDOW or count % STALL_WINDOW:
        return False
    recent = torch.cat(values[-2 * STALL_WINDOW :])
    before, now = recent[:STALL_WINDOW].mean(), recent[STALL_WINDOW:].mean()
    return bool(now - before < STALL_GAIN * now.abs().clamp_min(1e-3))
