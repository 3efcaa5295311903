"""Nothing of the user's is lost, and what the panel shows is what there is: as a real desktop behaves.

Selectors jump when a node goes, loading shows the newest volume, people double-click, and Slicer tells nobody before it
saves a scene.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import SimpleITK as sitk
import slicer
import vtk

from DeepRegLib.panel.self_test import example_pair
from Testing.panel.nodes import BALLS, ball, linear_node, markups_node, segmentation, volume_node
from Testing.panel.opened import OpenedPanel, tip_of
from Testing.panel.played import PlayedEngine
from Testing.panel.test_compare_panel import choose, everything, layers, views, wait_for_helper

FOUND: dict[str, Callable[[], Any]] = {
    "fixedMask": lambda: segmentation("chosen"),
    "movingMask": lambda: segmentation("chosen"),
    "movingSegmentation": lambda: segmentation("chosen"),
    "fixedSegmentation": lambda: segmentation("chosen"),
    "segmentationOutput": lambda: segmentation("chosen"),
    "fixedVolume": lambda: volume_node(slicer.mrmlScene, ball(BALLS["liver"]), "chosen"),
    "movingVolume": lambda: volume_node(slicer.mrmlScene, ball(BALLS["liver"]), "chosen"),
    "warpedOutput": lambda: volume_node(slicer.mrmlScene, ball(BALLS["liver"]), "chosen"),
    "fixedLandmarks": lambda: markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name="chosen"),
    "movingLandmarks": lambda: markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name="chosen"),
    "initialTransform": lambda: linear_node(slicer.mrmlScene, np.eye(4), "chosen"),
    "transformOutput": lambda: linear_node(slicer.mrmlScene, np.eye(4), "chosen"),
    "inverseOutput": lambda: linear_node(slicer.mrmlScene, np.eye(4), "chosen"),
}


def answer(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, yes: bool) -> list[str]:
    """Answer the panel's questions; return the list into which they go."""
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return yes

    panel = opened.widget.panel
    for section in (panel.registration, getattr(panel, "outputs", panel.registration)):
        monkeypatch.setattr(section, "_ask", ask)
    return asked


def segment_count(node: Any) -> int:
    return int(node.GetSegmentation().GetNumberOfSegments())


def load(folder: Path, name: str, origin: float = 0.0, size: int = 20) -> Any:
    """Load a volume from a file, as a person does, and let the window live."""
    image = sitk.Image([size, size, size], sitk.sitkInt16)
    image.SetOrigin((origin, origin, origin))
    sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    return slicer.util.loadVolume(str(folder / f"{name}.nrrd"))


# --- a node goes


@pytest.mark.parametrize(("parameter", "batch"), [*((name, False) for name in FOUND), ("segmentationOutput", True)])
def test_a_node_that_goes_is_not_replaced_by_its_neighbour(
    opened: OpenedPanel, played: PlayedEngine, parameter: str, batch: bool
) -> None:
    before, chosen, after = (FOUND[parameter]() for _ in range(3))
    before.SetName("before")
    after.SetName("after")
    opened.desktop.choose(getattr(opened.ui, f"{parameter.removesuffix('Volume')}Selector"), "chosen")
    assert getattr(opened.parameters, parameter) is chosen
    if batch:
        slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
    slicer.mrmlScene.RemoveNode(chosen)
    if batch:
        slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
    opened.desktop.process_events()
    assert getattr(opened.parameters, parameter) is None


def test_every_parameter_that_holds_a_node_lets_go_of_it(opened: OpenedPanel, played: PlayedEngine) -> None:
    held = [name for name in opened.parameters.allParameters if name.startswith("compared")]
    for name in held:
        setattr(opened.parameters, name, opened.parameters.movingVolume)
    moving = opened.parameters.movingVolume
    slicer.mrmlScene.RemoveNode(moving)
    assert [getattr(opened.parameters, name) for name in (*held, "movingVolume")] == [None] * (len(held) + 1)
    slicer.mrmlScene.AddNode(moving)  # undone: it is there, but nobody chose it
    assert opened.parameters.movingVolume is None


def test_results_that_were_removed_and_a_second_run_leave_the_users_tumour_alone(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    plan = segmentation("plan")
    opened.parameters.movingSegmentation = plan
    played.run()
    tumour = segmentation("my tumour", names=("tumour",))
    opened.desktop.choose(opened.ui.segmentationOutputSelector, "self-test moving segmentation")
    opened.desktop.click(opened.ui.removeResultsButton)
    played.run()
    assert opened.results.segmentation not in (tumour.GetID(), plan.GetID())
    assert [segment_count(node) for node in (tumour, plan)] == [1, 2]
    assert tumour.GetSegmentation().GetNthSegment(0).GetName() == "tumour"


@pytest.mark.parametrize("yes", [True, False])
def test_what_is_not_ours_is_asked_about_by_name_before_it_is_overwritten(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    opened.parameters.movingSegmentation = segmentation("plan")
    tumour = segmentation("my <i>tumour</i>", names=("tumour",))
    asked = answer(opened, monkeypatch, yes)
    opened.desktop.choose(opened.ui.segmentationOutputSelector, "my <i>tumour</i>")
    opened.press()
    assert len(asked) == 1
    assert "my &lt;i&gt;tumour&lt;/i&gt;" in asked[0]
    if not yes:
        assert played.orders == []
        assert opened.ui.registerButton.text == "Register"
        return
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, 10)
    played.deliver()
    assert opened.results.segmentation == tumour.GetID()
    assert segment_count(tumour) == 2
    played.run()  # what is in it now is a result
    assert len(asked) == 1
    assert opened.results.segmentation == tumour.GetID()


def test_what_nobody_chose_by_hand_is_refused(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingSegmentation = segmentation("plan")
    tumour = segmentation("my tumour", names=("tumour",))
    opened.parameters.segmentationOutput = tumour
    opened.press()
    assert played.orders == []
    assert "my tumour holds something that DeepReg did not make, which would be lost." in opened.message
    assert segment_count(tumour) == 1


def test_a_script_does_not_overwrite_what_is_not_ours(opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.errors import InputError

    fixed, moving = opened.parameters.fixedVolume, opened.parameters.movingVolume
    scan = volume_node(slicer.mrmlScene, ball(BALLS["liver"]), "my scan")
    with pytest.raises(InputError, match="my scan holds something that DeepReg did not make"):
        opened.logic.register(fixed, moving, existing={"warped": scan.GetID()}, wait=False)


# --- views


def centre(view: str) -> np.ndarray:
    node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
    return np.array([node.GetSliceToRAS().GetElement(row, 3) for row in range(3)])


@pytest.mark.parametrize("compared", [True, False])
def test_scans_that_lie_far_apart_are_in_the_views_after_a_result(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path, compared: bool
) -> None:
    fixed, moving = load(tmp_path, "fixed", 0.0), load(tmp_path, "moving", 700.0)
    opened.parameters.fixedVolume, opened.parameters.movingVolume = fixed, moving
    opened.parameters.wantWarped = compared
    assert np.linalg.norm(centre("Red")) > 1000
    played.run()
    for view in ("Red", "Yellow", "Green"):
        np.testing.assert_allclose(centre(view), (-9.5, -9.5, 9.5), atol=2.0)


def test_views_that_show_the_anatomy_stay_where_the_user_is(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    fixed, moving = load(tmp_path, "fixed", 0.0), load(tmp_path, "moving", 3.0)
    opened.parameters.fixedVolume, opened.parameters.movingVolume = fixed, moving
    nodes = {name: slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow")}
    nodes["Red"].JumpSliceByOffsetting(-9.5, -9.5, 15.5)  # another slice
    nodes["Yellow"].SetFieldOfView(8.0, 8.0, 1.0)  # a detail
    before = {name: (centre(name).tolist(), list(node.GetFieldOfView())) for name, node in nodes.items()}
    played.run()
    assert {name: (centre(name).tolist(), list(node.GetFieldOfView())) for name, node in nodes.items()} == before


def test_choosing_a_comparison_fits_views_that_went_elsewhere(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    played.run()
    load(tmp_path, "far", 900.0)
    opened.desktop.process_events()
    choose(opened, "Checkerboard")
    bounds = [0.0] * 6
    opened.parameters.fixedVolume.GetRASBounds(bounds)
    middle = np.reshape(bounds, (3, 2)).mean(axis=1)
    for view in ("Red", "Yellow", "Green"):
        np.testing.assert_allclose(centre(view), middle, atol=2.0)


def test_a_fixed_scan_under_a_transform_is_found_where_it_lies(scene: Any) -> None:
    from DeepRegLib.scene.views import shows

    volume = volume_node(scene, ball(BALLS["liver"]), "head")
    view = slicer.vtkMRMLSliceNode()
    view.SetFieldOfView(100.0, 100.0, 1.0)
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    view.JumpSliceByCentering(*np.reshape(bounds, (3, 2)).mean(axis=1))
    assert shows(view, volume)
    far = np.eye(4)
    far[:3, 3] = 500.0
    volume.SetAndObserveTransformNodeID(linear_node(scene, far).GetID())
    assert not shows(view, volume)


# --- the comparison and the rest of Slicer


@pytest.mark.parametrize("mode", ["Blend", "Flicker", "Checkerboard", "Red / cyan"])
def test_another_module_has_the_users_own_views(opened: OpenedPanel, played: PlayedEngine, mode: str) -> None:
    views()[1].SetForegroundOpacity(0.3)
    before = everything()
    played.run()
    choose(opened, mode)
    shown = [layers(view)[2:] for view in views()]
    opened.window.exit()
    assert everything()[: len(before)] == before
    assert not opened.widget.panel.compare._comparison._timer.isActive()
    opened.window.enter()
    assert opened.ui.compareSelector.currentText == mode
    assert [layers(view)[2:] for view in views()] == shown


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("Flicker", ".mrb"), ("Checkerboard", ".mrb"), ("Red / cyan", ".mrb"), ("Red / cyan", ".mrml")],
)
def test_a_saved_scene_has_the_users_own_display(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path, mode: str, suffix: str
) -> None:
    fixed = opened.parameters.fixedVolume
    fixed.GetDisplayNode().SetWindowLevelMinMax(3.0, 77.0)
    views()[0].SetBackgroundVolumeID(fixed.GetID())
    views()[1].SetForegroundOpacity(0.3)
    before = [layers(view) for view in views()]
    played.run()
    choose(opened, mode)
    path = tmp_path / f"saved{suffix}"
    assert slicer.util.saveScene(str(path))
    assert opened.ui.compareSelector.currentText == mode
    assert [layers(view) for view in views()] != before
    text = scene_text(path)
    assert "vtkMRMLColorTableNodeRed" not in text.replace("vtkMRMLColorTableNodeRedGreenBlue", "")
    assert "Checkerboard" not in text
    if suffix == ".mrml":
        return  # without files for the volumes
    slicer.mrmlScene.Clear(0)
    opened.window.exit()
    slicer.util.loadScene(str(path))
    opened.desktop.process_events()
    assert [layers(view)[2:] for view in views()] == [layer[2:] for layer in before]
    shown = views()[0].GetBackgroundVolumeID()
    assert slicer.mrmlScene.GetNodeByID(shown).GetName() == "self-test fixed"
    display = slicer.mrmlScene.GetNodeByID(shown).GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (3.0, 77.0)
    opened.window.enter()
    assert opened.ui.compareSelector.currentText == mode
    if mode != "Flicker":
        wait_for_helper(opened)
    assert [layers(view) for view in views()] != before


@pytest.mark.parametrize("mode", ["Checkerboard", "Red / cyan"])
def test_a_scene_saved_while_comparing_shows_the_users_volumes_where_there_is_no_deepreg(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path, mode: str
) -> None:
    fixed, moving = opened.parameters.fixedVolume, opened.parameters.movingVolume
    views()[0].SetBackgroundVolumeID(fixed.GetID())
    views()[0].SetForegroundVolumeID(moving.GetID())
    played.run()
    choose(opened, mode)
    assert views()[0].GetBackgroundVolumeID() != fixed.GetID()
    assert slicer.util.saveScene(str(tmp_path / "saved.mrb"))
    opened.window.exit()
    opened.loaded.unload()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "saved.mrb"))
    shown = [slicer.mrmlScene.GetNodeByID(each or "") for each in layers(views()[0])[:2]]
    assert shown[0].GetName() == fixed.GetName()
    assert shown[1] is None or shown[1].GetName() == moving.GetName()


def scene_text(path: Path) -> str:
    """Return the scene file, which a bundle holds inside."""
    if path.suffix == ".mrml":
        return path.read_text(encoding="utf-8")
    with zipfile.ZipFile(path) as bundle:
        (name,) = [name for name in bundle.namelist() if name.endswith(".mrml")]
        return bundle.read(name).decode()


def test_closing_the_scene_puts_the_views_together_as_before(opened: OpenedPanel, played: PlayedEngine) -> None:
    before = [layers(view)[2:] for view in views()]
    played.run()
    choose(opened, "Red / cyan")
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    assert [layers(view)[2:] for view in views()] == before


@pytest.mark.parametrize("mode", ["Blend", "Flicker"])
def test_a_newly_loaded_volume_ends_the_comparison_and_it_can_be_chosen_again(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path, mode: str
) -> None:
    played.run()
    choose(opened, mode)
    shown = [layers(view) for view in views()]
    new = load(tmp_path, "new")
    opened.desktop.process_events()
    assert {layers(view)[0] for view in views()} == {new.GetID()}
    assert opened.ui.compareSelector.currentText == "Views as they were"
    assert not opened.widget.panel.compare._comparison._timer.isActive()
    choose(opened, mode)
    assert [layers(view)[:2] for view in views()] == [layer[:2] for layer in shown]
    choose(opened, "Views as they were")
    assert {layers(view)[0] for view in views()} == {new.GetID()}


def test_a_view_with_another_volume_is_left_alone_until_the_mode_is_chosen_again(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    moving = opened.parameters.movingVolume
    views()[0].SetBackgroundVolumeID(moving.GetID())
    opened.desktop.process_events()
    assert opened.ui.compareSelector.currentText == "Blend"
    opened.ui.blendSlider.value = 0.8
    assert [round(layers(view)[2], 6) for view in views()][1:] == [0.8, 0.8]
    assert layers(views()[0])[0] == moving.GetID()
    choose(opened, "Blend")
    assert {layers(view)[0] for view in views()} == {opened.parameters.fixedVolume.GetID()}


@pytest.mark.parametrize("mode", ["Blend", "Checkerboard"])
def test_views_of_a_new_layout_join_in_and_are_put_back(opened: OpenedPanel, played: PlayedEngine, mode: str) -> None:
    played.run()
    choose(opened, mode)
    shown = layers(views()[0])
    manager = slicer.app.layoutManager()
    count = len(views())
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutThreeOverThreeView)
    opened.desktop.process_events()
    assert len(views()) > count
    assert {layers(view) for view in views()} == {shown}
    assert all(view.GetLinkedControl() for view in views())
    choose(opened, "Views as they were")
    assert {layers(view)[1] for view in views()[count:]} == {None}
    assert not any(view.GetLinkedControl() for view in views()[count:])
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)


# --- the button


def test_a_double_click_starts_and_does_not_cancel(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.double_click(opened.ui.registerButton)
    assert opened.widget.panel.registration.running
    assert opened.ui.registerButton.text == "Cancel"
    opened.press()  # a click of its own does
    opened.wait_for_end(10)
    assert opened.ui.registerButton.text == "Register"


# --- what is offered


def test_volumes_loaded_while_the_panel_is_open_are_proposed_at_once(opened: OpenedPanel, tmp_path: Path) -> None:
    first = load(tmp_path, "first")
    opened.desktop.process_events()
    assert opened.parameters.fixedVolume is None
    second = load(tmp_path, "second")
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


# --- segments of a mask


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


# --- a segmentation that was brought along


def test_of_the_segmentation_and_the_one_made_of_it_one_is_seen(opened: OpenedPanel, played: PlayedEngine) -> None:
    plan = segmentation("plan")
    plan.CreateDefaultDisplayNodes()
    opened.parameters.movingSegmentation = plan
    played.run()
    carried = slicer.mrmlScene.GetNodeByID(opened.results.segmentation)
    assert [node.GetDisplayNode().GetVisibility() for node in (plan, carried)] == [0, 1]
    opened.desktop.click(opened.ui.removeResultsButton)
    assert plan.GetDisplayNode().GetVisibility()


# --- a scene from someone else


@pytest.fixture
def stranger(opened: OpenedPanel, played: PlayedEngine, tmp_path: Path) -> Path:
    """Return a scene that names a recipe and a model by paths, with the panel empty again."""
    from DeepRegLib.panel.self_test import example_recipe
    from DeepRegLib.recipes import recipe_to_toml

    recipe = tmp_path / "of a stranger.toml"
    recipe.write_text(recipe_to_toml(example_recipe()), encoding="utf-8")
    opened.parameters.recipe, opened.parameters.model = str(recipe), str(tmp_path / "model <b>of</b> a stranger")
    opened.parameters.verdictLevel, opened.parameters.compareMode = "splendid", "upside down"
    assert slicer.util.saveScene(str(tmp_path / "stranger.mrb"))
    slicer.mrmlScene.Clear(0)
    opened.desktop.process_events()
    return tmp_path / "stranger.mrb"


def test_opening_a_scene_reads_no_file_that_it_names(
    opened: OpenedPanel, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[str] = []
    for name in ("is_file", "is_dir", "exists", "stat", "open"):
        real = getattr(Path, name)

        def watched(self: Path, *arguments: Any, _real: Any = real, **options: Any) -> Any:
            if "of a stranger" in str(self):
                touched.append(str(self))
            return _real(self, *arguments, **options)

        monkeypatch.setattr(Path, name, watched)
    slicer.util.loadScene(str(stranger))
    opened.desktop.process_events()
    opened.window.exit()
    opened.window.enter()
    opened.parameters.seed = 3
    opened.desktop.process_events()
    assert touched == []
    assert "of a stranger.toml, which has not been read" in tip_of(opened.ui.recipeSelector)
    assert opened.ui.registerButton.isEnabled()


def test_files_that_a_scene_names_are_asked_about_first(
    opened: OpenedPanel, stranger: Path, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slicer.util.loadScene(str(stranger))
    opened.desktop.process_events()
    asked = answer(opened, monkeypatch, False)
    opened.press()
    assert len(asked) == 1
    assert "of a stranger.toml" in asked[0]
    assert played.orders == []
    asked = answer(opened, monkeypatch, True)
    opened.press()
    assert ["of a stranger.toml" in question for question in asked] == [True]  # this recipe asks no model
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, 10)
    played.deliver()
    opened.desktop.choose(opened.ui.recipeSelector, "fast")
    asked = answer(opened, monkeypatch, True)
    assert "has not been read" in opened.ui.modelNoteLabel.text
    opened.press()
    assert ["model &lt;b&gt;of&lt;/b&gt; a stranger" in question for question in asked] == [True]


def test_a_verdict_and_a_mode_that_nobody_knows_do_no_harm(opened: OpenedPanel, stranger: Path) -> None:
    slicer.util.loadScene(str(stranger))
    opened.desktop.process_events()
    opened.parameters.seed = 4
    opened.desktop.process_events()
    assert "Looks right" not in opened.ui.verdictLabel.text
    assert opened.ui.compareSelector.currentText == "Views as they were"


def test_a_name_in_a_tooltip_is_no_markup(opened: OpenedPanel, played: PlayedEngine) -> None:
    name = '<img src="//server/share.png"> & <b>scan</b>'
    opened.parameters.movingVolume.SetName(name)
    opened.parameters.fixedVolume = opened.parameters.movingVolume
    opened.desktop.process_events()
    assert name in tip_of(opened.ui.registerButton)
