"""What the user sets reaches the engine: masks and their segments, landmarks, initial transform, recipe, device."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.recipes import load_recipe, recipe_names
from DeepRegLib.request import Drivers
from Testing.panel.nodes import BALLS, GRID, all_ids, ball, linear_node, markups_node, segmentation, volume_node
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine
from Testing.scene.nodes import TO_RAS

SHIFT = np.array([[1, 0, 0, 6.0], [0, 1, 0, -3.0], [0, 0, 1, 3.0], [0, 0, 0, 1]])
EXTREMES = [(0.5, 0.5), (0.5, 3.0), (1.5, 0.5), (1.5, 3.0)]


def rows(widget: object) -> dict[str, bool]:
    """Return the names in a list of segments, and which are checked."""
    import qt

    items = [widget.item(row) for row in range(widget.count)]
    return {item.text(): item.checkState() == qt.Qt.Checked for item in items}


def toggle(opened: OpenedPanel, widget: object, name: str) -> None:
    """Click on the box before a segment's name."""
    import qt

    item = next(widget.item(row) for row in range(widget.count) if widget.item(row).text() == name)
    item.setCheckState(qt.Qt.Unchecked if item.checkState() == qt.Qt.Checked else qt.Qt.Checked)
    opened.desktop.process_events()


def volume_of(mask: object) -> int:
    return int(np.count_nonzero(mask.array))


@pytest.fixture
def organs(opened: OpenedPanel, played: PlayedEngine) -> object:
    """Return a segmentation that was chosen as fixed mask, its section open."""
    node = segmentation("organs")
    opened.ui.driversButton.collapsed = False
    opened.desktop.choose(opened.ui.fixedMaskSelector, "organs")
    return node


def test_without_drivers_the_engine_gets_the_volumes_alone(opened: OpenedPanel, played: PlayedEngine) -> None:
    request = played.request()
    np.testing.assert_array_equal(request.fixed.array, slicer.util.arrayFromVolume(opened.parameters.fixedVolume))
    np.testing.assert_array_equal(request.moving.array, slicer.util.arrayFromVolume(opened.parameters.movingVolume))
    assert request.fixed.geometry.is_close(GRID)
    given = [each.name for each in fields(request.drivers) if getattr(request.drivers, each.name) is not None]
    assert (given, request.device) == ([], None)
    assert (request.seed, request.extras.moving_layers, request.extras.jacobian) == (0, (), False)
    assert request.recipe == load_recipe("auto")


def test_only_segmentations_and_label_maps_are_offered_as_masks(opened: OpenedPanel, played: PlayedEngine) -> None:
    segmentation("organs")
    volume_node(slicer.mrmlScene, ball((60.0, 60.0, 60.0)), "labels", "vtkMRMLLabelMapVolumeNode")
    linear_node(slicer.mrmlScene, SHIFT)
    for name in ("fixedMask", "movingMask", "movingSegmentation", "fixedSegmentation"):
        selector = getattr(opened.ui, f"{name}Selector")
        nodes = [selector.nodeFromIndex(index) for index in range(selector.nodeCount())]
        assert {node.GetName() for node in nodes} == {"organs", "labels"}, name


def test_the_segments_are_listed_by_name(opened: OpenedPanel, organs: object) -> None:
    assert opened.ui.fixedSegmentList.isVisible()
    assert rows(opened.ui.fixedSegmentList) == dict.fromkeys(BALLS, True)
    assert not opened.ui.movingSegmentList.isVisible()


def test_a_label_map_has_no_list_of_segments(opened: OpenedPanel, organs: object) -> None:
    volume_node(slicer.mrmlScene, ball((60.0, 60.0, 60.0)), "labels", "vtkMRMLLabelMapVolumeNode")
    opened.desktop.choose(opened.ui.fixedMaskSelector, "labels")
    assert not opened.ui.fixedSegmentList.isVisible()


def test_all_segments_make_the_mask(opened: OpenedPanel, played: PlayedEngine, organs: object) -> None:
    mask = played.request().drivers.fixed_mask
    both = ball(BALLS["liver"]).array | ball(BALLS["spleen"]).array
    np.testing.assert_array_equal(mask.array, both.astype(bool))


def test_an_unchecked_segment_is_not_in_the_mask(opened: OpenedPanel, played: PlayedEngine, organs: object) -> None:
    toggle(opened, opened.ui.fixedSegmentList, "spleen")
    assert rows(opened.ui.fixedSegmentList) == {"liver": True, "spleen": False}
    request = played.request()
    np.testing.assert_array_equal(request.drivers.fixed_mask.array, ball(BALLS["liver"]).array.astype(bool))
    assert request.drivers.moving_mask is None


def test_checking_it_again_brings_it_back(opened: OpenedPanel, played: PlayedEngine, organs: object) -> None:
    alone = volume_of(ball(BALLS["liver"]))
    toggle(opened, opened.ui.fixedSegmentList, "spleen")
    toggle(opened, opened.ui.fixedSegmentList, "spleen")
    assert list(opened.parameters.fixedMaskSegments) == []
    assert volume_of(played.request().drivers.fixed_mask) > alone


def test_another_mask_begins_with_all_its_segments(opened: OpenedPanel, played: PlayedEngine, organs: object) -> None:
    toggle(opened, opened.ui.fixedSegmentList, "spleen")
    segmentation("bones", names=("rib", "hip"))
    opened.desktop.choose(opened.ui.fixedMaskSelector, "bones")
    assert rows(opened.ui.fixedSegmentList) == {"rib": True, "hip": True}
    assert volume_of(played.request().drivers.fixed_mask) > volume_of(ball(BALLS["liver"]))


def test_a_new_segment_appears_in_the_list(opened: OpenedPanel, organs: object) -> None:
    organs.GetSegmentation().AddEmptySegment("id kidney", "kidney")
    opened.widget.panel.refresh()
    assert rows(opened.ui.fixedSegmentList) == {"liver": True, "spleen": True, "kidney": True}


def test_a_mask_is_sent_where_the_volume_lies(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingMask = segmentation("moved")
    opened.parameters.movingMask.SetAndObserveTransformNodeID(linear_node(slicer.mrmlScene, SHIFT).GetID())
    mask = played.request().drivers.moving_mask
    where = np.argwhere(mask.array)[:, ::-1] @ np.diag(GRID.spacing)
    expected = np.argwhere(ball(BALLS["liver"]).array | ball(BALLS["spleen"]).array)[:, ::-1] * 3.0 + SHIFT[:3, 3]
    np.testing.assert_allclose(where.mean(axis=0), expected.mean(axis=0), atol=0.5)


def test_landmarks_are_sent_in_pairs(opened: OpenedPanel, played: PlayedEngine) -> None:
    points = np.array([[60.0, 60.0, 60.0], [70.0, 60.0, 50.0], [60.0, 80.0, 60.0]])
    markups_node(slicer.mrmlScene, points, ["a", "b", "c"], "F")
    markups_node(slicer.mrmlScene, points[::-1] + SHIFT[:3, 3], ["c", "b", "a"], "M")
    opened.desktop.choose(opened.ui.fixedLandmarksSelector, "F")
    opened.desktop.choose(opened.ui.movingLandmarksSelector, "M")
    request = played.request()
    np.testing.assert_allclose(request.drivers.fixed_landmarks, points, atol=1e-9)
    np.testing.assert_allclose(request.drivers.moving_landmarks, points + SHIFT[:3, 3], atol=1e-9)


def test_segmentations_chosen_for_comparison_are_compared_and_do_not_pull(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.movingSegmentation = segmentation("M")
    opened.parameters.fixedSegmentation = segmentation("F")
    request = played.request()
    assert (request.drivers.fixed_labels, request.drivers.moving_labels) == (None, None)
    assert set(np.unique(request.extras.compared_fixed_labels.array)) == {0, 1, 2}
    assert request.extras.compared_moving_labels.geometry.is_close(request.moving.geometry)


def test_the_initial_transform_is_sent_as_the_map_from_fixed_to_moving(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    node = linear_node(slicer.mrmlScene, np.linalg.inv(SHIFT), "start")
    opened.desktop.choose(opened.ui.initialTransformSelector, "start")
    transform = played.request().drivers.initial_transform
    np.testing.assert_allclose(transform.apply_to_points(np.zeros((1, 3))), SHIFT[None, :3, 3], atol=1e-9)
    matrix = slicer.util.arrayFromTransformMatrix(node)
    np.testing.assert_allclose(TO_RAS @ matrix @ TO_RAS, np.linalg.inv(SHIFT), atol=1e-9)


def test_a_script_gives_drivers_that_are_no_nodes_beside_those_that_are(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    volumes = opened.parameters.fixedVolume, opened.parameters.movingVolume
    start = linear_node(slicer.mrmlScene, np.linalg.inv(SHIFT), "start")
    opened.logic.register(*volumes, drivers=Drivers(background=-3.0), initialTransform=start, wait=False)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, 5)
    drivers = REGISTER.request_of(played.orders[0]).drivers
    assert drivers.background == -3.0
    np.testing.assert_allclose(drivers.initial_transform.matrix, SHIFT, atol=1e-9)
    opened.logic.close()


def test_a_volume_is_sent_where_its_parent_transform_puts_it(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingVolume.SetAndObserveTransformNodeID(linear_node(slicer.mrmlScene, SHIFT).GetID())
    np.testing.assert_allclose(played.request().moving.geometry.origin, SHIFT[:3, 3], atol=1e-9)


def test_recipe_seed_and_sliders_reach_the_engine(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.choose(opened.ui.recipeSelector, "fast")
    opened.ui.seedSpinBox.value = 42
    opened.ui.resolutionSlider.value = 0.5
    opened.ui.smoothnessSlider.value = 2.0
    request = played.request()
    stage, plain = request.recipe.deformable, load_recipe("fast").deformable
    assert request.seed == 42
    assert stage.voxels == round(plain.voxels / 8)
    assert stage.smooth_update == pytest.approx(2 * plain.smooth_update)
    assert stage.smooth_field == pytest.approx(2 * plain.smooth_field)
    assert request.recipe.linear == load_recipe("fast").linear


@pytest.mark.parametrize("extremes", EXTREMES)
def test_no_slider_leaves_what_a_recipe_allows(
    opened: OpenedPanel, played: PlayedEngine, extremes: tuple[float, float]
) -> None:
    opened.ui.resolutionSlider.value, opened.ui.smoothnessSlider.value = extremes
    for name in (name for name in recipe_names() if not load_recipe(name).prepare.labels_only):
        opened.desktop.choose(opened.ui.recipeSelector, name)
        assert opened.ui.registerButton.isEnabled(), (name, opened.ui.registerButton.toolTip)


def test_the_sliders_are_for_what_deforms(opened: OpenedPanel) -> None:
    for name, deforms in (("rigid", False), ("auto", True), ("affine", False), ("fast", True)):
        opened.desktop.choose(opened.ui.recipeSelector, name)
        assert opened.ui.resolutionSlider.isEnabled() == deforms
        assert opened.ui.smoothnessSlider.isEnabled() == deforms


def test_the_devices_of_the_engine_are_offered(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    texts = [opened.ui.deviceSelector.itemText(row) for row in range(opened.ui.deviceSelector.count)]
    assert texts == ["Fastest available", "CUDA 0", "Processor"]
    opened.desktop.choose(opened.ui.deviceSelector, "CUDA 0")
    assert played.request().device == "cuda:0"
    played.deliver()
    opened.desktop.choose(opened.ui.deviceSelector, "Fastest available")
    assert played.request().device is None


def test_a_saved_recipe_does_the_same_when_opened(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import qt

    path = tmp_path / "mine.toml"
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(path))
    opened.ui.advancedButton.collapsed = False
    opened.ui.smoothnessSlider.value = 1.5
    first = played.request().recipe
    played.deliver()
    opened.desktop.click(opened.ui.saveRecipeButton)
    opened.ui.smoothnessSlider.value = 1.0
    opened.desktop.click(opened.ui.openRecipeButton)
    assert opened.message == ""
    assert opened.ui.recipeSelector.currentText == "mine"
    assert played.request().recipe == first


def test_a_recipe_dialog_that_is_left_changes_nothing(
    opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: "")
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "")
    before = all_ids(slicer.mrmlScene)
    opened.ui.advancedButton.collapsed = False
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.saveRecipeButton)
    opened.desktop.click(opened.ui.openRecipeButton)
    assert opened.parameters.recipe == "auto"
    assert opened.message == ""
    assert all_ids(slicer.mrmlScene) == before
