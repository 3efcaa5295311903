"""The landmarks, labels and rigid segments a user gives, as pulls on the field of each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from DeepRegLib.evaluation import target_registration_error
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.label_preparation import label_boxes
from DeepRegLib.monitoring import Poll
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.pulls import LabelPull, LandmarkPull, Pull, Structure
from DeepRegLib.optimization.rigid_pull import RigidNodes, RigidPull
from DeepRegLib.preprocessing import smooth_and_resample
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import LinearTransform, Transform, field_of_view, transform_to_sitk

# Nodes about a structure, so that it can move and be blurred.
MARGIN_NODES = 2
# A landmark this many working voxels away from its partner was not met, whatever the reason.
UNMET_VOXELS = 2.0
NAMED_AT_MOST = 12
# Of a node's volume: what a rigid segment must fill to hold it.
LEAST_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class _LabelMaps:
    """A structure as the share of each node's volume it takes, on one part of the finest field's grid."""

    fixed: Image
    moving: Image


def with_pulls(run: Run, levels: Sequence[Level], linear: LinearTransform) -> list[Level]:
    """Add to each level what pulls on its field, and note what that is.

    Parameters
    ----------
    run
        With landmarks, labels, rigid segments or none of them, and a recipe that says how hard they pull.
    levels
        Coarse to fine.
    linear
        The linear transform that all fields come before.
    """
    recipe = run.recipe.deformable
    landmarks = run.landmarks if recipe.landmark_pull > 0 else None
    maps = _label_maps(run, field_grid(levels[-1].fixed.geometry), linear) if recipe.label_pull > 0 else []
    if landmarks is not None:
        run.log.add_decision(
            f"Landmarks that pull on the field: {len(landmarks[0])}. Their error says nothing about other places."
        )
    pulling = []
    for level in levels:
        grid = field_grid(level.fixed.geometry)
        pulls: list[Pull] = []
        if landmarks is not None:
            pulls.append(_landmark_pull(run, landmarks, grid, linear))
        if maps:
            pulls.append(_label_pull(run, maps, grid, linear))
        pulls += _rigid_pulls(run, grid, linear)
        pulling.append(replace(level, pulls=tuple(pulls)))
    return pulling


def warn_of_unmet_landmarks(run: Run, transform: Transform, spacing: float) -> None:
    """Warn of the landmarks that pulled, but are not met by the result.

    Parameters
    ----------
    run
        Whose landmarks are looked at.
    transform
        The result.
    spacing
        Of the finest working grid, in mm.
    """
    if run.landmarks is None or run.recipe.deformable.landmark_pull == 0:
        return
    error = target_registration_error(transform, *run.landmarks)
    unmet = np.flatnonzero(error > UNMET_VOXELS * spacing)
    if unmet.size == 0:
        return
    worst = sorted(unmet.tolist(), key=lambda n: -error[n])
    named = [f"number {n + 1} by {error[n]:.1f} mm" for n in worst[:NAMED_AT_MOST]]
    run.log.add_warning(
        f"{unmet.size} of {error.size} landmarks are not met: {_listed(named, unmet.size)}. "
        "They contradict each other or the images; check them."
    )


def _landmark_pull(
    run: Run, landmarks: tuple[NDArray[np.float64], NDArray[np.float64]], grid: Geometry, linear: LinearTransform
) -> Pull:
    fixed, moving = landmarks
    places, targets = grid.to_index(fixed), grid.to_index(linear.inverse().apply_to_points(moving))
    return LandmarkPull(places, targets, grid.shape, weight=run.recipe.deformable.landmark_pull, device=run.device)


def _label_pull(run: Run, maps: list[_LabelMaps], grid: Geometry, linear: LinearTransform) -> Pull:
    poll = run.monitor.poll
    fixed, moving = (side.original.geometry for side in (run.pair.fixed, run.pair.moving))
    seen = [
        _on_device(field_of_view(chain, image, grid, poll=poll), run)
        for chain, image in ((LinearTransform.identity(), fixed), (linear, moving))
    ]
    structures = []
    for pair in maps:
        first, part = _part_of(grid, pair.fixed.geometry.corners())
        i, j, k = first.tolist()
        sides = [_on_device(_blurred_onto(side, part, None, poll), run) for side in (pair.fixed, pair.moving)]
        structures.append(Structure((k, j, i), *sides))
    return LabelPull(structures, *seen, weight=run.recipe.deformable.label_pull)


def _rigid_pulls(run: Run, grid: Geometry, linear: LinearTransform) -> list[Pull]:
    """Return what keeps the rigid segments rigid on a level; nothing where there are none, or none fills a node."""
    if run.rigid_labels is None:
        return []
    found = [
        _rigid_nodes(run, _mask(run.rigid_labels, label, box), grid)
        for label, box in label_boxes(run.rigid_labels, run.monitor.poll).items()
    ]
    segments = [nodes for nodes in found if len(nodes.numbers) > 0]
    matrix = grid.world_to_index @ linear.matrix @ grid.index_to_world
    return [RigidPull(segments, matrix, grid.shape, device=run.device)] if segments else []


def _rigid_nodes(run: Run, segment: Image, grid: Geometry) -> RigidNodes:
    first, part = _part_of(grid, segment.geometry.corners())
    shares = _blurred_onto(segment, part, None, run.monitor.poll).array
    held = np.argwhere(np.greater(shares, LEAST_SHARE))
    places = held[:, ::-1] + first
    numbers = np.ravel_multi_index((places[:, 2], places[:, 1], places[:, 0]), grid.shape)
    return RigidNodes(
        torch.from_numpy(numbers).to(run.device),
        torch.from_numpy(np.ascontiguousarray(places.T, dtype=np.float32)).to(run.device),
        torch.from_numpy(np.ascontiguousarray(shares[tuple(held.T)], dtype=np.float32)).to(run.device),
    )


def _label_maps(run: Run, grid: Geometry, linear: LinearTransform) -> list[_LabelMaps]:
    """Bring each structure that both label maps have onto its part of the finest field's grid."""
    if run.labels is None:
        return []
    poll = run.monitor.poll
    fixed, moving = run.labels
    boxes, others = (label_boxes(labels, poll) for labels in run.labels)
    common = sorted(boxes.keys() & others.keys())
    _note(run, common, sorted(boxes.keys() ^ others.keys()))
    back, chain = linear.inverse(), transform_to_sitk(linear)
    maps = []
    for label in common:
        here, there = _mask(fixed, label, boxes[label]), _mask(moving, label, others[label])
        corners = np.concatenate([here.geometry.corners(), back.apply_to_points(there.geometry.corners())])
        _, part = _part_of(grid, corners)
        maps.append(_LabelMaps(_blurred_onto(here, part, None, poll), _blurred_onto(there, part, chain, poll)))
    return maps


def _note(run: Run, common: list[int], alone: list[int]) -> None:
    if not common:
        run.log.add_warning("The fixed and the moving labels have no label in common, so none of them pulls.")
        return
    named = _listed([str(label) for label in common[:NAMED_AT_MOST]], len(common))
    run.log.add_decision(f"Labels that pull on the field: {named}. Their overlap says nothing about other structures.")
    if alone:
        named = _listed([str(label) for label in alone[:NAMED_AT_MOST]], len(alone))
        run.log.add_decision(f"Labels on one image only do not pull: {named}.")


def _mask(labels: Image, label: int, box: tuple[slice, slice, slice]) -> Image:
    """Return one label as 0 and 1 in its box."""
    k, j, i = (part.start for part in box)
    inside = (labels.array[box] == label).astype(np.float32)
    return _image_from(inside, (i, j, k), labels.geometry)


def _blurred_onto(image: Image, grid: Geometry, transform: sitk.Transform | None, poll: Poll) -> Image:
    """Bring an image that is 0 around onto a grid; what is blurred past its border is not lost."""
    around = [math.ceil(max(grid.spacing) / step) + 1 for step in image.geometry.spacing]
    wider = np.pad(image.array, [(n, n) for n in reversed(around)])
    i, j, k = (-n for n in around)
    return smooth_and_resample(_image_from(wider, (i, j, k), image.geometry), grid, transform, poll=poll)


def _image_from(array: NDArray[np.float32], first: tuple[int, int, int], grid: Geometry) -> Image:
    """Return an array as an image whose first voxel has an index (i, j, k) of a grid."""
    x, y, z = grid.to_world(first).tolist()
    depth, height, width = array.shape
    return Image(array, replace(grid, size=(width, height, depth), origin=(x, y, z)), "label")


def _part_of(grid: Geometry, points: NDArray[np.float64]) -> tuple[NDArray[np.int64], Geometry]:
    """Return the part of a grid that holds points and a margin: its first index (i, j, k), and the part as a grid."""
    index, last = grid.to_index(points), np.array(grid.size) - 1
    first = np.clip(np.floor(index.min(0)).astype(np.int64) - MARGIN_NODES, 0, last)
    end = np.clip(np.ceil(index.max(0)).astype(np.int64) + MARGIN_NODES, 0, last)
    i, j, k = (end - first + 1).tolist()
    x, y, z = grid.to_world(first).tolist()
    return first, replace(grid, size=(i, j, k), origin=(x, y, z))


def _on_device(image: Image, run: Run) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.array, dtype=np.float32)).to(run.device)


def _listed(named: list[str], count: int) -> str:
    more = count - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
