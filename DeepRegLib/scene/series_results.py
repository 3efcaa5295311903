"""A registered series as sequences that are played by the browser of its frames: transforms, volumes, contours."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from DeepRegLib.scene.hierarchy import put_into, remove_folder, remove_item, result_folder
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, VERDICT_ATTRIBUTE, new_node, remove_with_companions
from DeepRegLib.scene.ownership import mark_segments
from DeepRegLib.scene.segmentations import SegmentLayers, labelmap_steps, set_segments
from DeepRegLib.scene.series_frames import volume_sequence
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.tables import fill_table
from DeepRegLib.scene.transforms import set_transform, transform_steps
from DeepRegLib.scene.volumes import add_volume, set_millimetres, set_voxels, show_like, value_range
from DeepRegLib.scene.world import image_data_steps
from DeepRegLib.series.request import SeriesResult
from DeepRegLib.series.result import FrameRow

COLUMNS = ("Frame", "Verdict", "Motion (mm)", "Motion 95 % (mm)", "Volume", "Strain", "NCC before", "NCC after")
COLOURS = "vtkMRMLColorTableNodeRainbow"
TOP_PERCENTILE, SMALLEST_RANGE = 99.0, 0.01


@dataclass(frozen=True)
class SeriesNodes:
    """The nodes of one registered series, by id, and the item id of their folder.

    Parameters
    ----------
    folder
        In the subject hierarchy.
    transforms, stabilised, contours
        Sequences; contours is empty where no segmentation was carried.
    volume_change, peak_strain, motion
        Volumes.
    table
        Measures a frame.
    """

    folder: int
    transforms: str
    stabilised: str
    contours: str
    volume_change: str
    peak_strain: str
    motion: str
    table: str


def series_result_steps(
    scene: slicer.vtkMRMLScene,
    browser: slicer.vtkMRMLSequenceBrowserNode,
    result: SeriesResult,
    layers: SegmentLayers | None,
    name: str,
) -> Steps[SeriesNodes]:
    """Put a registered series into a scene in steps, all of it or, if that fails or is stopped, nothing.

    Parameters
    ----------
    scene
        Which must not be closing.
    browser
        Plays the frames; it plays the results too from then on.
    result
        What the engine returned.
    layers
        What the labels carried along mean.
    name
        First part of the names of the nodes.
    """
    made: list[slicer.vtkMRMLNode] = []
    folder = 0
    try:
        source = volume_sequence(browser)
        transforms = _sequence(scene, source, f"{name} transforms", made)
        for number, transform in enumerate(result.transforms):
            node = slicer.vtkMRMLTransformNode()
            set_transform(node, transform, (yield from transform_steps(transform)))
            _put(source, transforms, number, node)
            yield
        stable = _sequence(scene, source, f"{name} stabilised", made)
        for number, image in enumerate(result.stabilised):
            node = slicer.vtkMRMLScalarVolumeNode()
            set_voxels(node, image, (yield from image_data_steps(image.array)))
            _put(source, stable, number, node)
            yield
        contours = None
        if layers is not None and result.carried:
            contours = yield from _contour_steps(scene, source, result, layers, f"{name} contours", made)
        maps = yield from _map_steps(scene, result, name, made)
        table = new_node(scene, "vtkMRMLTableNode", f"{name} frames")
        made.append(table)
        fill_table(table, COLUMNS, [_cells(row) for row in result.rows])
        folder = result_folder(scene, f"{name} series", browser.GetProxyNode(source))
        sequences = [each for each in (transforms, stable, contours) if each is not None]
        yield from _play_steps(browser, sequences, made)
        transforms.SetAttribute(VERDICT_ATTRIBUTE, result.verdict.level)
        for node in made:
            node.SetAttribute(RESULT_ATTRIBUTE, "1")
            put_into(scene, folder, node)
    except BaseException:
        _remove(scene, made, folder)
        raise
    shown = "" if contours is None else contours.GetID()
    return SeriesNodes(folder, transforms.GetID(), stable.GetID(), shown, *maps, table.GetID())


def _sequence(
    scene: slicer.vtkMRMLScene, source: slicer.vtkMRMLSequenceNode, name: str, made: list[slicer.vtkMRMLNode]
) -> slicer.vtkMRMLSequenceNode:
    """Make an empty sequence whose items go with those of another."""
    node = new_node(scene, "vtkMRMLSequenceNode", name)
    made.append(node)
    node.SetIndexName(source.GetIndexName())
    node.SetIndexUnit(source.GetIndexUnit())
    node.SetIndexType(source.GetIndexType())
    return node


def _contour_steps(
    scene: slicer.vtkMRMLScene,
    source: slicer.vtkMRMLSequenceNode,
    result: SeriesResult,
    layers: SegmentLayers,
    name: str,
    made: list[slicer.vtkMRMLNode],
) -> Steps[slicer.vtkMRMLSequenceNode]:
    contours = _sequence(scene, source, name, made)
    for number, images in enumerate(result.carried):
        labelmaps = yield from labelmap_steps(layers, images)
        node = slicer.vtkMRMLSegmentationNode()
        set_segments(node, layers, labelmaps, reference=None)
        mark_segments(node)
        _put(source, contours, number, node)
        yield
    return contours


def _put(
    source: slicer.vtkMRMLSequenceNode, sequence: slicer.vtkMRMLSequenceNode, number: int, node: slicer.vtkMRMLNode
) -> None:
    """Give a sequence a copy of a node at the time of a frame."""
    node.SetName(sequence.GetName())
    node.SetAttribute(RESULT_ATTRIBUTE, "1")
    sequence.SetDataNodeAtValue(node, source.GetNthIndexValue(number))


def _map_steps(
    scene: slicer.vtkMRMLScene, result: SeriesResult, name: str, made: list[slicer.vtkMRMLNode]
) -> Steps[tuple[str, str, str]]:
    titles = {"volume change": result.volume_change, "peak strain": result.peak_strain, "motion": result.motion}
    ids = []
    for title, image in titles.items():
        node = add_volume(scene, image, f"{name} {title}")
        made.append(node)
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(COLOURS)
        display.SetWindowLevelMinMax(0.0, max(value_range(image.array, 0.0, TOP_PERCENTILE)[1], SMALLEST_RANGE))
        ids.append(node.GetID())
        yield
    set_millimetres(made[-1])
    change, strain, motion = ids
    return change, strain, motion


def _play_steps(
    browser: slicer.vtkMRMLSequenceBrowserNode,
    sequences: list[slicer.vtkMRMLSequenceNode],
    made: list[slicer.vtkMRMLNode],
) -> Steps[None]:
    """Let a browser play sequences beside what it plays; the nodes that show them are added to those made."""
    frames = browser.GetProxyNode(volume_sequence(browser))
    for sequence in sequences:
        browser.AddSynchronizedSequenceNodeID(sequence.GetID())
        yield
        browser.SetOverwriteProxyName(sequence, False)
        yield
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        shown = browser.GetProxyNode(sequence)
        made.append(shown)
        shown.SetName(sequence.GetName().replace(" transforms", " transform"))
        if shown.IsA("vtkMRMLScalarVolumeNode") and frames is not None and frames.GetDisplayNode() is not None:
            show_like(shown, frames)
        yield


def _remove(scene: slicer.vtkMRMLScene, made: list[slicer.vtkMRMLNode], folder: int) -> None:
    for node in reversed(made):
        remove_item(scene, node)
        remove_with_companions(scene, node)
    if folder:
        remove_folder(scene, folder)


def _cells(row: FrameRow) -> tuple[str, ...]:
    numbers = row.motion_mean, row.motion_p95, row.jacobian_mean, row.strain, row.ncc_before, row.ncc_after
    return str(row.index + 1), row.verdict.level + (", bridged" if row.bridged else ""), *(f"{n:.3f}" for n in numbers)
