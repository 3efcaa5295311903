"""Segmentations and label maps: as masks, as layers of labels for the engine, and back as segmentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.scene.nodes import new_node
from DeepRegLib.scene.volumes import image_from_volume
from DeepRegLib.scene.world import (
    array_from_matrix,
    flipped_matrix,
    geometry_from_ras,
    ijk_to_ras,
    image_data,
    matrix_from_array,
    parent_to_world,
    voxels_of,
)
from DeepRegLib.transforms import LinearTransform, transform_to_sitk

LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
LATTICE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment of a segmentation, or one label of a label map.

    Parameters
    ----------
    layer, value
        Which of the images holds it, and with which voxel value.
    segment_id
        Of the node it came from; unique there.
    description
        Its name, colour, terminology and other tags, without voxels.
    """

    layer: int
    value: int
    segment_id: str
    description: slicer.vtkSegment

    @property
    def name(self) -> str:
        """What the user calls it."""
        return str(self.description.GetName() or self.segment_id)


@dataclass(frozen=True, eq=False)
class SegmentLayers:
    """A segmentation as label maps.

    Parameters
    ----------
    images
        Label maps in the world, each on its own grid. Segments that overlap lie in different images.
    segments
        What the voxel values mean, in the order of the segmentation.
    """

    images: tuple[Image, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, eq=False)
class LabelPair:
    """Label maps of the segments that two segmentations have in common.

    Parameters
    ----------
    fixed, moving
        On the grids of the fixed and the moving image.
    names
        The segment's name by label.
    """

    fixed: Image
    moving: Image
    names: Mapping[int, str]


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A label map in a segmentation's own frame, and the ids of the segments in it by voxel value."""

    array: NDArray[np.integer]
    ijk_to_ras: NDArray[np.float64]
    ids: Mapping[int, str]


def segment_names(node: slicer.vtkMRMLNode | None) -> list[tuple[str, str]]:
    """Return id and name of each segment of a segmentation; none for a label map or no node."""
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        return []
    segmentation = node.GetSegmentation()
    identifiers = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [(identifier, segmentation.GetSegment(identifier).GetName() or identifier) for identifier in identifiers]


def mask_from_node(node: slicer.vtkMRMLNode | None, segment_ids: Sequence[str] | None, geometry: Geometry) -> Image:
    """Return a mask on an image's grid.

    Parameters
    ----------
    node
        A segmentation, or a label map volume, of which every voxel that is not zero counts.
    segment_ids
        The segments that count; None for all.
    geometry
        The grid of the mask (LPS, mm, in the world).

    Returns
    -------
    Image
        Bool; nearest neighbour where the grids differ.

    Raises
    ------
    InputError
        If the node is missing or neither of both, a segment does not exist, nothing is marked, nothing of what is
        marked lies on the grid, or a parent transform bends space.
    """
    source = _require(node)
    if source.IsA("vtkMRMLSegmentationNode"):
        _require_segments(source, segment_ids)
        pieces, to_node = _marked_pieces(source, segment_ids), _world_to_node(source)
    else:
        volume = image_from_volume(source)
        pieces, to_node = [volume.with_array(volume.array != 0)], LinearTransform.identity()
    pieces = [piece for piece in pieces if piece.array.any()]
    if not pieces:
        raise InputError(f"The mask {source.GetName()} is empty.", "Mark something, or choose other segments.")
    mask = np.zeros(geometry.shape, dtype=np.bool_)
    for piece in pieces:
        mask |= _on_grid(piece, geometry, to_node).astype(np.bool_)
    if not mask.any():
        raise InputError(
            f"The mask {source.GetName()} lies outside the volume.", "Choose a mask of this volume, or no mask."
        )
    return Image(mask, geometry, source.GetName())


def layers_from_node(node: slicer.vtkMRMLNode | None) -> SegmentLayers:
    """Return all segments of a segmentation, or all labels of a label map, as label maps in the world.

    Segments that do not overlap share an image as far as their voxels lie on one grid.

    Raises
    ------
    InputError
        If the node is missing or neither of both, it has no segments or no voxel is marked, a label map's values are
        not whole numbers, a parent transform bends space or its axes are not at right angles.
    """
    source = _require(node)
    if not source.IsA("vtkMRMLSegmentationNode"):
        return _layers_of_volume(source)
    _require_segments(source, None)
    merged: list[_Sheet] = []
    for sheet in _sheets(source):
        _merge_into(merged, sheet)
    if not merged:
        raise InputError(f"The segmentation {source.GetName()} is empty.", "Mark something in one of its segments.")
    to_world = parent_to_world(source, f"The segmentation {source.GetName()}")
    framed = [_with_rim(sheet) for sheet in merged]
    images = [Image(s.array, _sheet_geometry(s, source, to_world), source.GetName()) for s in framed]
    places = {identifier: (n, v) for n, sheet in enumerate(merged) for v, identifier in sheet.ids.items()}
    unused = max(merged[0].ids) + 1
    segments = []
    for identifier, _ in segment_names(source):
        if identifier not in places:  # without voxels; it still is to come out at the other end
            places[identifier] = (0, unused)
            unused += 1
        description = slicer.vtkSegment()
        description.DeepCopyMetadata(source.GetSegmentation().GetSegment(identifier))
        segments.append(Segment(*places[identifier], identifier, description))
    return SegmentLayers(tuple(images), tuple(segments))


def add_segmentation(
    scene: slicer.vtkMRMLScene,
    layers: SegmentLayers,
    warped_images: Sequence[Image],
    name: str,
    *,
    reference: slicer.vtkMRMLScalarVolumeNode | None,
) -> slicer.vtkMRMLSegmentationNode:
    """Add segments to a scene that were brought to another image, with their ids, names, colours and tags.

    Parameters
    ----------
    scene
        Where to add them.
    layers
        The segments as they were read.
    warped_images
        The layers' images after they were brought there, in the same order with the same voxel values.
    name
        Of the node; a number is appended where the scene has the name.
    reference
        The volume on whose grid editing goes on; None where there is none any more.
    """
    node = new_node(scene, "vtkMRMLSegmentationNode", name)
    set_segments(node, layers, warped_images, reference=reference)
    return node


def set_segments(
    node: slicer.vtkMRMLSegmentationNode,
    layers: SegmentLayers,
    warped_images: Sequence[Image],
    *,
    reference: slicer.vtkMRMLScalarVolumeNode | None,
) -> None:
    """Fill a segmentation node as `add_segmentation` does, in place of the segments it has; it leaves its parent."""
    changed = node.StartModify()
    node.SetAndObserveTransformNodeID(None)
    segmentation = node.GetSegmentation()
    segmentation.RemoveAllSegments()
    segmentation.SetSourceRepresentationName(LABELMAP)
    shared = [_labelmap(image, _top_value(layers, n)) for n, image in enumerate(warped_images)]
    for segment in layers.segments:
        new = slicer.vtkSegment()
        new.DeepCopyMetadata(segment.description)
        new.SetLabelValue(segment.value)
        new.AddRepresentation(LABELMAP, shared[segment.layer])
        segmentation.AddSegment(new, segment.segment_id)
    if reference is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    node.CreateDefaultDisplayNodes()
    node.EndModify(changed)


def common_labels(
    fixed: SegmentLayers, moving: SegmentLayers, fixed_grid: Geometry, moving_grid: Geometry
) -> LabelPair | None:
    """Return label maps of the segments of the same name, to measure their overlap, or None if there are none.

    Where such segments overlap each other, a voxel belongs to the one listed first. Of several segments of one name
    the first counts.

    Parameters
    ----------
    fixed, moving
        The segments of both sides.
    fixed_grid, moving_grid
        The grids of the two images.
    """
    places = [{s.name: s for s in reversed(layers.segments)} for layers in (fixed, moving)]
    names = list(dict.fromkeys(s.name for s in fixed.segments if s.name in places[1]))
    if not names:
        return None
    maps = [
        _label_map(layers, [by_name[name] for name in names], grid)
        for layers, by_name, grid in zip((fixed, moving), places, (fixed_grid, moving_grid), strict=True)
    ]
    return LabelPair(maps[0], maps[1], dict(enumerate(names, 1)))


def _require(node: slicer.vtkMRMLNode | None) -> slicer.vtkMRMLNode:
    if node is None:
        raise InputError("No segmentation is chosen.", "Choose a segmentation or a label map.")
    if node.GetScene() is None:
        raise InputError(f"{node.GetName()} is no longer in the scene.", "Choose another segmentation or label map.")
    if not (node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLVolumeNode")):
        raise InputError(
            f"{node.GetName()} is neither a segmentation nor a label map.", "Choose a segmentation or a label map."
        )
    return node


def _require_segments(node: slicer.vtkMRMLSegmentationNode, segment_ids: Sequence[str] | None) -> None:
    known = {identifier for identifier, _ in segment_names(node)}
    if not known:
        raise InputError(f"The segmentation {node.GetName()} has no segments.", "Add a segment to it.")
    missing = [identifier for identifier in segment_ids or () if identifier not in known]
    if missing:
        raise InputError(
            f"The segmentation {node.GetName()} has no segment {missing[0]} any more.", "Choose its segments again."
        )


def _marked_pieces(node: slicer.vtkMRMLSegmentationNode, segment_ids: Sequence[str] | None) -> list[Image]:
    """Return where the chosen segments are, as bool images in the segmentation's own frame."""
    pieces = []
    for sheet in _sheets(node):
        values = [v for v, identifier in sheet.ids.items() if segment_ids is None or identifier in segment_ids]
        pieces.append(Image(np.isin(sheet.array, values), _sheet_geometry(sheet, node, np.eye(4)), node.GetName()))
    return pieces


def _world_to_node(node: slicer.vtkMRMLSegmentationNode) -> LinearTransform:
    to_world = parent_to_world(node, f"The segmentation {node.GetName()}")
    return LinearTransform(flipped_matrix(np.linalg.inv(to_world).astype(np.float64)))


def _sheet_geometry(sheet: _Sheet, node: slicer.vtkMRMLSegmentationNode, to_world: NDArray[np.float64]) -> Geometry:
    depth, height, width = sheet.array.shape
    return geometry_from_ras(to_world @ sheet.ijk_to_ras, (width, height, depth), f"The segmentation {node.GetName()}")


def _sheets(node: slicer.vtkMRMLSegmentationNode) -> list[_Sheet]:
    """Return the label maps of a segmentation as views of what is marked; those without voxels are left out."""
    segmentation = _with_labelmaps(node)
    sheets = []
    for layer in range(segmentation.GetNumberOfLayers(LABELMAP)):
        data = segmentation.GetLayerDataObject(layer, LABELMAP)
        ids = segmentation.GetSegmentIDsForLayer(layer, LABELMAP)
        if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
            continue
        array = _whole(voxels_of(data))
        box = _marked_box(array)
        if box is None:
            continue
        matrix = vtk.vtkMatrix4x4()
        data.GetImageToWorldMatrix(matrix)
        own = array_from_matrix(matrix)
        own[:3, 3] += own[:3, :3] @ (np.array(data.GetExtent()[::2]) + [side.start for side in reversed(box)])
        values = {int(segmentation.GetSegment(identifier).GetLabelValue()): identifier for identifier in ids}
        sheets.append(_Sheet(array[box], own, values))
    return sheets


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


def _with_rim(sheet: _Sheet) -> _Sheet:
    """Return a copy with an empty voxel on every side, so that what is interpolated ends where the segment ends."""
    matrix = sheet.ijk_to_ras.copy()
    matrix[:3, 3] -= matrix[:3, :3].sum(axis=1)
    return replace(sheet, array=np.pad(sheet.array, 1), ijk_to_ras=matrix)


def _whole(array: NDArray[np.generic]) -> NDArray[np.integer]:
    return array.astype(np.int32) if array.dtype.kind == "f" else array  # type: ignore[return-value]  # kind i or u


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


def _merge_into(merged: list[_Sheet], sheet: _Sheet) -> None:
    """Put a sheet's labels into the first sheet on the same lattice that is free there, or append it."""
    for number, target in enumerate(merged):
        shift = _shift_between(target, sheet)
        if shift is not None and not _overlap(target.array, sheet.array, shift):
            merged[number] = _union(target, sheet, shift)
            return
    merged.append(sheet)


def _shift_between(target: _Sheet, sheet: _Sheet) -> NDArray[np.int64] | None:
    """Return by how many voxels (k, j, i) a sheet begins after another one on the same lattice, else None."""
    relative = np.linalg.inv(target.ijk_to_ras) @ sheet.ijk_to_ras
    shift = np.rint(relative[:3, 3])
    reach = max(*target.array.shape, *sheet.array.shape)
    turned = np.abs(relative[:3, :3] - np.eye(3)).max() * reach
    if turned > LATTICE_TOLERANCE or np.abs(relative[:3, 3] - shift).max() > LATTICE_TOLERANCE:
        return None
    return shift[::-1].astype(np.int64)


def _overlap(target: NDArray[np.integer], array: NDArray[np.integer], shift: NDArray[np.int64]) -> bool:
    low = np.maximum(shift, 0)
    high = np.minimum(shift + array.shape, target.shape)
    if np.any(low >= high):
        return False
    mine = target[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    theirs = array[tuple(slice(a, b) for a, b in zip(low - shift, high - shift, strict=True))]
    return bool(np.any((mine > 0) & (theirs > 0)))


def _union(target: _Sheet, sheet: _Sheet, shift: NDArray[np.int64]) -> _Sheet:
    low = np.minimum(shift, 0)
    high = np.maximum(shift + sheet.array.shape, target.array.shape)
    top = max(target.ids, default=0)
    ids = dict(target.ids)
    renamed = {}
    for number, (value, identifier) in enumerate(sheet.ids.items(), top + 1):
        renamed[value] = number
        ids[number] = identifier
    array = np.zeros(high - low, dtype=_smallest_dtype(max(ids, default=0)))
    array[_box(-low, target.array.shape)] = target.array
    place = array[_box(shift - low, sheet.array.shape)]
    labels = _translated(sheet.array, renamed, 0, array.dtype)
    np.copyto(place, labels, where=labels > 0)
    matrix = target.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low[::-1]
    return replace(target, array=array, ijk_to_ras=matrix, ids=ids)


def _translated(array: NDArray, meaning: Mapping[int, int], otherwise: int, dtype: np.dtype) -> NDArray:
    """Return what whole voxel values mean; negative ones are taken for zero."""
    # One more entry, on which all values beyond the table are clipped.
    table = np.full(max(meaning, default=0) + 2, otherwise, dtype=dtype)
    for value, number in meaning.items():
        table[value] = number
    return table.take(array, mode="clip")


def _box(start: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(a) + n) for a, n in zip(start, shape, strict=True))


def _smallest_dtype(largest: int) -> np.dtype:
    return np.dtype(np.uint8 if largest < 256 else np.uint16 if largest < 65536 else np.int32)


def _layers_of_volume(node: slicer.vtkMRMLScalarVolumeNode) -> SegmentLayers:
    volume = image_from_volume(node)
    array = _whole_labels(volume)
    values = _values_of(array)
    if not values:
        raise InputError(f"The label map {node.GetName()} is empty.", "Choose a label map with labels in it.")
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None
    segments = [Segment(0, value, f"label {value}", _description(value, colours)) for value in values]
    return SegmentLayers((volume.with_array(array),), tuple(segments))


def _whole_labels(volume: Image) -> NDArray[np.integer]:
    """Return the voxels of a label map as whole numbers, none of them negative."""
    array = volume.array
    limits = np.iinfo(np.int32)
    # Compared before the conversion: what does not fit would be wrapped around. NaN fails every comparison.
    fits = array.dtype.kind != "f" or bool(
        limits.min <= array.min() and array.max() <= limits.max and np.all(array == np.rint(array))
    )
    if not fits:
        raise InputError(f"{volume.name} has voxels that are not whole numbers.", "Choose a label map.")
    whole = _whole(array)
    return np.maximum(whole, 0) if whole.dtype.kind == "i" else whole


def _values_of(array: NDArray[np.integer]) -> list[int]:
    """Return the voxel values of a label map other than zero."""
    if int(array.max()) < 1 << 16:
        found = np.flatnonzero(np.bincount(array.ravel()))  # much quicker than sorting all voxels
    else:
        found = np.unique(array)
    return [int(value) for value in found if value != 0]


def _description(value: int, colours: slicer.vtkMRMLColorNode | None) -> slicer.vtkSegment:
    """Return what a label map's colour table says about a label."""
    description = slicer.vtkSegment()
    description.SetName(f"Label {value}")
    if colours is None or not 0 <= value < colours.GetNumberOfColors():
        return description
    rgba = [0.0, 0.0, 0.0, 0.0]
    if colours.GetColor(value, rgba):
        description.SetColor(*rgba[:3])
    name = colours.GetColorName(value)
    if name and name != "(none)":
        description.SetName(name)
    terminology = colours.GetTerminologyAsString(value)
    if terminology:
        description.SetTerminology(terminology)
    return description


def _top_value(layers: SegmentLayers, layer: int) -> int:
    return max((s.value for s in layers.segments if s.layer == layer), default=0)


def _labelmap(image: Image, largest: int) -> slicer.vtkOrientedImageData:
    data = slicer.vtkOrientedImageData()
    data.ShallowCopy(image_data(image.array.astype(_smallest_dtype(largest), copy=False)))
    data.SetImageToWorldMatrix(matrix_from_array(ijk_to_ras(image.geometry)))
    return data


def _label_map(layers: SegmentLayers, chosen: Sequence[Segment], grid: Geometry) -> Image:
    """Return a label map on a grid in which the chosen segments have the values 1, 2, ... in their order."""
    nobody = len(chosen) + 1
    owners = np.full(grid.shape, nobody, dtype=_smallest_dtype(nobody))
    for number in sorted({segment.layer for segment in chosen}):
        meaning = {s.value: label for label, s in enumerate(chosen, 1) if s.layer == number}
        placed = _on_grid(layers.images[number], grid, LinearTransform.identity())
        np.minimum(owners, _translated(placed, meaning, nobody, owners.dtype), out=owners)
    owners[owners == nobody] = 0
    return Image(owners, grid, layers.images[0].name)


def _on_grid(image: Image, grid: Geometry, to_image: LinearTransform) -> NDArray[np.generic]:
    """Return an image's voxels on a grid, nearest neighbour, zero outside; `to_image` takes grid to image points."""
    relative = image.geometry.world_to_index @ to_image.matrix @ grid.index_to_world
    shift = -np.rint(relative[:3, 3])
    turned = np.abs(relative[:3, :3] - np.eye(3)).max() * max(grid.size)
    if turned > LATTICE_TOLERANCE or np.abs(relative[:3, 3] + shift).max() > LATTICE_TOLERANCE:
        return resample(image, grid, interpolation="nearest", transform=transform_to_sitk(to_image)).array
    # Segments drawn on a volume lie on its own voxels: nothing is to be computed.
    result = np.zeros(grid.shape, dtype=image.array.dtype)
    start = shift[::-1].astype(np.int64)
    low, high = np.maximum(start, 0), np.minimum(start + image.array.shape, grid.shape)
    if np.all(low < high):
        result[_box(low, tuple(high - low))] = image.array[_box(low - start, tuple(high - low))]
    return result
