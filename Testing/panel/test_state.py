"""What the panel remembers: with the scene, over other modules, and not beyond a closed scene."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.recipes import load_recipe, recipe_names
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with
from Testing.panel.nodes import ball, linear_node, markups_node, segmentation, volume_node
from Testing.panel.opened import OpenedPanel, tip_of
from Testing.panel.played import PlayedEngine

# What every control shows before anything is chosen.
DEFAULTS = {
    "recipeSelector": "auto",
    "modelSelector": f"{load_recipe('auto').model.name or 'no model'} (by recipe)",
    "compareSelector": "Views as they were",
    "deviceSelector": "Fastest available",
    "engineSelector": "Slicer's Python",
    "blendSlider": 0.5,
    "resolutionSlider": 1.0,
    "smoothnessSlider": 1.0,
    "seedSpinBox": 0,
    "linkedCheckBox": True,
    "wantTransformCheckBox": True,
    "wantInverseCheckBox": False,
    "wantWarpedCheckBox": True,
    "wantSegmentationCheckBox": True,
    "wantTableCheckBox": True,
    "wantJacobianCheckBox": False,
    "wantUncertaintyCheckBox": False,
    "wantExplanationCheckBox": False,
    "wantTrustCheckBox": False,
    "alignMovingCheckBox": False,
    "namePrefixEdit": "",
    "hostEdit": "",
    "remotePythonEdit": "python3",
}
OPEN = {"inputsButton": True, "compareButton": True}
CLOSED = {f"{name}Button": False for name in ("drivers", "outputs", "advanced", "environment")}


def shown(opened: OpenedPanel, name: str) -> object:
    """Return what a control shows."""
    control = getattr(opened.ui, name)
    if name.endswith("Selector"):
        return control.currentText
    if name.endswith("CheckBox"):
        return control.checked
    return control.text if name.endswith("Edit") else control.value


def test_every_control_begins_with_a_sensible_value(opened: OpenedPanel) -> None:
    assert {name: shown(opened, name) for name in DEFAULTS} == DEFAULTS
    sections = OPEN | CLOSED
    assert {name: not getattr(opened.ui, name).collapsed for name in sections} == sections
    assert opened.ui.registerButton.text == "Register"
    for name in ("progressBar", "progressLabel", "messageCard", "verdictCard", "removeResultsButton"):
        assert not getattr(opened.ui, name).isVisible(), name


def test_each_recipe_says_what_it_is_for(opened: OpenedPanel) -> None:
    assert tip_of(opened.ui.recipeSelector) == load_recipe("auto").purpose
    for name in recipe_names():
        opened.desktop.choose(opened.ui.recipeSelector, name)
        assert opened.parameters.recipe == name
        assert tip_of(opened.ui.recipeSelector) == load_recipe(name).purpose


def test_two_loaded_volumes_are_proposed(opened: OpenedPanel) -> None:
    fixed, moving = opened.load_pair()
    assert opened.ui.fixedSelector.currentNode() is fixed
    assert opened.ui.movingSelector.currentNode() is moving
    assert opened.ui.registerButton.isEnabled()


def test_a_label_map_is_not_proposed(opened: OpenedPanel) -> None:
    volume_node(slicer.mrmlScene, ball((60.0, 60.0, 60.0)), "labels", "vtkMRMLLabelMapVolumeNode")
    fixed, moving = opened.load_pair()
    assert (opened.parameters.fixedVolume, opened.parameters.movingVolume) == (fixed, moving)


def test_one_volume_is_left_to_the_user(opened: OpenedPanel) -> None:
    volume_node(slicer.mrmlScene, ball((60.0, 60.0, 60.0)), "one")
    opened.window.exit()
    opened.window.enter()
    assert opened.parameters.fixedVolume is None


def test_a_choice_is_not_overruled_by_a_proposal(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.choose(opened.ui.fixedSelector, "self-test moving")
    opened.desktop.choose(opened.ui.movingSelector, "Choose a volume")
    opened.window.exit()
    opened.window.enter()
    assert opened.ui.fixedSelector.currentNode().GetName() == "self-test moving"
    assert opened.ui.movingSelector.currentNode() is None


def test_swap_takes_everything_along(opened: OpenedPanel, played: PlayedEngine) -> None:
    parameters = opened.parameters
    fixed, moving = parameters.fixedVolume, parameters.movingVolume
    masks = segmentation("F mask"), segmentation("M mask")
    lists = [markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name=name) for name in ("F points", "M points")]
    parameters.fixedMask, parameters.movingMask = masks
    parameters.fixedMaskSegments = ["id liver"]
    parameters.fixedLandmarks, parameters.movingLandmarks = lists
    parameters.movingSegmentation = masks[1]

    opened.desktop.click(opened.ui.swapButton)

    assert (parameters.fixedVolume, parameters.movingVolume) == (moving, fixed)
    assert (parameters.fixedMask, parameters.movingMask) == masks[::-1]
    assert (list(parameters.fixedMaskSegments), list(parameters.movingMaskSegments)) == ([], ["id liver"])
    assert (parameters.fixedLandmarks, parameters.movingLandmarks) == tuple(lists[::-1])
    assert (parameters.fixedSegmentation, parameters.movingSegmentation) == (masks[1], None)
    assert opened.ui.fixedSelector.currentNode() is moving
    assert opened.ui.movingSelector.currentNode() is fixed


def test_swapping_segments_of_different_masks_keeps_them(opened: OpenedPanel, played: PlayedEngine) -> None:
    parameters = opened.parameters
    parameters.fixedMask, parameters.fixedMaskSegments = segmentation("F", names=("a", "b")), ["id a"]
    parameters.movingMask, parameters.movingMaskSegments = segmentation("M", names=("c", "d")), ["id d"]
    opened.desktop.click(opened.ui.swapButton)
    assert (list(parameters.fixedMaskSegments), list(parameters.movingMaskSegments)) == (["id d"], ["id a"])


def test_a_saved_scene_brings_everything_back(opened: OpenedPanel, played: PlayedEngine, tmp_path: Path) -> None:
    parameters = opened.parameters
    parameters.fixedMask, parameters.fixedMaskSegments = segmentation("mask"), ["id spleen"]
    parameters.movingSegmentation = volume_node(
        slicer.mrmlScene, ball((60.0, 60.0, 60.0)), "labels", "vtkMRMLLabelMapVolumeNode"
    )
    parameters.fixedLandmarks = markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name="F points")
    parameters.movingLandmarks = markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name="M points")
    parameters.initialTransform = linear_node(
        slicer.mrmlScene, [[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    parameters.recipe, parameters.device, parameters.seed = "fast", "cpu", 7
    parameters.model, parameters.wantUncertainty = "gone", True
    parameters.resolution, parameters.smoothness, parameters.namePrefix = 0.8, 1.5, "Monday"
    parameters.wantJacobian, parameters.wantTable = True, False
    played.request()
    played.deliver("check", ("Half of it is outside.", "×"))
    parameters.compareMode, parameters.blend, parameters.linkedViews = "red-cyan", 0.25, False
    verdict = opened.verdict

    assert slicer.util.saveScene(str(tmp_path / "saved.mrb"))
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    assert opened.parameters.fixedVolume is None
    assert opened.parameters.recipe == "auto"
    slicer.util.loadScene(str(tmp_path / "saved.mrb"))
    opened.desktop.process_events()

    back = opened.parameters
    names = {
        "fixedVolume": "self-test fixed",
        "movingVolume": "self-test moving",
        "fixedMask": "mask",
        "movingSegmentation": "labels",
        "fixedLandmarks": "F points",
        "movingLandmarks": "M points",
        "initialTransform": "linear",
        "comparedFixed": "self-test fixed",
        "comparedWarped": "Monday registered",
    }
    assert {name: getattr(back, name).GetName() for name in names} == names
    assert list(back.fixedMaskSegments) == ["id spleen"]
    assert (back.recipe, back.device, back.seed, back.namePrefix) == ("fast", "cpu", 7, "Monday")
    assert (back.resolution, back.smoothness) == (0.8, 1.5)
    assert (back.wantJacobian, back.wantTable) == (True, False)
    assert (back.model, back.wantUncertainty) == ("gone", True)
    assert (back.compareMode, back.blend, back.linkedViews) == ("red-cyan", 0.25, False)

    ui = opened.ui
    assert ui.fixedSelector.currentNode().GetName() == "self-test fixed"
    assert ui.fixedMaskSelector.currentNode().GetName() == "mask"
    assert ui.movingSegmentationSelector.currentNode().GetName() == "labels"
    assert (ui.modelSelector.currentText, ui.wantUncertaintyCheckBox.checked) == ("gone", True)
    assert (ui.recipeSelector.currentText, ui.deviceSelector.currentText) == ("fast", "Processor")
    assert ui.compareSelector.currentText == "Red / cyan"
    assert (ui.seedSpinBox.value, ui.smoothnessSlider.value, ui.namePrefixEdit.text) == (7, 1.5, "Monday")
    assert opened.verdict.replace(" | As saved with the scene.", "") == verdict
    assert ui.removeResultsButton.isVisible()
    assert ui.registerButton.isEnabled()


def test_a_run_goes_on_while_another_module_is_open(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    opened.window.exit()
    played.report("deformable", 0.4, 0.875, 12.0)
    opened.desktop.wait_until(lambda: opened.ui.progressBar.value == 400, 5)
    assert opened.widget.panel.registration.running
    opened.window.enter()
    assert opened.ui.registerButton.text == "Cancel"
    assert opened.ui.progressBar.isVisible()
    assert opened.ui.progressLabel.text == "Deforming · similarity 0.875 · about 12 s left"
    played.deliver()
    assert opened.parameters.verdictLevel == "ok"


def test_a_result_that_came_meanwhile_is_shown_on_return(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    opened.window.exit()
    played.deliver()
    assert slicer.mrmlScene.GetNodeByID(opened.results.warped) is not None
    opened.window.enter()
    assert opened.ui.registerButton.text == "Register"
    assert "Looks right" in opened.verdict
    assert opened.ui.compareSelector.currentText == "Blend"
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert [view.GetForegroundVolumeID() for view in views] == [opened.results.warped] * 3


def test_a_closed_scene_is_a_fresh_start(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.recipe, opened.parameters.seed, opened.parameters.alignMoving = "fast", 9, True
    played.run()
    opened.parameters.compareMode = "checkerboard"
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    assert {name: shown(opened, name) for name in DEFAULTS if name != "deviceSelector"} == {
        name: value for name, value in DEFAULTS.items() if name != "deviceSelector"
    }
    assert opened.verdict == ""
    assert not opened.ui.removeResultsButton.isVisible()
    assert not opened.ui.registerButton.isEnabled()
    assert nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE) == []
    opened.load_pair()
    played.run()
    assert opened.results.warped


def test_a_reloaded_module_does_not_hear_the_old_engine(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    opened.window.reload()
    opened.widget = opened.loaded.widget
    opened.engine.client.feed_log(b"hello\n")
    opened.desktop.process_events()
    assert "hello" in opened.widget.ui.logView.toPlainText()


def test_unloading_the_module_in_mid_run_starts_no_other_worker(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    opened.widget.cleanup()
    opened.desktop.process_events()
    assert len(played.workers) == 1
    assert not played.worker.running
    assert not opened.engine.client.starting
    opened.engine.client.feed_log(b"too late\n")


def test_a_developers_reload_brings_the_library_anew(opened: OpenedPanel, played: PlayedEngine) -> None:
    before = {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == "DeepRegLib"}
    engine = opened.engine
    try:
        opened.widget.onReload()
        opened.desktop.process_events()
        again = {name for name in before if sys.modules.get(name) is before[name]}
        assert again == set()
        assert opened.loaded.widget is not opened.widget
        assert opened.loaded.widget.panel is not None
        assert not engine.client.busy
    finally:
        opened.loaded.widget.cleanup()
        sys.modules.update(before)
