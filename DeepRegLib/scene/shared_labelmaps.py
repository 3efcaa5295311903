"""The label maps that a segmentation is stored as, in its own frame, and as few as its segments need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.scene.label_arrays import as_whole_numbers, box_at, lattice_shift, smallest_dtype, translated
from DeepRegLib.scene.steps import Steps, slabs
from DeepRegLib.scene.whole_segments import is_fractional, marked, shares_of
from DeepRegLib.scene.world import array_from_matrix, geometry_from_ras, voxels_of

LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


@dataclass(frozen=True, eq=False)
class SharedLabelmap:
    """A label map in a segmentation's own frame, and the ids of the segments in it by voxel value."""

    array: NDArray[np.integer]
    ijk_to_ras: NDArray[np.float64]
    ids: Mapping[int, str]


def shared_labelmaps_of(node: slicer.vtkMRMLSegmentationNode) -> Iterator[SharedLabelmap]:
    """Yield the label maps of a segmentation as views of what is marked; those without voxels are left out."""
    segmentation = node.GetSegmentation()
    if is_fractional(node) and not segmentation.ContainsRepresentation(LABELMAP):
        yield from _halves(segmentation)
        return
    segmentation = _with_labelmaps(node)
    layers = [
        (segmentation.GetLayerDataObject(layer, LABELMAP), _values_in(segmentation, layer))
        for layer in range(segmentation.GetNumberOfLayers(LABELMAP))
    ]
    for data, values in layers:
        if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
            continue
        array = as_whole_numbers(voxels_of(data))
        box = _marked_box(array)
        if box is None:
            continue
        matrix = vtk.vtkMatrix4x4()
        data.GetImageToWorldMatrix(matrix)
        own = array_from_matrix(matrix)
        own[:3, 3] += own[:3, :3] @ (np.array(data.GetExtent()[::2]) + [side.start for side in reversed(box)])
        yield SharedLabelmap(array[box], own, values)


def _halves(segmentation: slicer.vtkSegmentation) -> Iterator[SharedLabelmap]:
    """Yield where fractional segments hold half of a voxel at least, a label map each."""
    for identifier, shares in shares_of(segmentation):
        array = marked(shares)
        box = _marked_box(array)
        if box is not None:
            own = shares.ijk_to_ras.copy()
            own[:3, 3] += own[:3, :3] @ [side.start for side in reversed(box)]
            yield SharedLabelmap(array[box], own, {1: identifier})


def state_of(node: slicer.vtkMRMLSegmentationNode) -> tuple[int, ...]:
    """Return numbers that change when the voxels or the list of segments of a segmentation do."""
    segmentation = node.GetSegmentation()
    layers = [segmentation.GetLayerDataObject(n, LABELMAP) for n in range(segmentation.GetNumberOfLayers(LABELMAP))]
    source, count = segmentation.GetSourceRepresentationName(), segmentation.GetNumberOfSegments()
    layers += [segmentation.GetNthSegment(n).GetRepresentation(source) for n in range(count)]
    times = (int(data.GetMTime()) for data in layers if data is not None)
    return count, *times


def _values_in(segmentation: slicer.vtkSegmentation, layer: int) -> dict[int, str]:
    """Return the ids of the segments in a layer by voxel value."""
    ids = segmentation.GetSegmentIDsForLayer(layer, LABELMAP)
    return {int(segmentation.GetSegment(identifier).GetLabelValue()): identifier for identifier in ids}


def with_margin(labelmap: SharedLabelmap) -> SharedLabelmap:
    """Return a copy with an empty voxel on every side, so that what is interpolated ends where the segment ends."""
    matrix = labelmap.ijk_to_ras.copy()
    matrix[:3, 3] -= matrix[:3, :3].sum(axis=1)
    return replace(labelmap, array=np.pad(labelmap.array, 1), ijk_to_ras=matrix)


def labelmap_geometry(
    labelmap: SharedLabelmap, node: slicer.vtkMRMLSegmentationNode, to_world: NDArray[np.float64]
) -> Geometry:
    """Return the grid of a label map; `to_world` takes the segmentation's own frame to the world (RAS)."""
    depth, height, width = labelmap.array.shape
    return geometry_from_ras(
        to_world @ labelmap.ijk_to_ras, (width, height, depth), f"The segmentation {node.GetName()}"
    )


def merge_steps(labelmaps: Iterable[SharedLabelmap]) -> Steps[list[SharedLabelmap]]:
    """Return in steps as few label maps with the same labels: those on one lattice share one unless they overlap."""
    merged: list[SharedLabelmap] = []
    for labelmap in labelmaps:
        yield from _merge_into_steps(merged, labelmap)
    return merged


def _marked_box(array: NDArray[np.integer]) -> tuple[slice, slice, slice] | None:
    """Return the smallest box that holds all voxels that are not zero, or None if there are none."""
    marked = array != 0
    # Slice by slice along the first axis, which is cheap; the rest is a single plane.
    planes = marked.any(axis=(1, 2))
    if not planes.any():
        return None
    shadow = marked.any(axis=0)
    k, j, i = (np.flatnonzero(line) for line in (planes, shadow.any(axis=1), shadow.any(axis=0)))
    return slice(k[0], k[-1] + 1), slice(j[0], j[-1] + 1), slice(i[0], i[-1] + 1)


def _with_labelmaps(node: slicer.vtkMRMLSegmentationNode) -> slicer.vtkSegmentation:
    """Return the node's segmentation, or where it holds surfaces only a copy that has label maps as well."""
    segmentation = node.GetSegmentation()
    if segmentation.ContainsRepresentation(LABELMAP):
        return segmentation
    converted = slicer.vtkSegmentation()
    converted.DeepCopy(segmentation)
    if not converted.CreateRepresentation(LABELMAP):
        raise InputError(
            f"The segmentation {node.GetName()} cannot be turned into voxels.",
            "Create its binary labelmap representation (Segmentations module, section Representations).",
        )
    return converted


def _merge_into_steps(merged: list[SharedLabelmap], labelmap: SharedLabelmap) -> Steps[None]:
    """Put a label map's labels into the first one on the same lattice that is free there, or append it."""
    yield
    for number, target in enumerate(merged):
        shift = _shift_between(target, labelmap)
        if shift is None:
            continue
        overlap = yield from _overlap_steps(target.array, labelmap.array, shift)
        if not overlap:
            merged[number] = yield from _union_steps(target, labelmap, shift)
            return
    merged.append(labelmap)


def _shift_between(target: SharedLabelmap, labelmap: SharedLabelmap) -> NDArray[np.int64] | None:
    """Return by how many voxels (k, j, i) a label map begins after another one on the same lattice, else None."""
    relative = np.linalg.inv(target.ijk_to_ras) @ labelmap.ijk_to_ras
    return lattice_shift(relative, max(*target.array.shape, *labelmap.array.shape))


def _overlap_steps(target: NDArray[np.integer], array: NDArray[np.integer], shift: NDArray[np.int64]) -> Steps[bool]:
    low = np.maximum(shift, 0)
    high = np.minimum(shift + array.shape, target.shape)
    if np.any(low >= high):
        return False
    mine = target[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    theirs = array[tuple(slice(a, b) for a, b in zip(low - shift, high - shift, strict=True))]
    for slab in slabs(mine.shape):
        if np.any((mine[slab] > 0) & (theirs[slab] > 0)):
            return True
        yield
    return False


def _union_steps(target: SharedLabelmap, labelmap: SharedLabelmap, shift: NDArray[np.int64]) -> Steps[SharedLabelmap]:
    low = np.minimum(shift, 0)
    high = np.maximum(shift + labelmap.array.shape, target.array.shape)
    top = max(target.ids, default=0)
    ids = dict(target.ids)
    renamed = {}
    for number, (value, identifier) in enumerate(labelmap.ids.items(), top + 1):
        renamed[value] = number
        ids[number] = identifier
    array = np.zeros(high - low, dtype=smallest_dtype(max(ids, default=0)))
    place = array[box_at(-low, target.array.shape)]
    for slab in slabs(place.shape):
        place[slab] = target.array[slab]
        yield
    place = array[box_at(shift - low, labelmap.array.shape)]
    for slab in slabs(place.shape):
        labels = translated(labelmap.array[slab], renamed, 0, array.dtype)
        np.copyto(place[slab], labels, where=labels > 0)
        yield
    matrix = target.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low[::-1]
    return replace(target, array=array, ijk_to_ras=matrix, ids=ids)
