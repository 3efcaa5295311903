"""The displacement field on top of the linear transform, free of folds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from DeepRegLib.evaluation import JacobianStatistics, folds_and_statistics
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import image_grid
from DeepRegLib.optimization.regularity import PATIENT_ROUNDS, repair_folds, smooth_locally
from DeepRegLib.optimization.sliding import sharpened, surface_of
from DeepRegLib.stages.candidates import FieldFunction
from DeepRegLib.stages.initialisation import Initialisation, solve_levels
from DeepRegLib.stages.levels import share_in_mask
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    displacement_on_grid,
    has_field,
)

logger = logging.getLogger(__name__)

FOLD_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Deformed:
    """What the deformable stage found.

    Parameters
    ----------
    transform
        Field and linear transform.
    inverse
        Where the stage found it too.
    jacobian
        On the fixed grid, where the stage had to look at it anyway.
    """

    transform: Transform
    inverse: Transform | None = None
    jacobian: JacobianStatistics | None = None


def deform(run: Run, levels: Sequence[Level], linear: LinearTransform, start: Initialisation) -> Deformed:
    """Find the field u and return x -> linear(x + u(x)), without folds on the working and on the fixed image's grid.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    levels
        Coarse to fine.
    linear
        The linear transform.
    start
        Where to start.
    """
    fit = solve_levels(run, levels, start)
    field, geometry = continued(fit.field, fit.geometry, run.pair.fixed.original.geometry)
    if run.sliding_mask is not None:
        field, geometry = _with_sharp_jump(run, run.sliding_mask, field, geometry)
    return without_folds(run, field, geometry, linear)


def initial_field(run: Run, linear: LinearTransform, initial: Transform) -> FieldFunction | None:
    """Return the function that gives u with linear(x + u(x)) = initial(x); None if `initial` holds no field."""
    if not has_field(initial):
        return None
    relative = compose(initial, linear.inverse())

    def start(geometry: Geometry) -> Tensor:
        return to_voxels(run, relative, geometry)

    return start


def to_voxels(run: Run, transform: Transform, geometry: Geometry) -> Tensor:
    """Return the displacement by a transform at the voxels of a grid, ``(3, D, H, W)``, in voxels of the grid."""
    voxels = displacement_on_grid(transform, geometry, poll=run.monitor.poll) @ geometry.world_to_index[:3, :3].T
    channels_first = np.ascontiguousarray(np.moveaxis(voxels, -1, 0), dtype=np.float32)
    return torch.from_numpy(channels_first).to(run.device)


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


def _with_sharp_jump(run: Run, mask: Image, field: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry]:
    """Return the field on the grid of its images, where its jump at the surface of the mask is narrower."""
    finer = image_grid(geometry)
    shares = (share_in_mask(run, mask, grid) for grid in (geometry, finer))
    return sharpened(field, surface_of(next(shares)), next(shares), poll=run.monitor.poll), finer


def without_folds(run: Run, field: Tensor, geometry: Geometry, linear: LinearTransform) -> Deformed:
    """Return a field in mm before the linear transform, smoothed where it folds, or both do on the finer, fixed grid.

    Parameters
    ----------
    run
        The run.
    field
        ``(3, D, H, W)``, in voxels of its grid.
    geometry
        Its grid.
    linear
        The linear transform.
    """
    field, repaired = repair_folds(field, rounds_a_reach=PATIENT_ROUNDS, poll=run.monitor.poll)
    if repaired:
        logger.info("Smoothed the field at %d cells that folded or nearly did.", repaired)
    fixed, foreground = run.pair.fixed.original.geometry, run.pair.fixed.foreground
    transform = compose(to_displacement_field(field, geometry), linear)
    for attempt in range(FOLD_ROUNDS):
        folded, jacobian = folds_and_statistics(transform, fixed, foreground, poll=run.monitor.poll)
        if not folded.any():
            return Deformed(transform, jacobian=jacobian)
        logger.info("Round %d: %d voxels fold on the fixed grid.", attempt + 1, int(folded.sum()))
        cells = cells_at(np.argwhere(folded)[:, ::-1], fixed, geometry)
        run.monitor.poll()
        smoothed = smooth_locally(field, cells.to(field.device), reach=1 + attempt)
        field, _ = repair_folds(smoothed, rounds_a_reach=PATIENT_ROUNDS, poll=run.monitor.poll)
        transform = compose(to_displacement_field(field, geometry), linear)
    return Deformed(transform)


def cells_at(index: np.ndarray, fixed: Geometry, geometry: Geometry) -> Tensor:
    """Mark the cells of `geometry` that hold voxels of `fixed`."""
    cells = np.floor(geometry.to_index(fixed.to_world(index))).astype(np.int64)
    i, j, k = np.clip(cells, 0, np.array(geometry.size) - 2).T
    marked = torch.zeros([n - 1 for n in geometry.shape], dtype=torch.bool)
    marked[k, j, i] = True
    return marked
