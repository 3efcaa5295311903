"""A comparison leaves the user's own views to other modules, saved scenes, new volumes and new layouts."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from Testing.panel.nodes import load_volume
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine
from Testing.panel.test_compare_panel import choose, everything, layers, views, wait_for_helper


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
    assert opened.desktop.wait_until(lambda: [layers(view)[2:] for view in views()] == shown, 20)


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


def test_who_tells_that_the_scene_is_saved_finds_the_users_own_views(opened: OpenedPanel, played: PlayedEngine) -> None:
    before = everything()
    played.run()
    shown = [layers(view) for view in views()]
    slicer.mrmlScene.StartState(slicer.mrmlScene.SaveState)
    assert everything()[: len(before)] == before
    slicer.mrmlScene.EndState(slicer.mrmlScene.SaveState)
    assert [layers(view) for view in views()] == shown


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
    new = load_volume(tmp_path, "new")
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
