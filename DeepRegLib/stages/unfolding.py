"""An inverse without folds: where tissue was pressed together, a grid of the moving scan is too coarse to part it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.evaluation.regularity import folded_voxels
from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.regularity import smooth_locally
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.stages.deformable import FOLD_ROUNDS, cells_at, to_displacement_field
from DeepRegLib.transforms import DisplacementField, Transform, compose, parts_of
from DeepRegLib.transforms.rounding import inverse_step, rounded

# Folds so many voxels apart are looked at together, and so much around them; smoothing reaches less far.
AROUND = 4
# Voxels of the inverse around what is looked at, into which smoothing fades.
MARGIN = 4
# What smoothing one place makes fold beside it is smoothed in the next pass.
PASSES = 3


@dataclass(frozen=True)
class Unfolded:
    """An inverse and what folds of it.

    Parameters
    ----------
    inverse
        Moving points to fixed points.
    folds
        Voxels of the moving grid where it folds, as `DeepRegLib.evaluation.digital_folds` counts.
    found
        How many they were before.
    """

    inverse: Transform
    folds: int
    found: int


def unfolded(inverse: Transform, moving: Geometry, *, device: str = "cpu", poll: Poll = never_cancel) -> Unfolded:
    """Smooth an inverse where it folds on the moving scan's grid, until it does not or that has been tried often.

    Parameters
    ----------
    inverse
        Moving points to fixed points. One with several fields is counted only.
    moving
        The moving scan's grid.
    device
        Where it is smoothed.
    poll
        Called now and then; may raise to stop.
    """
    folded = folded_voxels(inverse, moving, poll=poll)
    found = left = int(np.count_nonzero(folded))
    fields = [part for part in parts_of(inverse) if isinstance(part, DisplacementField)]
    for _ in range(PASSES if len(fields) == 1 else 0):
        if not left:
            break
        tried = _smoothed_where(inverse, folded, moving, device, poll)
        folded = folded_voxels(tried, moving, poll=poll)
        if np.count_nonzero(folded) >= left:
            break
        inverse, left = tried, int(np.count_nonzero(folded))
    return Unfolded(inverse, left, found)


def _smoothed_where(
    inverse: Transform, folded: NDArray[np.bool_], moving: Geometry, device: str, poll: Poll
) -> Transform:
    """Return an inverse with one field, smoothed about folded voxels of the moving grid."""
    parts = parts_of(inverse)
    number, field = next((n, part) for n, part in enumerate(parts) if isinstance(part, DisplacementField))
    before, after = parts[:number], parts[number + 1 :]
    array = field.array.copy()
    for box in _clusters(folded, poll):
        part = _part_of(moving, box)
        around = _covering(before, part, field.geometry)
        piece = DisplacementField(array[around], _part_of(field.geometry, around))
        array[around] = _smoothed(piece, before, folded[box], part, device, poll)
    return compose(*before, DisplacementField(array, field.geometry), *after)


Box = tuple[slice, slice, slice]


def _smoothed(
    piece: DisplacementField,
    before: Sequence[Transform],
    folded: NDArray[np.bool_],
    part: Geometry,
    device: str,
    poll: Poll,
) -> NDArray[np.floating]:
    """Return the displacements of a piece of the inverse, smoothed until a part of the moving grid shows no fold.

    Where nothing is smoothed they stay the very same.
    """
    grid, given, original = piece.geometry, piece.array, _voxels(piece, device)
    field = original
    for attempt in range(FOLD_ROUNDS):
        if not folded.any():
            break
        poll()
        cells = _cells(before, folded, part, grid).to(field.device)
        field = smooth_locally(field, cells, reach=1 + attempt)
        changed = (field != original).any(0).cpu().numpy()[..., None]
        smoothed = rounded(to_displacement_field(field, grid).array, inverse_step(grid))
        piece = DisplacementField(np.where(changed, smoothed, given), grid)
        folded = folded_voxels(compose(*before, piece), part, poll=poll)
    return piece.array


def _clusters(folded: NDArray[np.bool_], poll: Poll) -> Iterator[Box]:
    """Yield the boxes about folded voxels that lie near each other, k, j, i."""
    marked = torch.from_numpy(folded.astype(np.float32))
    near = (box_sum(marked, AROUND) > 0.5).numpy().astype(np.uint8)
    poll()
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(sitk.ConnectedComponent(sitk.GetImageFromArray(near)))
    for label in shapes.GetLabels():
        i, j, k, width, height, depth = shapes.GetBoundingBox(label)
        yield slice(k, k + depth), slice(j, j + height), slice(i, i + width)


def _part_of(geometry: Geometry, box: Box) -> Geometry:
    """Return the grid of a box of voxels k, j, i of a grid."""
    k, j, i = box
    x, y, z = geometry.to_world([i.start, j.start, k.start]).tolist()
    return replace(
        geometry, size=(i.stop - i.start, j.stop - j.start, k.stop - k.start), origin=(float(x), float(y), float(z))
    )


def _covering(before: Sequence[Transform], part: Geometry, grid: Geometry) -> Box:
    """Return the box of the inverse's voxels that is asked for a part of the moving grid, and a margin about it."""
    index = grid.to_index(_led(before, part.corners()))
    last = np.array(grid.size) - 1
    low = np.clip(np.floor(index.min(axis=0)).astype(int) - MARGIN, 0, last - 1)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + MARGIN, low + 1, last)
    i, j, k = (slice(int(first), int(end) + 1) for first, end in zip(low, high, strict=True))
    return k, j, i


def _cells(before: Sequence[Transform], folded: NDArray[np.bool_], part: Geometry, grid: Geometry) -> Tensor:
    """Mark the cells of the inverse's grid that hold folded voxels of the moving grid."""
    points = _led(before, part.to_world(np.argwhere(folded)[:, ::-1]))
    return cells_at(grid.to_index(points), grid, grid)


def _led(before: Sequence[Transform], points: NDArray[np.float64]) -> NDArray[np.float64]:
    for transform in before:
        points = transform.apply_to_points(points)
    return points


def _voxels(field: DisplacementField, device: str) -> Tensor:
    """Return a field in mm in voxels of its grid, ``(3, D, H, W)``."""
    voxels = field.array @ field.geometry.world_to_index[:3, :3].T.astype(field.array.dtype)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(voxels, -1, 0), dtype=np.float32)).to(device)
