"""What is offered as a scan or as a segment of a mask, and what happens as it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer
import vtk

from DeepRegLib.panel.self_test import example_pair
from Testing.panel.nodes import BALLS, ball, load_volume, segmentation, volume_node
from Testing.panel.opened import OpenedPanel, tip_of
from Testing.panel.played import PlayedEngine


def test_volumes_loaded_while_the_panel_is_open_are_proposed_at_once(opened: OpenedPanel, tmp_path: Path) -> None:
    first = load_volume(tmp_path, "first")
    opened.desktop.process_events()
    assert opened.parameters.fixedVolume is None
    second = load_volume(tmp_path, "second")
    opened.desktop.process_events()
    assert (opened.parameters.fixedVolume, opened.parameters.movingVolume) == (first, second)
    assert opened.ui.registerButton.isEnabled()


def test_results_are_not_proposed_as_scans(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    for node in (opened.parameters.fixedVolume, opened.parameters.movingVolume):
        slicer.mrmlScene.RemoveNode(node)
    load_again = [volume_node(slicer.mrmlScene, image, image.name) for image in example_pair()]
    opened.desktop.process_events()
    assert [opened.parameters.fixedVolume, opened.parameters.movingVolume] == load_again


def unfit_volumes() -> dict[str, Any]:
    """Return volumes that are no scans."""
    image = ball(BALLS["liver"])
    flat = image.with_array(image.array)
    nodes = {
        "labels": volume_node(slicer.mrmlScene, image, "labels", "vtkMRMLLabelMapVolumeNode"),
        "colours": volume_node(slicer.mrmlScene, image, "colours", "vtkMRMLVectorVolumeNode"),
        "empty": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"),
        "slice": volume_node(slicer.mrmlScene, flat, "slice"),
        "many": volume_node(slicer.mrmlScene, flat, "many"),
    }
    nodes["colours"].GetImageData().AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    for name, size, components in (("slice", (20, 20, 1), 1), ("many", (20, 20, 20), 3)):
        data = vtk.vtkImageData()
        data.SetDimensions(*size)
        data.AllocateScalars(vtk.VTK_SHORT, components)
        nodes[name].SetAndObserveImageData(data)
    return nodes


def offered(selector: Any) -> set[str]:
    return {str(selector.nodeFromIndex(number).GetName()) for number in range(selector.nodeCount())}


def test_what_is_no_scan_is_not_offered_and_does_not_enable_the_button(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    nodes = unfit_volumes()
    opened.desktop.process_events()
    for name in ("fixed", "moving"):
        assert offered(getattr(opened.ui, f"{name}Selector")) == {"self-test fixed", "self-test moving"}
    assert not {"labels", "colours"} & offered(opened.ui.warpedOutputSelector)
    for node in nodes.values():
        opened.parameters.movingVolume = node
        opened.desktop.process_events()
        assert not opened.ui.registerButton.isEnabled(), node.GetName()
        assert node.GetName() in tip_of(opened.ui.registerButton)


def test_a_volume_is_offered_as_soon_as_it_has_voxels(opened: OpenedPanel, played: PlayedEngine) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "later")
    opened.desktop.process_events()
    assert "later" not in offered(opened.ui.movingSelector)
    node.SetAndObserveImageData(opened.parameters.movingVolume.GetImageData())
    opened.desktop.process_events()
    assert "later" in offered(opened.ui.movingSelector)


def test_a_chosen_volume_that_loses_its_voxels_stays_chosen_and_says_why(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    moving = opened.parameters.movingVolume
    moving.SetAndObserveImageData(None)
    opened.desktop.process_events()
    assert opened.parameters.movingVolume is moving
    assert "has no voxels" in tip_of(opened.ui.registerButton)


def listed(widget: Any) -> list[str]:
    return [str(widget.item(row).text()) for row in range(widget.count)]


def test_a_deleted_segment_leaves_the_list_and_the_choice(opened: OpenedPanel, played: PlayedEngine) -> None:
    mask = segmentation("organs")
    opened.ui.driversButton.collapsed = False
    opened.desktop.choose(opened.ui.fixedMaskSelector, "organs")
    opened.parameters.fixedMaskSegments = ["id liver", "id spleen"]
    mask.GetSegmentation().RemoveSegment("id liver")
    opened.desktop.process_events()
    assert listed(opened.ui.fixedSegmentList) == ["spleen"]
    assert list(opened.parameters.fixedMaskSegments) == ["id spleen"]
    assert opened.ui.registerButton.isEnabled()
    mask.GetSegmentation().GetSegment("id spleen").SetName("Milz")
    opened.desktop.process_events()
    assert listed(opened.ui.fixedSegmentList) == ["Milz"]
    mask.GetSegmentation().AddEmptySegment("new", "new")
    opened.desktop.process_events()
    assert listed(opened.ui.fixedSegmentList) == ["Milz", "new"]


def test_a_mask_whose_chosen_segments_were_all_deleted_is_not_taken_for_the_whole(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    mask = segmentation("organs")
    opened.parameters.fixedMask, opened.parameters.fixedMaskSegments = mask, ["id liver"]
    mask.GetSegmentation().RemoveSegment("id liver")
    opened.desktop.process_events()
    assert not opened.ui.registerButton.isEnabled()
    assert "of the mask organs were deleted" in tip_of(opened.ui.registerButton)
    assert "id liver" not in tip_of(opened.ui.registerButton)
