"""The tab Segment, clicked: the real module and scene, an engine that is played, and once the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6", reason="PySide6 is not installed", exc_type=ImportError)

import slicer
import vtk

from DeepRegLib.engine.errors import pack_error
from DeepRegLib.engine.model_segmentation import SEGMENT_WITH
from DeepRegLib.engine.protocol import Message
from DeepRegLib.engine.segmentation import SEGMENT
from DeepRegLib.errors import RegistrationError
from DeepRegLib.image import Image, write_image
from DeepRegLib.result import Verdict
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with
from DeepRegLib.segmentation import AtlasRow, Segment, Segmentation, SegmentRequest, SegmentRow
from DeepRegLib.segmentation.seg_nrrd import write_segmentation
from Testing.panel.opened import OpenedPanel, plain
from Testing.panel.played import PlayedEngine
from Testing.scene.nodes import segmentation_node

SOON = 10.0
CATEGORY = "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
TERMINOLOGY = f"{CATEGORY}~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
SEGMENTS = (Segment(1, "Leber 肝", (0.9, 0.3, 0.1), TERMINOLOGY), Segment(3, "nerve <b>", (0.0, 0.2, 1.0)))


def write_atlas(folder: Path, name: str, image: Image) -> None:
    place = folder / name
    place.mkdir(parents=True)
    write_image(image, place / "image.nii.gz")
    labels = np.zeros(image.array.shape, np.uint8)
    labels[4:12, 4:12, 4:12], labels[14:16, 4:6, 4:6] = 1, 3
    write_segmentation(Image(labels, image.geometry), SEGMENTS, place / "labels.seg.nrrd")


def segmentation_for(request: SegmentRequest) -> Segmentation:
    """Answer a request with the labels of its first atlas."""
    labels = Image(request.atlases[0].labels.array, request.scan.geometry, "segmentation")
    agreement = Image(np.ones(labels.array.shape, np.float32), request.scan.geometry, "agreement")
    rows = (SegmentRow(1, SEGMENTS[0].name, 4.0, 4.1, 0.93), SegmentRow(3, SEGMENTS[1].name, 0.1, 0.1, None))
    atlases = (AtlasRow("a", True, Verdict("ok", ()), 0.9, 1.0), AtlasRow("b", False, Verdict("failed", ()), None, 1.0))
    verdict = Verdict("check", ("1 of 2 atlases could not be registered: b.",))
    return Segmentation(
        request.scan, labels, agreement, SEGMENTS, rows, atlases, verdict, request.recipe, request.fusion
    )


@pytest.fixture
def atlases(played: PlayedEngine, opened: OpenedPanel, tmp_path: Path) -> Path:
    """Two atlases on the grid of the first volume; the tab is shown, volume and folder are chosen."""
    from DeepRegLib.scene.volumes import image_from_volume

    scan = opened.parameters.fixedVolume
    for name in "ab":
        write_atlas(tmp_path / "atlases", name, image_from_volume(scan))
    opened.ui.taskTabs.setCurrentIndex(1)
    opened.desktop.choose(opened.ui.segmentScanSelector, scan.GetName())
    opened.ui.atlasFolderEdit.setCurrentPath(str(tmp_path / "atlases"))
    opened.desktop.process_events()
    return tmp_path / "atlases"


def order(played: PlayedEngine, opened: OpenedPanel) -> tuple[Message, SegmentRequest]:
    """Press Segment and return what the engine is asked for."""
    opened.desktop.click(opened.ui.segmentButton)
    assert opened.desktop.wait_until(lambda: bool(played.orders), SOON), plain(opened.ui.segmentMessageLabel)
    message = played.orders[-1]
    assert message.content["task"] == "segment"
    return message, SEGMENT.request_of(message)


def test_three_choices_and_a_click_bring_segments_with_names_colours_and_terminology(
    played: PlayedEngine, opened: OpenedPanel, atlases: Path, tmp_path: Path
) -> None:
    message, request = order(played, opened)
    assert (request.fusion, [atlas.name for atlas in request.atlases]) == ("joint", ["a", "b"])
    assert opened.ui.segmentButton.text == "Cancel"
    progress = {"stage": "atlas 1 of 2", "fraction": 0.25, "similarity": None, "seconds_left": 30}
    played.worker.say(Message("progress", message.id, progress))
    assert opened.desktop.wait_until(lambda: "atlas 1 of 2" in opened.ui.segmentProgressLabel.text, SOON)
    played.worker.say(SEGMENT.result_message(segmentation_for(request), message.id))
    section = opened.widget.panel.segment
    assert opened.desktop.wait_until(lambda: not section.running, SOON)

    node = slicer.mrmlScene.GetNodeByID(section.results.segmentation)
    found = [node.GetSegmentation().GetNthSegment(n) for n in range(2)]
    assert [segment.GetName() for segment in found] == [segment.name for segment in SEGMENTS]
    np.testing.assert_allclose([segment.GetColor() for segment in found], [segment.colour for segment in SEGMENTS])
    entry = vtk.reference("")
    assert found[0].GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    assert str(entry) == TERMINOLOGY
    volume = opened.parameters.fixedVolume
    drawn = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Segment_1", volume)
    np.testing.assert_array_equal(drawn, request.atlases[0].labels.array == 1)
    table = slicer.mrmlScene.GetNodeByID(section.results.table)
    assert [table.GetCellText(n, 0) for n in range(2)] == [segment.name for segment in SEGMENTS]
    told = plain(opened.ui.segmentMessageLabel)
    assert "1 of 2 atlases took part." in told
    assert "nerve <b>" in told
    opened.desktop.grab(opened.area, tmp_path / "segment.png")
    assert (tmp_path / "segment.png").stat().st_size > 10_000

    opened.ui.taskTabs.setCurrentIndex(0)
    opened.widget.panel.refresh()
    opened.desktop.click(opened.ui.removeResultsButton)
    assert nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE) == []


def drawn(volume: slicer.vtkMRMLNode, names: dict[int, str], name: str) -> slicer.vtkMRMLNode:
    """Return a segmentation drawn on a volume, as the Segment Editor leaves it."""
    from DeepRegLib.scene.volumes import image_from_volume

    grid = image_from_volume(volume).geometry
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:12, 4:12, 4:12], labels[14:16, 4:6, 4:6] = 1, 3
    node = segmentation_node(slicer.mrmlScene, [Image(labels, grid)], [names], name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node


def test_atlases_are_taken_from_the_scene_by_a_box_each_and_know_segments_by_name(
    played: PlayedEngine, opened: OpenedPanel, tmp_path: Path
) -> None:
    import qt

    scan, other = opened.parameters.fixedVolume, opened.parameters.movingVolume
    drawn(scan, {1: "of the scan itself", 3: "x"}, "own")
    first = drawn(other, {1: "Leber 肝", 3: "nerve <b>"}, "first")
    drawn(other, {1: "nerve <b>", 3: "something else"}, "second")
    opened.ui.taskTabs.setCurrentIndex(1)
    opened.desktop.choose(opened.ui.segmentScanSelector, scan.GetName())
    assert opened.desktop.wait_until(lambda: opened.ui.atlasPairsList.count == 2, SOON)
    assert not opened.ui.segmentButton.enabled
    pairs = opened.ui.atlasPairsList
    assert [pairs.item(row).text() for row in range(2)] == [f"{other.GetName()}: {n}" for n in ("first", "second")]
    for row in range(2):
        pairs.item(row).setCheckState(qt.Qt.Checked)
    assert opened.desktop.wait_until(lambda: bool(opened.ui.segmentButton.enabled), SOON)
    opened.desktop.grab(opened.area, tmp_path / "atlases.png")
    _, request = order(played, opened)
    one, two = request.atlases
    assert [each.name for each in one.segments] == ["Leber 肝", "nerve <b>"]
    numbers = {each.name: each.label for atlas in request.atlases for each in atlas.segments}
    assert len(set(numbers.values())) == 3
    nerve = next(each for each in two.segments if each.name == "nerve <b>")
    assert nerve.label == numbers["nerve <b>"] == next(s.label for s in one.segments if s.name == "nerve <b>")
    np.testing.assert_array_equal(two.labels.array == nerve.label, one.labels.array == numbers["Leber 肝"])
    assert one.image.geometry == one.labels.geometry
    opened.desktop.click(opened.ui.segmentButton)
    assert opened.desktop.wait_until(lambda: not opened.widget.panel.segment.running, SOON)
    slicer.mrmlScene.RemoveNode(first)
    opened.ui.taskTabs.setCurrentIndex(0)
    opened.ui.taskTabs.setCurrentIndex(1)
    assert opened.desktop.wait_until(lambda: opened.ui.atlasPairsList.count == 1, SOON)


def test_atlases_of_the_scene_and_of_a_folder_go_together(
    played: PlayedEngine, opened: OpenedPanel, atlases: Path
) -> None:
    import qt

    drawn(opened.parameters.movingVolume, {1: "NERVE <b>", 3: "new"}, "third")
    opened.ui.taskTabs.setCurrentIndex(0)
    opened.ui.taskTabs.setCurrentIndex(1)
    assert opened.desktop.wait_until(lambda: opened.ui.atlasPairsList.count == 1, SOON)
    opened.ui.atlasPairsList.item(0).setCheckState(qt.Qt.Checked)
    opened.desktop.process_events()
    _, request = order(played, opened)
    assert len(request.atlases) == 3
    assert {each.name: each.label for each in request.atlases[2].segments} == {"NERVE <b>": 3, "new": 4}


def test_what_went_wrong_is_told_and_the_button_is_back(
    played: PlayedEngine, opened: OpenedPanel, atlases: Path
) -> None:
    message, _ = order(played, opened)
    played.worker.say(pack_error(RegistrationError("None of the 2 atlases could be registered."), message.id))
    assert opened.desktop.wait_until(lambda: "None of the 2" in plain(opened.ui.segmentMessageLabel), SOON)
    assert opened.ui.segmentButton.text == "Segment"
    assert nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE) == []


def test_cancel_leaves_the_scene_as_it_was(played: PlayedEngine, opened: OpenedPanel, atlases: Path) -> None:
    order(played, opened)
    opened.desktop.click(opened.ui.segmentButton)
    assert opened.desktop.wait_until(lambda: not opened.widget.panel.segment.running, SOON)
    assert opened.ui.segmentButton.text == "Segment"
    assert plain(opened.ui.segmentMessageLabel) == ""
    assert nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE) == []


def test_a_double_click_starts_and_does_not_cancel(played: PlayedEngine, opened: OpenedPanel, atlases: Path) -> None:
    opened.desktop.double_click(opened.ui.segmentButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, SOON)
    opened.desktop.process_events()
    assert "cancel" not in played.worker.types()
    assert opened.ui.segmentButton.text == "Cancel"
    opened.desktop.click(opened.ui.segmentButton)  # a click of its own does
    assert opened.desktop.wait_until(lambda: not opened.widget.panel.segment.running, SOON)


def test_a_folder_that_holds_no_atlases_is_told(played: PlayedEngine, opened: OpenedPanel, atlases: Path) -> None:
    opened.ui.atlasFolderEdit.setCurrentPath(str(atlases / "a"))
    opened.desktop.click(opened.ui.segmentButton)
    assert "holds no atlas" in plain(opened.ui.segmentMessageLabel)
    assert played.orders == []
    opened.ui.atlasFolderEdit.setCurrentPath("")
    opened.desktop.process_events()
    assert not opened.ui.segmentButton.isEnabled()


def test_a_model_in_place_of_atlases_brings_segments_with_its_confidence(
    played: PlayedEngine, opened: OpenedPanel, tmp_path: Path
) -> None:
    scan = opened.parameters.fixedVolume
    opened.ui.taskTabs.setCurrentIndex(1)
    opened.desktop.choose(opened.ui.segmentScanSelector, scan.GetName())
    opened.ui.segmentBySelector.setCurrentIndex(opened.ui.segmentBySelector.count - 1)
    opened.desktop.process_events()
    assert not opened.ui.segmentButton.isEnabled()
    assert not opened.ui.atlasFolderEdit.isVisible()
    opened.ui.segmentModelEdit.setCurrentPath(str(tmp_path))
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.segmentButton)
    assert opened.desktop.wait_until(lambda: bool(played.orders), SOON), plain(opened.ui.segmentMessageLabel)
    message = played.orders[-1]
    request = SEGMENT_WITH.request_of(message)
    assert (request.model, request.mirror) == (str(tmp_path), False)

    labels = np.zeros(request.scan.array.shape, np.uint8)
    labels[4:12, 4:12, 4:12] = 1
    grid = request.scan.geometry
    found = Image(labels, grid, "segmentation"), Image(np.ones(labels.shape, np.float32), grid, "confidence")
    rows = (SegmentRow(1, SEGMENTS[0].name, 4.0, None, 0.93), SegmentRow(3, SEGMENTS[1].name, 0.0, None, None))
    answer = Segmentation(
        request.scan, *found, SEGMENTS, rows, (), Verdict("check", ()), None, "", model={"name": "livers"}
    )
    played.worker.say(SEGMENT_WITH.result_message(answer, message.id))
    section = opened.widget.panel.segment
    assert opened.desktop.wait_until(lambda: not section.running, SOON)
    told = plain(opened.ui.segmentMessageLabel)
    assert "By the model livers." in told
    assert "confidence 93%" in told
    table = slicer.mrmlScene.GetNodeByID(section.results.table)
    assert [table.GetCellText(0, n) for n in range(3)] == [SEGMENTS[0].name, "4.000", "0.930"]
    opened.desktop.grab(opened.area, tmp_path / "segment.png")
    assert (tmp_path / "segment.png").stat().st_size > 10_000
