"""A scripted module is loaded, clicked and seen as in the application."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError)


def add_volume(name="Head"):
    return slicer.util.addVolumeFromArray(np.arange(120.0).reshape(4, 5, 6), name=name)


def test_the_module_stands_where_slicer_puts_it(sample):
    assert slicer.modules.samplemodule.title == "Sample"
    assert slicer.modules.SampleModuleWidget is sample.widget
    assert slicer.util.modulePath("SampleModule").endswith("SampleModule.py")


def test_the_button_works_once_both_volumes_are_chosen(sample, desktop):
    ui = sample.widget.ui
    assert not ui.applyButton.enabled
    add_volume()
    assert sample.widget.parameters.inputVolume.GetName() == "Head"
    desktop.choose(ui.outputSelector, "Create new Label Map Volume")
    desktop.click(ui.applyButton)
    assert ui.resultLabel.text == "94 voxels"
    assert slicer.util.arrayFromVolume(slicer.util.getNode("Mask")).sum() == 94


def test_a_disabled_button_cannot_be_clicked(sample, desktop):
    with pytest.raises(AssertionError, match="disabled"):
        desktop.click(sample.widget.ui.applyButton)


def test_what_is_inside_a_collapsed_section_cannot_be_clicked(sample, desktop):
    ui = sample.widget.ui
    with pytest.raises(AssertionError, match="hidden"):
        desktop.click(ui.smoothBox)
    desktop.click(ui.advancedButton)
    desktop.click(ui.smoothBox)
    assert sample.widget.parameters.smooth


def test_a_closed_scene_leaves_a_panel_that_works(sample, desktop):
    ui = sample.widget.ui
    add_volume()
    ui.thresholdSlider.value = 80
    desktop.scene.Clear(False)
    assert sample.widget.parameters.inputVolume is None
    assert ui.thresholdSlider.value == 25
    assert not ui.applyButton.enabled
    add_volume("Other")
    assert sample.widget.parameters.inputVolume.GetName() == "Other"


def test_the_panels_state_comes_back_with_the_scene(sample, desktop, tmp_path):
    ui = sample.widget.ui
    add_volume()
    ui.thresholdSlider.value = 80
    desktop.choose(ui.sideBox, "Below")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    desktop.scene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert ui.thresholdSlider.value == 80
    assert ui.sideBox.currentText == "Below"
    assert ui.inputSelector.currentNode().GetName() == "Head"


def test_entering_leaving_and_unloading_are_told_to_the_module(sample):
    sample.panel.enter()
    sample.panel.exit()
    widget = sample.widget
    sample.unload()
    assert widget.calls == ["enter", "exit", "cleanup"]
    assert not hasattr(slicer.modules, "samplemodule")


def test_reload_makes_a_new_panel(sample, desktop):
    before = sample.widget
    slicer.util.reloadScriptedModule("SampleModule")
    assert before.calls == ["cleanup"]
    assert sample.widget is not before
    assert sample.widget.ui.applyButton.text == "Apply"


def test_the_modules_own_test_runs(sample):
    slicer.selfTests["SampleModule"](msec=0)
    assert sample.python.SampleModuleTest.ran == ["test_nothing"]


def test_the_panel_looks_like_something(sample, desktop, tmp_path):
    from Testing.desktop.views import read_picture

    desktop.grab(sample.panel, tmp_path / "panel.png", (420, 520))
    picture = read_picture(tmp_path / "panel.png")
    assert picture.shape == (520, 420, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_an_attribute_that_modules_do_not_have_is_an_error(sample):
    with pytest.raises(AttributeError):
        sample.module.catgories = ["Registration"]
