"""Loading a scripted module as Slicer's C++ loader does: names, objects, and the order of the calls."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QVBoxLayout

from Testing.desktop.mrml_widgets import qMRMLWidget
from Testing.desktop.stand_ins import stand_in


@stand_in
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The area of the panel that a module fills: the `parent` of its widget class."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._self: Any = None
        QVBoxLayout(self)

    def reload(self) -> None:
        """Make the module's widget anew, as after loading and after "Reload"."""
        name = self._path.stem + "Widget"
        self.objectName = name
        self._self = getattr(sys.modules[self._path.stem], name)(self)
        setattr(slicer.modules, name, self._self)
        self._self.setup()

    def self(self) -> Any:
        """Return the module's own widget object."""
        return self._self

    def enter(self) -> None:
        """Tell the module that its panel comes into view."""
        if hasattr(self._self, "enter"):
            self._self.enter()

    def exit(self) -> None:
        """Tell the module that its panel goes out of view."""
        if hasattr(self._self, "exit"):
            self._self.exit()


class qSlicerScriptedLoadableModule:
    """What Slicer knows of a module: the `parent` of its module class, and `slicer.modules.<name>`."""

    __slots__ = (  # an attribute that C++ lacks is an error, as in the application
        "_widget",
        "acknowledgementText",
        "associatedNodeTypes",
        "categories",
        "contributors",
        "dependencies",
        "extensions",
        "helpText",
        "hidden",
        "icon",
        "index",
        "name",
        "path",
        "title",
        "widgetRepresentationCreationEnabled",
    )

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.name = self.title = path.stem
        self.helpText = self.acknowledgementText = ""
        self.associatedNodeTypes = self.categories = self.contributors = self.dependencies = ()
        self.extensions: dict = {}
        self.hidden = False
        self.icon = QIcon()
        self.index = -1
        self.widgetRepresentationCreationEnabled = True
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """Return the module's panel, made when it is first asked for; it gets the scene after its setup."""
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(Path(self.path))
            self._widget.reload()
            self._widget.setMRMLScene(slicer.mrmlScene)
        return self._widget


class LoadedModule:
    """A module in the harness.

    Attributes
    ----------
    python : ModuleType
        The Python module, with the logic and test classes.
    module : qSlicerScriptedLoadableModule
        What stands at `slicer.modules.<name>`.
    """

    def __init__(self, python: ModuleType, module: qSlicerScriptedLoadableModule) -> None:
        self.python = python
        self.module = module

    @property
    def panel(self) -> qSlicerScriptedLoadableModuleWidget:
        """The area that the module fills; the first look at it makes the module's widget and runs its `setup()`."""
        return self.module.widgetRepresentation()

    @property
    def widget(self) -> Any:
        """The module's own widget object, the one with `ui` and `logic`."""
        return self.panel.self()

    def unload(self) -> None:
        """Take the module out again: `cleanup()`, its panel, its names."""
        name = self.module.name
        if self.module._widget is not None:
            slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(name)
            self.module._widget.close()
            self.module._widget.deleteLater()
        for attribute in (name.lower(), name + "Instance", name + "Widget"):
            with contextlib.suppress(AttributeError):
                delattr(slicer.modules, attribute)
        sys.modules.pop(name, None)


def load_module(path: Path) -> LoadedModule:
    """Load a module's file; its panel is made when it is first looked at."""
    path = path.resolve()
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    python = run_file(path)
    module = qSlicerScriptedLoadableModule(path)
    instance = getattr(python, path.stem)(module)
    setattr(slicer.modules, path.stem.lower(), module)
    setattr(slicer.modules, path.stem + "Instance", instance)
    if hasattr(instance, "setup"):
        instance.setup()
    slicer.app.moduleManager().moduleLoaded.emit(path.stem)
    return LoadedModule(python, module)


def run_file(path: Path) -> ModuleType:
    """Import a file under its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    python = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = python
    spec.loader.exec_module(python)
    return python
