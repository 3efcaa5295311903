"""Atlases out of a scene: a volume, and the segmentation or label map that was drawn on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import slicer
import vtk

from DeepRegLib.scene.nodes import HELPER_ATTRIBUTE, RESULT_ATTRIBUTE, nodes_of_class
from DeepRegLib.scene.segmentations import SegmentLayers, label_map_steps, layer_steps
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.volumes import image_from_volume
from DeepRegLib.segmentation.request import Atlas
from DeepRegLib.segments import LONGEST_NAME, Segment

MARKS = (RESULT_ATTRIBUTE, HELPER_ATTRIBUTE)


@dataclass(frozen=True)
class AtlasPair:
    """A volume and what was drawn on it, by id, and what to call them."""

    volume: str
    labels: str
    name: str


def atlas_pairs(scene: slicer.vtkMRMLScene, scan: slicer.vtkMRMLNode | None = None) -> list[AtlasPair]:
    """Return what in a scene can be an atlas of a scan, results of DeepReg's and what was drawn on the scan left out.

    A segmentation belongs to the volume whose geometry it was given, which is the one it was drawn on; a label map to
    the only volume that has its grid.
    """
    segmentations, maps = (nodes_of_class(scene, f"vtkMRML{kind}Node") for kind in ("Segmentation", "LabelMapVolume"))
    pairs = [(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()), node) for node in segmentations]
    pairs += [(_on_grid_of(scene, node), node) for node in maps]
    return [
        AtlasPair(volume.GetID(), labels.GetID(), f"{volume.GetName()}: {labels.GetName()}")
        for volume, labels in pairs
        if volume is not None and volume is not scan and not any(labels.GetAttribute(mark) for mark in MARKS)
    ]


def atlas_steps(scene: slicer.vtkMRMLScene, pair: AtlasPair, taken: Iterable[str]) -> Steps[Atlas]:
    """Return in steps an atlas of a pair; its labels are numbers from 1 in the order of the segments.

    Parameters
    ----------
    scene
        Where its nodes are.
    pair
        One of `atlas_pairs`.
    taken
        What other atlases are called.

    Raises
    ------
    InputError
        If a node is gone, its voxels lie where they cannot be read, or nothing is drawn on the volume.
    """
    image = image_from_volume(scene.GetNodeByID(pair.volume))
    node = scene.GetNodeByID(pair.labels)
    layers = yield from layer_steps(node)
    labels = yield from label_map_steps(node, None, image.geometry)
    used = set(taken)
    name = next(each for each in _numbered(pair.name) if each not in used)
    return Atlas(name, image, labels, _segments(layers))


def _on_grid_of(scene: slicer.vtkMRMLScene, labels: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLVolumeNode | None:
    volumes = [node for node in nodes_of_class(scene, "vtkMRMLScalarVolumeNode") if not node.IsA(labels.GetClassName())]
    found = [node for node in volumes if _grid(node) == _grid(labels) and not node.GetAttribute(RESULT_ATTRIBUTE)]
    return found[0] if len(found) == 1 else None


def _grid(node: slicer.vtkMRMLVolumeNode) -> tuple[object, ...]:
    """Return what tells where the voxels of a volume lie, but for what is lost in single precision."""
    matrix, image = vtk.vtkMatrix4x4(), node.GetImageData()
    node.GetIJKToRASMatrix(matrix)
    size = image.GetDimensions() if image is not None else ()
    return size, node.GetTransformNodeID(), tuple(round(matrix.GetElement(i, j), 3) for i in range(3) for j in range(4))


def _segments(layers: SegmentLayers) -> tuple[Segment, ...]:
    found = []
    for number, segment in enumerate(layers.segments, start=1):
        entry = vtk.reference("")
        segment.description.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
        red, green, blue = (min(max(float(part), 0.0), 1.0) for part in segment.description.GetColor())
        found.append(Segment(number, segment.name[:LONGEST_NAME], (red, green, blue), str(entry)))
    return tuple(found)


def _numbered(name: str) -> Iterable[str]:
    yield name
    yield from (f"{name} ({number})" for number in range(2, 1 << 20))
