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
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, compose, parts_of
from DeepRegLib.transforms.rounding import inverse_step, rounded

# Folds so many voxels apart are looked at together, and so much around them; smoothing reaches less far.
AROUND = 4
# Voxels of the inverse around what is looked at, into which smoothing fades.
MARGIN = 4
# What smoothing one place makes fold beside it is smoothed in the next pass.
PASSES = 3

Box = tuple[slice, slice, slice]


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
        tried, touched = _smoothed_where(inverse, folded, moving, device, poll)
        folded = _counted_again(tried, folded, touched, moving, poll)
        if np.count_nonzero(folded) >= left:
            break
        inverse, left = tried, int(np.count_nonzero(folded))
    return Unfolded(inverse, left, found)


def _smoothed_where(
    inverse: Transform, folded: NDArray[np.bool_], moving: Geometry, device: str, poll: Poll
) -> tuple[Transform, list[Box]]:
    """Return an inverse with one field, smoothed about folded voxels of the moving grid, and the boxes that sees it."""
    before, field, after = _around_its_field(inverse)
    array, touched = field.array.copy(), []
    for box in _clusters(folded, poll):
        part = _part_of(moving, box)
        around = _covering(before, part, field.geometry)
        piece = DisplacementField(array[around], _part_of(field.geometry, around))
        smoothed = _smoothed(piece, before, folded[box], part, device, poll)
        changed = np.argwhere((smoothed != array[around]).any(axis=-1))
        array[around] = smoothed
        if len(changed):
            touched.append(_seeing(before, _about(changed, around), field.geometry, moving))
    return compose(*before, DisplacementField(array, field.geometry), *after), touched


def _counted_again(
    inverse: Transform, folded: NDArray[np.bool_], touched: Sequence[Box], moving: Geometry, poll: Poll
) -> NDArray[np.bool_]:
    """Return where an inverse folds that folded at some voxels and has changed in some boxes of the moving grid."""
    if sum(int(np.prod(_lengths(box))) for box in touched) > folded.size:
        return folded_voxels(inverse, moving, poll=poll)
    folded = folded.copy()
    for box in touched:
        # A voxel more on either side, so that the differences are those of the whole grid.
        ends = zip(box, folded.shape, strict=True)
        k, j, i = (slice(max(part.start - 1, 0), min(part.stop + 1, size)) for part, size in ends)
        again = _folded_in(inverse, _part_of(moving, (k, j, i)), poll)
        starts = zip(box, (k, j, i), strict=True)
        folded[box] = again[tuple(slice(part.start - outer.start, part.stop - outer.start) for part, outer in starts)]
    return folded


def _folded_in(inverse: Transform, part: Geometry, poll: Poll) -> NDArray[np.bool_]:
    """Return where an inverse with one field folds in a part of the moving grid; looks at a part of the field only."""
    before, field, after = _around_its_field(inverse)
    around = _covering(before, part, field.geometry)
    piece = DisplacementField(field.array[around], _part_of(field.geometry, around))
    return folded_voxels(compose(*before, piece, *after), part, poll=poll)


def _around_its_field(
    inverse: Transform,
) -> tuple[list[LinearTransform], DisplacementField, list[LinearTransform]]:
    """Return what comes before the one field of an inverse, the field, and what comes after it."""
    parts = parts_of(inverse)
    number, field = next((n, part) for n, part in enumerate(parts) if isinstance(part, DisplacementField))
    before, after = (
        [part for part in some if isinstance(part, LinearTransform)] for some in (parts[:number], parts[number + 1 :])
    )
    return before, field, after


def _seeing(before: Sequence[LinearTransform], box: Box, grid: Geometry, moving: Geometry) -> Box:
    """Return the box of the moving grid's voxels whose folds depend on a box of the inverse's voxels."""
    # A voxel holds as far as its neighbours, and a fold is seen from one voxel away.
    k, j, i = (slice(part.start - 1, part.stop + 1) for part in box)
    points = _part_of(grid, (k, j, i)).corners()
    for transform in reversed(before):
        points = transform.inverse().apply_to_points(points)
    index = moving.to_index(points)
    low = np.clip(np.floor(index.min(axis=0)).astype(int) - 1, 0, np.array(moving.size))
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 2, low, np.array(moving.size))
    i, j, k = (slice(int(first), int(end)) for first, end in zip(low, high, strict=True))
    return k, j, i


def _about(nodes: NDArray[np.intp], box: Box) -> Box:
    """Return the smallest box about nodes k, j, i, ``(n, 3)``, which are counted from the corner of a box."""
    starts = [part.start for part in box]
    ends = zip((nodes.min(axis=0) + starts).tolist(), (nodes.max(axis=0) + starts).tolist(), strict=True)
    k, j, i = (slice(first, last + 1) for first, last in ends)
    return k, j, i


def _lengths(box: Box) -> tuple[int, int, int]:
    k, j, i = (part.stop - part.start for part in box)
    return k, j, i


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
