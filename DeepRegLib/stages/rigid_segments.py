"""Segments that do not bend: in each, the displacement is replaced by its best rigid motion, blended out around it.

A projection of the finished field. During the descent a pull keeps the segments nearly rigid
(`DeepRegLib.optimization.rigid_pull`); this makes them so exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.evaluation import folds_and_statistics
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.image.conversion import to_sitk
from DeepRegLib.landmark_alignment import rigid_from_landmarks
from DeepRegLib.monitoring import Poll
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    displacement_on_grid,
    has_field,
    linear_part,
    parts_of,
)

REACH = 10.0  # mm around a segment over which its motion fades into the field's
WIDER = 1.6
TRIES = 4
FEWEST_VOXELS = 12
MOST_POINTS = 20_000
CLOSE = 1e-3  # mm
TOUCHED = 1e-3  # of a mask, linearly interpolated: an eighth where one voxel of the segment touches a corner
BEYOND = 1e-6  # voxels
MOST_NODES = 8_000_000  # of the field


@dataclass(frozen=True, eq=False)
class RigidSegment:
    """One segment and its motion.

    Parameters
    ----------
    label
        Its number.
    motion
        Fixed points to moving points, rotation and translation.
    bending
        Mean distance in mm by which the field had bent it.
    """

    label: int
    motion: LinearTransform
    bending: float


def with_rigid_segments(run: Run, found: Deformed, labels: Image | None, *, least_bending: float = 0.0) -> Deformed:
    """Return what the deformable stage found with every label of a map moving as one rigid body.

    Parameters
    ----------
    run
        Its log is told what it cost.
    found
        A transform with a field; one without comes back as it is.
    labels
        Whole numbers on the fixed grid, or None for nothing rigid.
    least_bending
        Segments that are bent by less than so many mm on average are left as they are.
    """
    if labels is None or not has_field(found.transform):
        return found
    poll = run.monitor.poll
    segments = rigid_motions(found.transform, labels, poll)
    if not segments:
        run.log.add_warning(f"{labels.name} has no segment of {FEWEST_VOXELS} voxels, so none is kept rigid.")
        return found
    segments = [segment for segment in segments if segment.bending >= least_bending]
    if not segments:
        return found
    fixed, foreground = run.pair.fixed.original.geometry, run.pair.fixed.foreground
    reach, best = REACH, found
    for _ in range(TRIES):
        transform = projected(found.transform, labels, segments, reach, poll)
        folded, jacobian = folds_and_statistics(transform, fixed, foreground, poll=poll)
        best = Deformed(transform, jacobian=jacobian)
        if not folded.any():
            break
        reach *= WIDER
    else:
        run.log.add_warning("Around the rigid segments the field folds: they move too differently from one another.")
    bent = np.array([segment.bending for segment in segments])
    run.log.add_decision(
        f"{len(segments)} segments kept rigid: the field had bent them by {bent.mean():.2f} mm on average, "
        f"{bent.max():.2f} mm at most; their motion fades out over {reach:.0f} mm."
    )
    return best


def rigid_motions(transform: Transform, labels: Image, poll: Poll) -> list[RigidSegment]:
    """Return each label's rigid motion nearest to a transform, ascending; those of too few voxels are left out."""
    segments = []
    numbers = np.unique(labels.array)
    for label in numbers[numbers != 0].tolist():
        poll()
        index = np.argwhere(labels.array == label)[:, ::-1]
        if len(index) < FEWEST_VOXELS:
            continue
        points = labels.geometry.to_world(index[:: 1 + len(index) // MOST_POINTS])
        moved = transform.apply_to_points(points)
        motion = LinearTransform(rigid_from_landmarks(points, moved))
        distance = np.linalg.norm(motion.apply_to_points(points) - moved, axis=1)
        segments.append(RigidSegment(int(label), motion, float(distance.mean())))
    return segments


def projected(
    transform: Transform, labels: Image, segments: Sequence[RigidSegment], reach: float, poll: Poll
) -> Transform:
    """Return a transform whose segments move rigidly, the same beyond `reach` mm around them.

    A node at a voxel of one segment alone moves with that segment. Elsewhere between segments that lie near each other,
    each counts by the inverse square of its distance.
    """
    linear = linear_part(transform)
    grid = _field_grid(transform, labels)
    points = grid.points()
    moved = points + _displacement(transform, grid, labels.geometry, poll)
    total = np.zeros(grid.shape)
    rigid = np.zeros((*grid.shape, 3))
    most = np.zeros(grid.shape)
    for segment in segments:
        poll()
        distance = _distance(labels, segment.label, grid)
        # A cell whose corners all move rigidly does so throughout, for between them the field is linear.
        around = np.maximum(distance - float(np.linalg.norm(grid.spacing)), 0)
        most = np.maximum(most, _fading(around / reach))
        weight = 1 / (distance + CLOSE) ** 2
        total += weight
        rigid += weight[..., np.newaxis] * segment.motion.apply_to_points(points.reshape(-1, 3)).reshape(points.shape)
    rigid /= total[..., np.newaxis]
    target = moved + most[..., np.newaxis] * (rigid - moved)
    before = linear.inverse().apply_to_points(target.reshape(-1, 3)).reshape(points.shape)
    return compose(DisplacementField((before - points).astype(np.float32), grid), linear)


def _displacement(transform: Transform, grid: Geometry, fixed: Geometry, poll: Poll) -> NDArray[np.float64]:
    """Return the displacement at each node, beyond the centres of the scan's outer voxels as the field is at those.

    A field may end there, and what lies behind would move by the linear part alone.
    """
    linear, displacement = linear_part(transform), displacement_on_grid(transform, grid, poll=poll).astype(np.float64)
    index = fixed.to_index(grid.points())
    inner: NDArray[np.float64] = np.clip(index, 0, np.array(fixed.size) - 1)
    beyond = np.any(np.abs(index - inner) > BEYOND, axis=-1)
    points, nearest = fixed.to_world(index[beyond]), fixed.to_world(inner[beyond])
    before = linear.inverse().apply_to_points(transform.apply_to_points(nearest))
    displacement[beyond] = linear.apply_to_points(points + before - nearest) - points
    return displacement


def _fading(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 at 0, 0 from 1 on, with slopes of zero at both ends."""
    left = 1 - np.clip(share, 0, 1)
    return left * left * (3 - 2 * left)


def _distance(labels: Image, label: int, grid: Geometry) -> NDArray[np.float64]:
    """Return the distance in mm from a segment at each node of a grid, 0 in its voxels and on their faces."""
    # Nodes on the outer faces of the scan lie beyond the centres of its voxels.
    padded = labels.geometry.padded((1, 1, 1), (1, 1, 1))
    inside = np.pad(labels.array == label, 1)
    mask = to_sitk(Image(inside.astype(np.uint8), padded))
    distance = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True))
    far = float(np.linalg.norm(padded.extent))
    outside = resample(Image(np.maximum(distance, 0).astype(np.float32), padded), grid, background=far).array
    touched = np.greater(resample(Image(inside.astype(np.float32), padded), grid).array, TOUCHED)
    return np.where(touched, 0.0, outside.astype(np.float64))


def _field_grid(transform: Transform, labels: Image) -> Geometry:
    """Return a grid as fine as the transform's field, with a node at each corner of the fixed scan's voxels.

    So a voxel is made of whole cells, and a segment's voxels are rigid to their faces. Voxels of two segments that
    touch share corners: there must be nodes at their centres, too, so that they bend no further in than these. Of a
    scan of too many voxels there is a node at some of them, and segments nearer to each other than that bend there.
    """
    fixed = labels.geometry
    fields = [part.geometry.spacing for part in parts_of(transform) if isinstance(part, DisplacementField)]
    finer = np.ceil(np.array(fixed.spacing) / np.min(fields) - 1e-6).astype(int).clip(1)
    if _touch(labels.array) and np.prod(2.0 * finer * fixed.size + 1) <= MOST_NODES:
        finer *= 2
    size = np.array(fixed.size) * finer + 1
    spacing = np.array(fixed.spacing) / finer
    while np.prod(size.astype(np.float64)) > MOST_NODES:
        axis = int(np.argmin(spacing))
        size[axis], spacing[axis] = (size[axis] + 1) // 2 + 1, 2 * spacing[axis]
    i, j, k = (int(n) for n in size)
    x, y, z = (float(step) for step in spacing)
    corner_x, corner_y, corner_z = fixed.to_world([-0.5, -0.5, -0.5]).tolist()
    return replace(fixed, size=(i, j, k), spacing=(x, y, z), origin=(corner_x, corner_y, corner_z))


def _touch(numbers: NDArray[np.generic]) -> bool:
    """Return whether voxels of two segments share a corner."""
    given = np.pad(numbers, 1).astype(np.int64)
    highest, lowest = given, np.where(given == 0, np.iinfo(np.int64).max, given)
    for axis in range(3):
        first, last = ([slice(None)] * axis + [part] for part in (slice(None, -1), slice(1, None)))
        highest = np.maximum(highest[tuple(first)], highest[tuple(last)])
        lowest = np.minimum(lowest[tuple(first)], lowest[tuple(last)])
    return bool((lowest < highest).any())
