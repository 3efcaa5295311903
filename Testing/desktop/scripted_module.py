"""Stand-in for `slicer.ScriptedLoadableModule`: the base classes of a scripted module.

Written from the documented behaviour. The section "Reload & Test" of the developer mode is left out.
"""

from __future__ import annotations

import importlib
import logging
import unittest
from pathlib import Path
from typing import Any

import slicer
import slicer.util
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QVBoxLayout, QWidget

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]

NODE_CLASS = "vtkMRMLScriptedModuleNode"


class ScriptedLoadableModule:
    """What a module says about itself."""

    def __init__(self, parent: Any) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        icon = next((path for path in self._icons() if path.is_file()), None)
        if icon is not None:
            parent.icon = QIcon(str(icon))
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def _icons(self) -> list[Path]:
        return [Path(self.resourcePath(f"Icons/{self.moduleName}{ending}")) for ending in (".svg", ".png")]

    def resourcePath(self, filename: str) -> str:
        """Return the path of a file in the module's folder of resources."""
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        """Return a sentence for the help text that links to the documentation."""
        return f'<p>For more information, see the <a href="{docPage or self.moduleName}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100) -> None:
        """Run the module's test class."""
        test = getattr(importlib.import_module(type(self).__module__), self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest()


class ScriptedLoadableModuleWidget:
    """The panel of a module; without a parent it makes one for itself and shows it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = own_parent() if parent is None else parent
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        """Return the path of a file in the module's folder of resources."""
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Fill the panel; modules extend this."""

    def cleanup(self) -> None:
        """Prepare for the module's end; modules override this."""

    def onReload(self) -> None:
        """Load the module's file anew and make its panel again, as a developer's button does."""
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


def own_parent() -> QWidget:
    """Return a window for a panel that has no place in another."""
    parent = slicer.qMRMLWidget()
    parent.setLayout(QVBoxLayout())
    parent.setMRMLScene(slicer.mrmlScene)
    return parent


class ScriptedLoadableModuleLogic:
    """What a module can do, without its panel."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """Return the module's parameter node, made where there is none."""
        if not self.isSingletonParameterNode:
            known = self.getAllParameterNodes()
            return known[0] if known else slicer.mrmlScene.AddNode(self.createParameterNode())
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, NODE_CLASS)
        if node is None:
            return slicer.mrmlScene.AddNode(self.createParameterNode())
        node.SetAttribute("ModuleName", self.moduleName)  # closing the scene takes it away
        return node

    def getAllParameterNodes(self) -> list[slicer.vtkMRMLScriptedModuleNode]:
        """Return every parameter node of the module."""
        nodes = slicer.util.getNodesByClass(NODE_CLASS)
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """Return a new parameter node, not yet in the scene."""
        node = slicer.mrmlScene.CreateNodeByClass(NODE_CLASS)
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's test of itself; `runTest` runs every method whose name has "test" in it."""

    messageDelay = 0

    def __init__(self, methodName: str = "runTest") -> None:
        super().__init__(methodName)
        self.moduleTestNames = [name for name in dir(type(self)) if name.startswith("test")]

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Show a message for a while, and let events be handled."""
        slicer.util.delayDisplay(message, self.messageDelay)

    def runTest(self) -> None:
        """Run the tests one after another."""
        for name in self.moduleTestNames:
            logging.info("Running %s", name)
            self.setUp()
            getattr(self, name)()
            self.tearDown()
