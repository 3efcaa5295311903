"""A small scripted module, written as modules for the application are, to test the harness with."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, Minimum, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *  # noqa: F403
from slicer.util import VTKObservationMixin


class SampleModule(ScriptedLoadableModule):  # noqa: F405
    def __init__(self, parent):
        super().__init__(parent)
        self.parent.title = _("Sample")
        self.parent.categories = ["Testing"]
        self.parent.helpText = _("Thresholds a volume.")


class Side(enum.Enum):
    ABOVE = "above"
    BELOW = "below"

    def label(self):
        return self.value.capitalize()


@parameterNodeWrapper
class SampleModuleParameterNode:
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    outputVolume: slicer.vtkMRMLLabelMapVolumeNode
    template: slicer.vtkMRMLModelNode | None
    threshold: Annotated[float, WithinRange(0, 100), Default(25.0)]
    repeats: Annotated[int, Minimum(1), Default(1)]
    side: Side
    colour: Annotated[str, Choice(["red", "green"])] = "red"
    comment: str
    smooth: bool
    folder: Path
    names: list[str]


class SampleModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):  # noqa: F405
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)  # noqa: F405
        VTKObservationMixin.__init__(self)
        self.calls = []
        self.guiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)  # noqa: F405
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SampleModule.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SampleModuleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.connectParameterNode()

    def connectParameterNode(self):
        self.parameters = self.logic.getParameterNode()
        self.guiTag = self.parameters.connectGui(self.ui)
        self.addObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.updateButton)
        self.updateButton()

    def disconnectParameterNode(self):
        self.parameters.disconnectGui(self.guiTag)
        self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.updateButton)

    def enter(self):
        self.calls.append("enter")

    def exit(self):
        self.calls.append("exit")

    def cleanup(self):
        self.calls.append("cleanup")
        self.disconnectParameterNode()
        self.removeObservers()

    def onSceneEndClose(self, caller, event):
        self.disconnectParameterNode()
        self.connectParameterNode()

    def updateButton(self, caller=None, event=None):
        ready = self.parameters.inputVolume is not None and self.parameters.outputVolume is not None
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Compute") if ready else _("Choose both volumes")

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("Failed to compute."), waitCursor=True):
            count = self.logic.process(self.parameters)
            self.ui.resultLabel.text = _("{count} voxels").format(count=count)


class SampleModuleLogic(ScriptedLoadableModuleLogic):  # noqa: F405
    def getParameterNode(self):
        return SampleModuleParameterNode(super().getParameterNode())

    def process(self, parameters):
        values = slicer.util.arrayFromVolume(parameters.inputVolume)
        above = values > parameters.threshold
        mask = above if parameters.side is Side.ABOVE else ~above
        slicer.util.updateVolumeFromArray(parameters.outputVolume, mask.astype("uint8"))
        return int(mask.sum())


class SampleModuleTest(ScriptedLoadableModuleTest):  # noqa: F405
    ran = []  # noqa: RUF012

    def runTest(self):
        self.setUp()
        self.test_nothing()

    def test_nothing(self):
        self.delayDisplay("Testing")
        self.ran.append("test_nothing")
