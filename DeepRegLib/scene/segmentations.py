"""Segmentations and label maps: as masks, as layers of labels for the engine, and back as segmentations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import slicer
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.scene.label_arrays import (
    mark_on_grid_steps,
    on_grid_steps,
    smallest_dtype,
    translated,
    value_steps,
    whole_labels,
)
from DeepRegLib.scene.nodes import new_node, remove_segments
from DeepRegLib.scene.shared_labelmaps import (
    LABELMAP,
    labelmap_geometry,
    merge_steps,
    shared_labelmaps_of,
    state_of,
    with_margin,
)
from DeepRegLib.scene.steps import Steps, run_through, slabs
from DeepRegLib.scene.volumes import image_from_volume
from DeepRegLib.scene.whole_segments import WholeData, WholeSegments, whole_steps
from DeepRegLib.scene.world import flipped_matrix, ijk_to_ras, image_data_steps, matrix_from_array, parent_to_world
from DeepRegLib.transforms import LinearTransform


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
    whole
        What the segmentation holds in place of label maps: shares of voxels, or closed surfaces.
    """

    images: tuple[Image, ...]
    segments: tuple[Segment, ...]
    whole: WholeSegments = field(default_factory=WholeSegments)


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
    return run_through(mask_steps(node, segment_ids, geometry))


def mask_steps(node: slicer.vtkMRMLNode | None, segment_ids: Sequence[str] | None, geometry: Geometry) -> Steps[Image]:
    """Do what `mask_from_node` does in steps; before the first it looks where the mask lies."""
    source = _require(node)
    name = str(source.GetName())
    if source.IsA("vtkMRMLSegmentationNode"):
        _require_segments(source, segment_ids)
        pieces, to_node, before = _marked_pieces(source, segment_ids), _world_to_node(source), state_of(source)
    else:
        pieces, to_node = _marked_voxels(image_from_volume(source, copy=False)), LinearTransform.identity()
        before = None
    yield
    mask, empty = np.zeros(geometry.shape, dtype=np.bool_), True
    for steps in pieces:
        piece = yield from steps
        if piece is not None:
            empty = False
            yield from mark_on_grid_steps(mask, piece, geometry, to_node)
    if before is not None:
        _require_unchanged(source, before)
    if empty:
        raise InputError(f"The mask {name} is empty.", "Mark something, or choose other segments.")
    if not mask.any():
        raise InputError(f"The mask {name} lies outside the volume.", "Choose a mask of this volume, or no mask.")
    return Image(mask, geometry, name)


def layers_from_node(node: slicer.vtkMRMLNode | None) -> SegmentLayers:
    """Return all segments of a segmentation, or all labels of a label map, as label maps in the world.

    Segments that do not overlap share an image as far as their voxels lie on one grid.

    Raises
    ------
    InputError
        If the node is missing or neither of both, it has no segments or no voxel is marked, a label map's values are
        not whole numbers, a parent transform bends space or its axes are not at right angles.
    """
    return run_through(layer_steps(node))


def layer_steps(node: slicer.vtkMRMLNode | None) -> Steps[SegmentLayers]:
    """Do what `layers_from_node` does in steps; before the first it looks where the segmentation lies."""
    source = _require(node)
    if not source.IsA("vtkMRMLSegmentationNode"):
        layers = yield from _volume_steps(source)
        return layers
    _require_segments(source, None)
    to_world = parent_to_world(source, f"The segmentation {source.GetName()}")
    before = state_of(source)
    yield
    merged = yield from merge_steps(shared_labelmaps_of(source))
    if not merged:
        raise InputError(f"The segmentation {source.GetName()} is empty.", "Mark something in one of its segments.")
    images = []
    for labelmap in merged:
        framed = with_margin(labelmap)
        images.append(Image(framed.array, labelmap_geometry(framed, source, to_world), source.GetName()))
        yield
    whole = yield from whole_steps(source, to_world)
    _require_unchanged(source, before)
    places = {identifier: (n, v) for n, labelmap in enumerate(merged) for v, identifier in labelmap.ids.items()}
    unused = max(merged[0].ids) + 1
    segments = []
    for identifier, _ in segment_names(source):
        if identifier not in places:  # without voxels; it still is to come out at the other end
            places[identifier] = (0, unused)
            unused += 1
        description = slicer.vtkSegment()
        description.DeepCopyMetadata(source.GetSegmentation().GetSegment(identifier))
        segments.append(Segment(*places[identifier], identifier, description))
    return SegmentLayers(tuple(images), tuple(segments), whole)


def label_map_steps(
    node: slicer.vtkMRMLNode | None, segment_ids: Sequence[str] | None, geometry: Geometry
) -> Steps[Image]:
    """Return in steps a label map on an image's grid: a number for each chosen segment, or each label of a label map.

    Where segments overlap, a voxel belongs to the one listed first. Parameters and errors are as of `mask_from_node`;
    before the first step it looks where the segmentation lies.
    """
    source = _require(node)
    if source.IsA("vtkMRMLSegmentationNode"):
        _require_segments(source, segment_ids)
    layers = yield from layer_steps(source)
    chosen = [each for each in layers.segments if segment_ids is None or each.segment_id in segment_ids]
    labels = yield from _label_map_steps(layers, chosen, geometry)
    if not labels.array.any():
        raise InputError(
            f"The segments chosen of {source.GetName()} are empty or lie outside the volume.",
            "Choose segments that lie in this volume.",
        )
    return labels


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
    set_segments(node, layers, run_through(labelmap_steps(layers, warped_images)), reference=reference)
    return node


def set_segments(
    node: slicer.vtkMRMLSegmentationNode,
    layers: SegmentLayers,
    labelmaps: Sequence[slicer.vtkOrientedImageData],
    *,
    reference: slicer.vtkMRMLScalarVolumeNode | None,
) -> None:
    """Fill a segmentation node as `add_segmentation` does, in place of the segments it has; it leaves its parent.

    `labelmaps` are the warped layers as `labelmap_steps` makes them.
    """
    whole = WholeData(LABELMAP, tuple(labelmaps[segment.layer] for segment in layers.segments))
    set_whole_segments(node, layers, whole, reference=reference)


def set_whole_segments(
    node: slicer.vtkMRMLSegmentationNode,
    layers: SegmentLayers,
    whole: WholeData,
    *,
    reference: slicer.vtkMRMLScalarVolumeNode | None,
) -> None:
    """Fill a segmentation node as `set_segments` does, with one object a segment of whatever representation."""
    changed = node.StartModify()
    node.SetAndObserveTransformNodeID(None)
    segmentation = node.GetSegmentation()
    remove_segments(node)
    segmentation.SetSourceRepresentationName(whole.representation)
    for segment, data in zip(layers.segments, whole.objects, strict=True):
        new = slicer.vtkSegment()
        new.DeepCopyMetadata(segment.description)
        if whole.representation == LABELMAP:
            new.SetLabelValue(segment.value)
        new.AddRepresentation(whole.representation, data)
        segmentation.AddSegment(new, segment.segment_id)
    if reference is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    node.CreateDefaultDisplayNodes()
    node.EndModify(changed)


def labelmap_steps(
    layers: SegmentLayers, warped_images: Sequence[Image]
) -> Steps[tuple[slicer.vtkOrientedImageData, ...]]:
    """Return in steps what the segments of a segmentation share of the layers' images after these were warped."""
    made = []
    for number, image in enumerate(warped_images):
        voxels = yield from image_data_steps(image.array, smallest_dtype(_top_value(layers, number)))
        labelmap = slicer.vtkOrientedImageData()
        labelmap.ShallowCopy(voxels)
        labelmap.SetImageToWorldMatrix(matrix_from_array(ijk_to_ras(image.geometry)))
        made.append(labelmap)
    return tuple(made)


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
    return run_through(common_steps(fixed, moving, fixed_grid, moving_grid))


def common_steps(
    fixed: SegmentLayers, moving: SegmentLayers, fixed_grid: Geometry, moving_grid: Geometry
) -> Steps[LabelPair | None]:
    """Do what `common_labels` does in steps."""
    places = [{s.name: s for s in reversed(layers.segments)} for layers in (fixed, moving)]
    names = list(dict.fromkeys(s.name for s in fixed.segments if s.name in places[1]))
    if not names:
        return None
    maps = []
    for layers, by_name, grid in zip((fixed, moving), places, (fixed_grid, moving_grid), strict=True):
        made = yield from _label_map_steps(layers, [by_name[name] for name in names], grid)
        maps.append(made)
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


def _require_unchanged(node: slicer.vtkMRMLSegmentationNode, before: tuple[int, ...]) -> None:
    """Make sure that nobody drew in a segmentation between two steps of reading it."""
    if state_of(node) != before:
        raise InputError(f"The segmentation {node.GetName()} was edited while it was read.", "Register again.")


def _marked_pieces(
    node: slicer.vtkMRMLSegmentationNode, segment_ids: Sequence[str] | None
) -> Iterator[Steps[Image | None]]:
    """Yield what finds the chosen segments, as bool images in the segmentation's own frame; None without voxels."""
    for labelmap in shared_labelmaps_of(node):
        wanted = {v: 1 for v, identifier in labelmap.ids.items() if segment_ids is None or identifier in segment_ids}
        if wanted:
            yield _marked_steps(labelmap.array, wanted, labelmap_geometry(labelmap, node, np.eye(4)))


def _marked_steps(array: NDArray[np.integer], wanted: Mapping[int, int], geometry: Geometry) -> Steps[Image | None]:
    marked = np.empty(array.shape, dtype=np.bool_)
    for slab in slabs(array.shape):
        marked[slab] = translated(array[slab], wanted, 0, np.dtype(np.bool_))
        yield
    return Image(marked, geometry) if marked.any() else None


def _marked_voxels(volume: Image) -> Iterator[Steps[Image | None]]:
    """Yield what finds the voxels of a label map that are not zero."""

    def steps() -> Steps[Image | None]:
        marked = np.empty(volume.array.shape, dtype=np.bool_)
        for slab in slabs(volume.array.shape):
            np.not_equal(volume.array[slab], 0, out=marked[slab])
            yield
        return volume.with_array(marked) if marked.any() else None

    yield steps()


def _world_to_node(node: slicer.vtkMRMLSegmentationNode) -> LinearTransform:
    to_world = parent_to_world(node, f"The segmentation {node.GetName()}")
    return LinearTransform(flipped_matrix(np.linalg.inv(to_world).astype(np.float64)))


def _volume_steps(node: slicer.vtkMRMLScalarVolumeNode) -> Steps[SegmentLayers]:
    volume = image_from_volume(node, copy=False)
    yield
    volume = volume.with_array(volume.array.copy())
    yield
    array = whole_labels(volume)
    yield
    values = yield from value_steps(array)
    if not values:
        raise InputError(f"The label map {node.GetName()} is empty.", "Choose a label map with labels in it.")
    display = node.GetDisplayNode()
    colours = display.GetColorNode() if display is not None else None
    segments = [Segment(0, value, f"label {value}", _description(value, colours)) for value in values]
    return SegmentLayers((volume.with_array(array),), tuple(segments))


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


def _label_map_steps(layers: SegmentLayers, chosen: Sequence[Segment], grid: Geometry) -> Steps[Image]:
    """Return in steps a label map on a grid in which the chosen segments have the values 1, 2, ... in their order."""
    nobody = len(chosen) + 1
    owners = np.full(grid.shape, nobody, dtype=smallest_dtype(nobody))
    for number in sorted({segment.layer for segment in chosen}):
        meaning = {s.value: label for label, s in enumerate(chosen, 1) if s.layer == number}
        placed = yield from on_grid_steps(layers.images[number], grid, LinearTransform.identity())
        for slab in slabs(owners.shape):
            found = translated(placed[slab], meaning, nobody, owners.dtype)
            np.minimum(owners[slab], found, out=owners[slab])
            yield
    for slab in slabs(owners.shape):
        owners[slab][owners[slab] == nobody] = 0
        yield
    return Image(owners, grid, layers.images[0].name)
