"""Large motion: every displacement of a cube is tried at once, and the best smooth choice of them is kept.

A cost volume holds, for each cell of a coarse control grid, how unlike the two images are at each displacement tried.
Its minimum is found together with the smoothness of the field by alternating two steps that are each solved exactly
(Heinrich, Papiez, Schnabel, Handels: "Non-parametric discrete registration with convex optimisation", WBIR 2014, and
Siebert, Hansen, Heinrich: "Fast 3D registration with accurate optimisation and little learning for Learn2Reg 2021").
Unlike a descent it does not stop in the nearest minimum, so it finds motion larger than the structures that move.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.deformable import Level, transfer_field
from DeepRegLib.optimization.field_grid import RATIO, field_grid
from DeepRegLib.optimization.regularity import repair_folds
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.working import WorkingImage, coarser
from DeepRegLib.recipes import LargeMotion
from DeepRegLib.similarity import mind_features
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.similarity.mind import MIND_DILATION
from DeepRegLib.transforms.sampling import compose_fields, identity_grid, sample, sample_images

# A feature voxel is this many image voxels wide. It is a cell of the control grid, too: cells twice as wide take an
# eighth of the memory, and cost the abdomen 0.06 Dice.
POOL = RATIO
MIND_RADIUS = 1
NORMALISATION_RADIUS = 3
# How firmly a cell's displacement is tied to the mean of its neighbours', from nearly free to nearly fixed, relative to
# the mean cost: a cell may give up this share of it to come one feature voxel nearer.
COUPLINGS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
CONSISTENCY_ROUNDS = 15
# Cost values smoothed in one go, which bounds the memory that takes; and looked at in one go for their least.
VALUES_AT_ONCE = 1 << 23
VALUES_IN_CACHE = 1 << 20
# Values of one cost volume, of which there are two; where a recipe asks for more, the level gets coarser.
LARGEST_VOLUME = 1 << 26


@dataclass(frozen=True, eq=False)
class Features:
    """What is compared: channels ``(C, D, H, W)`` and how much each voxel counts, ``(D, H, W)``."""

    channels: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class CostVolumes:
    """Costs of every displacement, from either image's cells to the other image.

    Parameters
    ----------
    forward, backward
        ``((2 radius + 1)**3, d, h, w)``, the displacements in the order of `displacements`. A share of the mean cost
        without displacement: 0 is as bad as that, -1 a perfect match of a cell that counts fully.
    """

    forward: Tensor
    backward: Tensor


def find_large_motion(
    finest: Level,
    recipe: LargeMotion,
    *,
    on_step: Callable[[float], None],
    poll: Poll = never_cancel,
) -> tuple[Tensor, Geometry]:
    """Find a smooth field without folds that brings far-moved structures near each other.

    Parameters
    ----------
    finest
        Both images on one isotropic grid, the moving one already brought there by the linear transform; displacements
        are only compared where both weights are positive.
    recipe
        Features, and how wide the feature voxels are and how many are tried to each side at each level.
    on_step
        Called with the fraction done; may raise.
    poll
        Called between two pieces of work; may raise to stop.

    Returns
    -------
    Tensor, Geometry
        ``(3, d, h, w)`` in voxels of the field's grid, and that grid.
    """
    geometry = finest.fixed.geometry
    nodes = field_grid(geometry)
    field = torch.zeros(3, *nodes.shape, device=finest.fixed.device)
    work = [(2 * radius + 1) ** 3 / shrink**3 for radius, shrink in zip(recipe.radius, recipe.shrink, strict=True)]
    done = 0.0
    for shrink, radius, share in zip(recipe.shrink, recipe.radius, work, strict=True):

        def report(fraction: float, done: float = done, share: float = share) -> None:
            on_step((done + fraction * share) / sum(work))

        grid = _grid_of_level(geometry, shrink, radius)
        fixed, moving = (coarser(image, grid) if grid != geometry else image for image in (finest.fixed, finest.moving))
        poll()
        moved = _warped(moving, transfer_field(field, nodes, grid))
        found = _between_cells(_find_at_level(fixed, moved, recipe, radius, report, poll), field_grid(grid), nodes)
        field, _ = repair_folds(compose_fields(field, found, identity_grid(nodes.shape, found.device)), poll=poll)
        done += share
    return field, nodes


def displacements(radius: int, device: torch.device) -> Tensor:
    """Return the displacements tried, (i, j, k) in feature voxels, ``((2 radius + 1)**3, 3)``, i fastest.

    The last is minus the first, the last but one minus the second, and so on.
    """
    return (identity_grid((2 * radius + 1,) * 3, device) - radius).reshape(-1, 3)


def make_features(image: WorkingImage, similarity: str) -> Features:
    """Describe an image by what survives a change of contrast, averaged over blocks of `POOL` voxels a side.

    Parameters
    ----------
    image
        The image; voxels of weight zero do not count in the averages.
    similarity
        ``"mind"`` for 12 self-similarities, ``"lncc"`` for the intensity less its local mean over its local deviation.
    """
    intensity, weight = image.intensity[None], image.weight
    channels = (
        mind_features(intensity, MIND_RADIUS, MIND_DILATION)[0]
        if similarity == "mind"
        else _locally_normalised(intensity, weight)
    )
    pooled = _block_sums(weight, POOL)
    share = torch.where(pooled > 1e-3, 1 / pooled.clamp_min(1e-3), torch.zeros_like(pooled))
    summed = torch.stack([_block_sums(channel * weight, POOL) for channel in channels])
    return Features(summed * share, pooled / POOL**3)


def cost_volumes(
    fixed: Features, moving: Features, radius: int, *, on_step: Callable[[float], None], poll: Poll = never_cancel
) -> CostVolumes:
    """Compare both images at every displacement up to `radius` feature voxels along each axis.

    The squared difference at a displacement is computed once and kept for the cell it leaves from (forward) and the
    cell it arrives at (backward). Where the other image is unknown the cost is 0, neither good nor bad.

    Parameters
    ----------
    fixed, moving
        Features on one grid.
    radius
        Largest displacement along an axis.
    on_step
        Called with the fraction done; may raise.
    poll
        Called at each displacement; may raise to stop.
    """
    shape = fixed.weight.shape
    count = (2 * radius + 1) ** 3
    forward = fixed.weight.new_zeros(count, *shape)
    backward = torch.zeros_like(forward)
    # Without displacement.
    neutral = _mean_difference(fixed, moving)
    scale = 1 / neutral.clamp_min(torch.finfo(neutral.dtype).tiny)
    for number, (dk, dj, di) in enumerate(itertools.product(range(-radius, radius + 1), repeat=3)):
        poll()
        here, there = zip(*(_overlap(n, d) for n, d in zip(shape, (dk, dj, di), strict=True)), strict=True)
        difference = fixed.channels[(..., *here)] - moving.channels[(..., *there)]
        cost = difference.square_().sum(0).sub_(neutral).mul_(scale)
        cost.mul_(fixed.weight[here]).mul_(moving.weight[there])
        forward[(number, *here)] = cost
        backward[(count - 1 - number, *there)] = cost
        on_step((number + 1) / count)
    return CostVolumes(forward, backward)


def smoothest_minimum(cost: Tensor, radius: int, *, poll: Poll = never_cancel) -> Tensor:
    """Return a smooth field of low cost: d minimises ``cost(d) + c |d - v|^2`` in each cell, v is the local mean of d.

    The coupling c grows from round to round, so that at first each cell votes and in the end neighbours agree. Each
    half step is solved exactly.

    Parameters
    ----------
    cost
        ``((2 radius + 1)**3, d, h, w)``.
    radius
        Of the displacements.
    poll
        Called at each chunk of displacements; may raise to stop.

    Returns
    -------
    Tensor
        ``(3, d, h, w)``, components (i, j, k), in feature voxels.
    """
    tried = displacements(radius, cost.device).to(cost.dtype)
    flat = cost.reshape(len(tried), -1)
    field = cost.new_zeros(3, *cost.shape[1:])
    for coupling in COUPLINGS:
        best = _coupled_minimum(flat, tried, field.reshape(3, -1), coupling, poll)
        field = _local_mean(tried[best].T.reshape(field.shape))
    return field


def made_consistent(forward: Tensor, backward: Tensor, *, poll: Poll = never_cancel) -> tuple[Tensor, Tensor]:
    """Bring two fields nearer to being each other's inverse, by taking half of each and half of the other's reverse.

    Parameters
    ----------
    forward, backward
        ``(3, D, H, W)``, in voxels of their own grid.
    """
    grid = identity_grid(tuple(forward.shape[1:]), forward.device, forward.dtype)  # type: ignore[arg-type]
    for _ in range(CONSISTENCY_ROUNDS):
        poll()
        there = sample(backward, grid + forward.permute(1, 2, 3, 0))
        back = sample(forward, grid + backward.permute(1, 2, 3, 0))
        forward, backward = (forward - there) / 2, (backward - back) / 2
    return forward, backward


def _grid_of_level(geometry: Geometry, shrink: int, radius: int) -> Geometry:
    """Return the grid of the images whose features are `shrink` working voxels wide, or as coarse as memory asks."""
    values = float(np.prod(geometry.size)) * ((2 * radius + 1) / shrink) ** 3
    factor = shrink / POOL * max(1.0, values / LARGEST_VOLUME) ** (1 / 3)
    return geometry if factor == 1 else geometry.resized(geometry.spacing[0] * factor)


def _find_at_level(
    fixed: WorkingImage,
    moving: WorkingImage,
    recipe: LargeMotion,
    radius: int,
    on_step: Callable[[float], None],
    poll: Poll,
) -> Tensor:
    """Return the field of one level in cells, on the grid of the cells."""
    poll()
    fixed_features = make_features(fixed, recipe.similarity)
    poll()
    moving_features = make_features(moving, recipe.similarity)
    volumes = cost_volumes(fixed_features, moving_features, radius, on_step=on_step, poll=poll)
    fields = []
    for cost in (volumes.forward, volumes.backward):
        smoothed = _smoothed_costs(cost, poll)
        fields.append(smoothest_minimum(smoothed, radius, poll=poll))
    forward, _ = made_consistent(*fields, poll=poll)
    # Here a fold is a few cells and cheap to smooth away; on a finer grid it is thousands.
    return repair_folds(forward, poll=poll)[0]


def _between_cells(field: Tensor, cells: Geometry, nodes: Geometry) -> Tensor:
    """Bring a field to a finer grid, in voxels of each; about a B-spline with the cells as knots."""
    return smooth(transfer_field(field, cells, nodes), cells.spacing[0] / nodes.spacing[0] / 2)


def _warped(image: WorkingImage, field: Tensor) -> WorkingImage:
    grid = identity_grid(image.geometry.shape, image.device)
    intensity, weight = sample_images(image.channels, grid + field.permute(1, 2, 3, 0), padding="zeros")
    return WorkingImage(intensity, weight, image.geometry)


def _locally_normalised(intensity: Tensor, weight: Tensor) -> Tensor:
    total = box_sum(weight[None], NORMALISATION_RADIUS).clamp_min(1e-3)
    mean = box_sum(intensity * weight, NORMALISATION_RADIUS) / total
    centred = intensity - mean
    variance = box_sum(centred.square() * weight, NORMALISATION_RADIUS) / total
    noise = (variance * weight).sum() / weight.sum().clamp_min(1.0)
    return centred / (variance + 0.1 * noise + 1e-8).sqrt()


def _mean_difference(fixed: Features, moving: Features) -> Tensor:
    """Return the weighted mean squared difference without displacement, a tensor of no axes."""
    weight = fixed.weight * moving.weight
    difference = (fixed.channels - moving.channels).square_().sum(0)
    return (difference * weight).sum() / weight.sum().clamp_min(1e-6)


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """Return where voxels lie whose partner, `shift` further on, is inside, and where their partners lie."""
    if abs(shift) >= size:
        return slice(0, 0), slice(0, 0)
    low, high = max(0, -shift), min(size, size - shift)
    return slice(low, high), slice(low + shift, high + shift)


def _block_sums(volume: Tensor, width: int) -> Tensor:
    """Sum blocks of `width` voxels a side; blocks that stick out are filled with zeros."""
    missing = [(-n) % width for n in reversed(volume.shape)]
    padded = functional.pad(volume, [v for n in missing for v in (0, n)]) if any(missing) else volume
    d, h, w = (n // width for n in padded.shape)
    return padded.reshape(d, width, h, width, w, width).sum((1, 3, 5))


def _smoothed_costs(cost: Tensor, poll: Poll) -> Tensor:
    """Average each displacement's costs over the cells next to it, in place: a cell alone is ambiguous."""
    at_once = max(1, VALUES_AT_ONCE // max(cost[0].numel(), 1))
    for start in range(0, len(cost), at_once):
        poll()
        some = slice(start, start + at_once)
        cost[some] = box_sum(cost[some], 1).div_(27)
    return cost


def _coupled_minimum(cost: Tensor, tried: Tensor, field: Tensor, coupling: float, poll: Poll) -> Tensor:
    """Return for each cell the number of the displacement of least cost ``(K, n)`` plus coupling to `field` (3, n)."""
    # |d - v|^2 without |v|^2, which does not depend on d, is one matrix product: [|d|^2, -2 d] with [1, v].
    of_tried = torch.cat([tried.square().sum(1, keepdim=True), -2 * tried], dim=1)
    of_field = torch.cat([torch.ones_like(field[:1]), field])
    best = torch.zeros_like(field[0], dtype=torch.long)
    at_once = max(1, VALUES_IN_CACHE // len(tried))
    for start in range(0, len(best), at_once):
        poll()
        cells = slice(start, start + at_once)
        coupled = torch.addmm(cost[:, cells], of_tried, of_field[:, cells], alpha=coupling)
        best[cells] = coupled.min(0).indices
    return best


def _local_mean(field: Tensor) -> Tensor:
    """Average over a cell and its neighbours, of which there are fewer at the border."""
    return box_sum(field, 1) / box_sum(torch.ones_like(field[:1]), 1)
