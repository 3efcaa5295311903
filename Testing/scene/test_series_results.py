"""A registered series in the scene: sequences that play with the frames, and go again together."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.recipes import load_recipe
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with
from DeepRegLib.scene.segmentations import layers_from_node
from DeepRegLib.scene.series_frames import frame_steps, volume_sequence
from DeepRegLib.scene.series_results import SeriesNodes, series_result_steps
from DeepRegLib.scene.steps import run_through
from DeepRegLib.scene.transforms import transform_from_node
from DeepRegLib.scene.volumes import image_from_volume
from DeepRegLib.series.request import SeriesRequest
from Testing.scene.nodes import segmentation_node, volume_node
from Testing.series.results import result_for, shift_of
from Testing.synthetic import blobs, geometry_in

GRID = geometry_in("RAS", (9, 10, 12), 2.0)
COUNT = 4


@pytest.fixture
def browser(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSequenceBrowserNode:
    """Return a sequence of four frames, half a second apart, by their browser; frame n holds the value n + 1."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for number in range(COUNT):
        frame = volume_node(scene, blobs(GRID).with_array(np.full(GRID.shape, number + 1, np.int16)), "frame")
        sequence.SetDataNodeAtValue(frame, f"{number / 2:g}")
        scene.RemoveNode(frame)
    node = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    node.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(node)
    return node


def request_of(browser: slicer.vtkMRMLSequenceBrowserNode, *, labelled: bool = False) -> SeriesRequest:
    frames = run_through(frame_steps(browser))
    layers = (frames.images[0].with_array(np.ones(GRID.shape, np.uint8)),) if labelled else ()
    return SeriesRequest(frames.images, frames.times, frames.unit, load_recipe("fast"), layers=layers)


def put(scene: slicer.vtkMRMLScene, browser: slicer.vtkMRMLSequenceBrowserNode) -> SeriesNodes:
    """Put a result with contours into the scene."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2, 3:6, 3:6] = 1
    drawn = segmentation_node(scene, [blobs(GRID).with_array(labels)], [{1: "liver"}])
    layers = layers_from_node(drawn)
    result = result_for(request_of(browser, labelled=True))
    return run_through(series_result_steps(scene, browser, result, layers, "cine"))


def show(browser: slicer.vtkMRMLSequenceBrowserNode, number: int) -> None:
    browser.SetSelectedItemNumber(number)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def test_frames_are_read_with_their_seconds(browser: slicer.vtkMRMLSequenceBrowserNode) -> None:
    frames = run_through(frame_steps(browser))
    assert frames.unit == "s"
    assert frames.times == (0.0, 0.5, 1.0, 1.5)
    assert [int(image.array.max()) for image in frames.images] == [1, 2, 3, 4]
    assert frames.images[2].geometry.is_close(GRID)


def test_a_large_frame_is_read_in_several_steps(
    browser: slicer.vtkMRMLSequenceBrowserNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = 5  # of 12
    monkeypatch.setattr("DeepRegLib.scene.steps.STEP_VOXELS", planes * GRID.size[0] * GRID.size[1])
    assert len(list(frame_steps(browser))) == COUNT * (1 + 3)


def test_what_plays_no_scans_is_refused(scene: slicer.vtkMRMLScene) -> None:
    empty = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "empty")
    with pytest.raises(InputError, match="plays no sequence of volumes"):
        volume_sequence(empty)
    with pytest.raises(InputError, match="No sequence is chosen"):
        volume_sequence(None)


def test_playing_shows_transform_volume_and_contours_of_the_frame(
    scene: slicer.vtkMRMLScene, browser: slicer.vtkMRMLSequenceBrowserNode
) -> None:
    nodes = put(scene, browser)
    for number in (0, 1, 3, 2):
        show(browser, number)
        transform, stable, contours = (
            browser.GetProxyNode(scene.GetNodeByID(each))
            for each in (nodes.transforms, nodes.stabilised, nodes.contours)
        )
        at = GRID.centre
        moved = transform_from_node(transform).apply_to_points(at) - at
        np.testing.assert_allclose(moved, [0, 0, shift_of(number)], atol=1e-4)
        assert image_from_volume(stable).array.max() == number + 1
        drawn = layers_from_node(contours)
        assert [segment.description.GetName() for segment in drawn.segments] == ["liver"]
        marked = drawn.images[0].geometry.to_world(np.argwhere(drawn.images[0].array)[:, ::-1])
        expected = GRID.to_world([[4.0, 4.0, 2.0 + number]])
        np.testing.assert_allclose(marked.mean(axis=0, keepdims=True), expected, atol=1e-3)
    assert scene.GetNodeByID(nodes.table).GetCellText(1, 1) == "check"


def test_the_results_are_no_frames_and_go_together(
    scene: slicer.vtkMRMLScene, browser: slicer.vtkMRMLSequenceBrowserNode
) -> None:
    from DeepRegLib.scene.results import remove_results

    put(scene, browser)
    assert volume_sequence(browser).GetName() == "cine"
    before = scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode")
    assert before == 4
    remove_results(scene)
    assert nodes_with(scene, RESULT_ATTRIBUTE) == []
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 1
    show(browser, 1)
    assert image_from_volume(browser.GetProxyNode(volume_sequence(browser))).array.max() == 2


def test_a_result_that_is_stopped_leaves_nothing(
    scene: slicer.vtkMRMLScene, browser: slicer.vtkMRMLSequenceBrowserNode
) -> None:
    count = scene.GetNumberOfNodes()
    steps = series_result_steps(scene, browser, result_for(request_of(browser)), None, "cine")
    for _ in range(12):
        next(steps)
    steps.close()
    assert scene.GetNumberOfNodes() == count


def test_a_saved_scene_plays_the_results_again(
    scene: slicer.vtkMRMLScene, browser: slicer.vtkMRMLSequenceBrowserNode, tmp_path
) -> None:
    nodes = put(scene, browser)
    name = scene.GetNodeByID(nodes.transforms).GetName()
    url = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(url), None)
    scene.Clear(False)
    scene.ReadFromMRB(str(url))
    again = scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    show(again, 3)
    transform = again.GetProxyNode(scene.GetFirstNodeByName(name))
    at = GRID.centre
    moved = transform_from_node(transform).apply_to_points(at) - at
    np.testing.assert_allclose(moved, [0, 0, shift_of(3)], atol=1e-3)
