"""A segmentation by atlases or a model as nodes: segments as they are named and shown, agreement, and a table."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from DeepRegLib.scene.hierarchy import put_into, remove_folder, remove_item, result_folder
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, VERDICT_ATTRIBUTE, new_node, one_change, remove_with_companions
from DeepRegLib.scene.ownership import mark_segments
from DeepRegLib.scene.segmentations import Segment, SegmentLayers, labelmap_steps, set_segments
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.tables import fill_table
from DeepRegLib.scene.volumes import add_volume
from DeepRegLib.segmentation import segments
from DeepRegLib.segmentation.result import Segmentation, SegmentRow

MODEL_COLUMNS = ("Segment", "Volume (ml)", "Confidence")
COLUMNS = ("Segment", "Volume (ml)", "Volume in the atlases (ml)", "Agreement")


@dataclass(frozen=True)
class SegmentationNodes:
    """The nodes of one segmentation, by id, and the item id of their folder."""

    folder: int
    segmentation: str
    agreement: str
    table: str


def segmentation_steps(segmentation: Segmentation) -> Steps[tuple[slicer.vtkOrientedImageData, ...]]:
    """Make in steps what takes long of a segmentation, before its nodes are made."""
    made = yield from labelmap_steps(_layers(segmentation), [segmentation.labels])
    return made


def add_segmentation_result(
    scene: slicer.vtkMRMLScene,
    segmentation: Segmentation,
    labelmaps: tuple[slicer.vtkOrientedImageData, ...],
    scan: slicer.vtkMRMLScalarVolumeNode | None,
    name: str,
) -> SegmentationNodes:
    """Put a segmentation into a scene, all of it or, if that fails, nothing.

    Parameters
    ----------
    scene
        Which must not be closing.
    segmentation
        What the engine returned.
    labelmaps
        Of `segmentation_steps`.
    scan
        The volume that was segmented; None where it is gone.
    name
        First part of the names of the nodes.
    """
    made: list[slicer.vtkMRMLNode] = []
    folder = 0
    with one_change(scene):
        try:
            made.append(new_node(scene, "vtkMRMLSegmentationNode", f"{name} segmentation"))
            set_segments(made[0], _layers(segmentation), labelmaps, reference=scan)
            mark_segments(made[0])
            made[0].SetAttribute(VERDICT_ATTRIBUTE, segmentation.verdict.level)
            certainty = "confidence" if segmentation.model else "agreement"
            made.append(add_volume(scene, segmentation.agreement, f"{name} {certainty}"))
            made.append(new_node(scene, "vtkMRMLTableNode", f"{name} segments"))
            _fill(made[2], segmentation)
            folder = result_folder(scene, f"{name} segmentation", scan)
            for node in made:
                node.SetAttribute(RESULT_ATTRIBUTE, "1")
                put_into(scene, folder, node)
        except BaseException:
            for node in made:
                remove_item(scene, node)
                remove_with_companions(scene, node)
            if folder:
                remove_folder(scene, folder)
            raise
    return SegmentationNodes(folder, *(node.GetID() for node in made))


def _layers(segmentation: Segmentation) -> SegmentLayers:
    found = [Segment(0, each.label, f"Segment_{each.label}", _description(each)) for each in segmentation.segments]
    return SegmentLayers((segmentation.labels,), tuple(found))


def _description(segment: segments.Segment) -> slicer.vtkSegment:
    description = slicer.vtkSegment()
    description.SetName(segment.name)
    description.SetColor(*segment.colour)
    if segment.terminology:
        description.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), segment.terminology)
    return description


def _fill(node: slicer.vtkMRMLTableNode, segmentation: Segmentation) -> None:
    columns = MODEL_COLUMNS if segmentation.model else COLUMNS
    cells = [_cells(row, by_model=bool(segmentation.model)) for row in segmentation.rows]
    fill_table(node, columns, cells)


def _cells(row: SegmentRow, *, by_model: bool) -> tuple[str, ...]:
    before = () if by_model else ("" if row.atlas_volume is None else f"{row.atlas_volume:.3f}",)
    return row.name, f"{row.volume:.3f}", *before, "" if row.agreement is None else f"{row.agreement:.3f}"
