"""Typed parameters live in the scene. These tests run with the stand-in, and with Slicer's own wrapper where it is."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError)


class Side(enum.Enum):
    LEFT = 1
    RIGHT = 2


@pytest.fixture
def wrapper_class(desktop):
    """Return a wrapper with a parameter of every kind."""
    return make_wrapper()


def make_wrapper():
    from slicer.parameterNodeWrapper import Choice, Default, Minimum, WithinRange, parameterNodeWrapper

    annotations = {
        "volume": slicer.vtkMRMLScalarVolumeNode,
        "mask": slicer.vtkMRMLSegmentationNode | slicer.vtkMRMLLabelMapVolumeNode | None,
        "smoothness": Annotated[float, WithinRange(0, 10), Default(2.5)],
        "seed": Annotated[int, Minimum(0)],
        "recipe": Annotated[str, Choice(["brain", "lung"]), Default("brain")],
        "comment": str,
        "fine": Annotated[bool, Default(True)],
        "side": Side,
        "folder": Path,
        "segments": list[str],
    }
    return parameterNodeWrapper(type("Parameters", (), {"__annotations__": annotations}))


@pytest.fixture
def parameters(wrapper_class, desktop):
    """Return the wrapper on a node of the scene."""
    return wrapper_class(desktop.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters"))


def test_parameters_start_with_their_defaults(parameters):
    assert (parameters.smoothness, parameters.recipe, parameters.fine) == (2.5, "brain", True)
    assert (parameters.seed, parameters.comment, parameters.side) == (0, "", Side.LEFT)
    assert parameters.volume is parameters.mask is None
    assert parameters.segments == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("smoothness", 11), ("seed", -1), ("recipe", "heart"), ("comment", None), ("fine", "yes"), ("folder", "a/b")],
)
def test_a_value_that_is_not_allowed_is_refused_and_nothing_changes(parameters, name, wrong):
    before = getattr(parameters, name)
    with pytest.raises((ValueError, TypeError)):
        setattr(parameters, name, wrong)
    assert getattr(parameters, name) == before


def test_a_node_of_another_class_is_refused(parameters, desktop):
    model = desktop.scene.AddNewNodeByClass("vtkMRMLModelNode")
    with pytest.raises(TypeError):
        parameters.volume = model
    with pytest.raises(TypeError):
        parameters.mask = model


def test_a_node_that_leaves_the_scene_is_none(parameters, desktop):
    parameters.volume = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    desktop.scene.RemoveNode(parameters.volume)
    assert parameters.volume is None


def test_a_list_is_changed_in_place(parameters):
    parameters.segments = ["liver"]
    parameters.segments.append("kidney")
    del parameters.segments[0]
    assert parameters.segments == ["kidney"]


def test_observers_hear_of_a_change(parameters):
    import vtk

    heard = []
    tag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: heard.append(parameters.seed))
    parameters.seed = 5
    parameters.RemoveObserver(tag)
    parameters.seed = 6
    assert heard[-1] == 5


def test_two_wrappers_of_one_node_see_the_same(parameters, wrapper_class):
    other = wrapper_class(parameters.parameterNode)
    other.side = Side.RIGHT
    assert parameters.side is Side.RIGHT


def fill(parameters, scene):
    parameters.volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head")
    parameters.mask = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Plan")
    parameters.smoothness = 7.25
    parameters.comment = 'a "quoted" text; with: signs = and ü'
    parameters.fine = False
    parameters.side = Side.RIGHT
    parameters.folder = Path("/some/folder")
    parameters.segments = ["liver", "kidney"]


def check(parameters):
    assert (parameters.volume.GetName(), parameters.mask.GetName()) == ("Head", "Plan")
    assert (parameters.smoothness, parameters.fine, parameters.side) == (7.25, False, Side.RIGHT)
    assert parameters.comment == 'a "quoted" text; with: signs = and ü'
    assert parameters.folder == Path("/some/folder")
    assert parameters.segments == ["liver", "kidney"]


def test_parameters_come_back_with_the_scene(parameters, wrapper_class, desktop, tmp_path):
    fill(parameters, desktop.scene)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    desktop.scene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    check(wrapper_class(slicer.util.getNode("Parameters")))


SAVE = """
import sys
from Testing.desktop import boot
from Testing.desktop import test_parameters as t
desktop = boot()
node = desktop.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")
t.fill(t.make_wrapper()(node), desktop.scene)
import slicer
slicer.util.saveScene(sys.argv[1])
"""


@pytest.mark.skipif("SLICER_PYTHON_DIR" not in os.environ, reason="SLICER_PYTHON_DIR names no checkout of Slicer")
def test_slicer_reads_what_the_stand_in_saved(wrapper_class, desktop, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "SLICER_PYTHON_DIR"}
    path = str(tmp_path / "scene.mrb")
    subprocess.run([sys.executable, "-c", SAVE, path], env=environment, check=True, cwd=Path(__file__).parents[2])
    slicer.util.loadScene(path)
    check(wrapper_class(slicer.util.getNode("Parameters")))


@pytest.fixture
def form(qt, ctk):
    """Return widgets that name the parameters they show."""
    widgets = {
        "volume": slicer.qMRMLNodeComboBox(),
        "smoothness": ctk.ctkSliderWidget(),
        "seed": qt.QSpinBox(),
        "recipe": qt.QComboBox(),
        "comment": qt.QLineEdit(),
        "fine": qt.QCheckBox(),
        "side": qt.QComboBox(),
        "folder": ctk.ctkPathLineEdit(),
    }
    parent = qt.QWidget()
    layout = qt.QVBoxLayout(parent)
    for name, widget in widgets.items():
        widget.setProperty("SlicerParameterName", name)
        widget.name = name
        layout.addWidget(widget)
    widgets["volume"].setMRMLScene(slicer.mrmlScene)
    return parent


def test_widgets_show_the_parameters_and_follow_them(parameters, form, desktop):
    parameters.connectGui(form)
    ui = slicer.util.childWidgetVariables(form)
    fill(parameters, desktop.scene)
    parameters.recipe = "lung"
    parameters.seed = 3
    assert (ui.volume.currentNode().GetName(), ui.smoothness.value, ui.seed.value) == ("Head", 7.25, 3)
    assert (ui.recipe.currentText, ui.fine.checked, ui.side.currentText) == ("lung", False, "RIGHT")
    assert (ui.comment.text, ui.folder.currentPath) == (parameters.comment, "/some/folder")


def test_what_is_edited_in_widgets_goes_into_the_scene(parameters, form, desktop):
    ui = slicer.util.childWidgetVariables(form)
    parameters.connectGui(ui)
    ui.smoothness.value = 4
    ui.seed.value = 9
    ui.recipe.currentIndex = 1
    ui.fine.checked = False
    ui.side.setCurrentIndex(1)
    ui.comment.text = "edited"
    ui.folder.currentPath = "/elsewhere"
    ui.volume.addNode()
    assert (parameters.smoothness, parameters.seed, parameters.recipe) == (4, 9, "lung")
    assert (parameters.fine, parameters.side, parameters.comment) == (False, Side.RIGHT, "edited")
    assert parameters.folder == Path("/elsewhere")
    assert parameters.volume is ui.volume.currentNode()


def test_the_range_of_a_parameter_becomes_the_range_of_its_slider(parameters, form):
    parameters.connectGui(form)
    ui = slicer.util.childWidgetVariables(form)
    assert (ui.smoothness.minimum, ui.smoothness.maximum) == (0, 10)
    assert ui.seed.minimum == 0


def test_nothing_goes_there_or_back_once_disconnected(parameters, form):
    tag = parameters.connectGui(form)
    ui = slicer.util.childWidgetVariables(form)
    parameters.disconnectGui(tag)
    ui.comment.text = "unheard"
    parameters.seed = 4
    assert (parameters.comment, ui.seed.value) == ("", 0)


def test_a_widget_that_cannot_show_a_parameter_is_an_error(parameters, qt):
    with pytest.raises(RuntimeError, match="QLineEdit"):
        parameters.connectParametersToGui({"seed": qt.QLineEdit()})


def test_a_type_that_cannot_be_kept_is_an_error(desktop):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(Exception, match=r"complex|thing"):
        parameterNodeWrapper(type("Parameters", (), {"__annotations__": {"thing": complex}}))
