from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.scene.sequences import current_volume, frame_label
from DeepRegLib.scene.volumes import image_from_volume
from Testing.scene.nodes import linear_node, volume_node
from Testing.synthetic import blobs, geometry_in, random_linear

GRID = geometry_in("oblique", (6, 7, 8))


@pytest.fixture
def sequence(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSequenceNode:
    """Four frames; frame n holds the value n."""
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
    for number in range(4):
        frame = volume_node(scene, blobs(GRID).with_array(np.full(GRID.shape, number, np.int16)), "frame")
        node.SetDataNodeAtValue(frame, str(number))
        scene.RemoveNode(frame)
    return node


def browser_at(scene: slicer.vtkMRMLScene, sequence: slicer.vtkMRMLSequenceNode, item: int) -> slicer.vtkMRMLNode:
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(item)
    return browser


def test_a_volume_stands_for_itself(scene: slicer.vtkMRMLScene) -> None:
    node = volume_node(scene, blobs(GRID))
    assert current_volume(node) is node
    assert frame_label(node) == ""


def test_a_sequence_without_a_browser_stands_for_its_first_frame(sequence: slicer.vtkMRMLSequenceNode) -> None:
    assert image_from_volume(current_volume(sequence)).array.max() == 0
    assert frame_label(sequence) == "frame 1 of 4"


def test_a_sequence_stands_for_the_frame_its_browser_is_at(
    scene: slicer.vtkMRMLScene, sequence: slicer.vtkMRMLSequenceNode
) -> None:
    browser_at(scene, sequence, 2)
    image = image_from_volume(current_volume(sequence))
    assert image.array.min() == image.array.max() == 2
    assert image.geometry.is_close(GRID)
    assert frame_label(sequence) == "frame 3 of 4"


def test_the_volume_that_shows_the_frame_counts_with_its_transforms(
    scene: slicer.vtkMRMLScene, sequence: slicer.vtkMRMLSequenceNode
) -> None:
    browser = browser_at(scene, sequence, 3)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    shown = browser.GetProxyNode(sequence)
    parent = random_linear(1)
    shown.SetAndObserveTransformNodeID(linear_node(scene, parent.matrix).GetID())
    assert current_volume(sequence) is shown
    image = image_from_volume(current_volume(sequence))
    assert image.array.max() == 3
    np.testing.assert_allclose(image.geometry.corners(), parent.apply_to_points(GRID.corners()), atol=1e-8)
    assert frame_label(shown) == "frame 4 of 4"


def test_a_sequence_without_frames_is_refused(scene: slicer.vtkMRMLScene) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "new")
    with pytest.raises(InputError, match="The sequence new has no frames"):
        current_volume(node)
    assert frame_label(node) == ""
