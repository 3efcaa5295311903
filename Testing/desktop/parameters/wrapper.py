"""`@parameterNodeWrapper`: a class with annotations becomes a view of a parameter node, with typed attributes."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import slicer.util
import vtk
from PySide6.QtWidgets import QWidget

from Testing.desktop.parameters.annotations import Default, first, split
from Testing.desktop.parameters.connectors import Connector, connector_for
from Testing.desktop.parameters.storage import Node, Storage, storage_for

SlicerParameterNamePropertyName = "SlicerParameterName"


@dataclass(frozen=True)
class Parameter:
    """One annotated attribute: its type, how it is kept, and the value it starts with."""

    name: str
    hint: Any
    storage: Storage
    default: Default

    def read(self, node: Node) -> Any:
        """Return the value; where there is none, as after closing the scene, the default is written first."""
        if not self.storage.has(node, self.name):
            self.storage.write(node, self.name, self.default.value)
        return self.storage.read(node, self.name)


@dataclass(frozen=True)
class Binding:
    """Parameters shown by widgets: what `disconnectGui` undoes."""

    connectors: Mapping[str, Connector]
    edited: Mapping[str, Callable[..., None]]
    observer: int


class WrapperMethods:
    """What every wrapper has beside its parameters."""

    allParameters: typing.ClassVar[Mapping[str, Parameter]]

    def __init__(self, parameterNode: Node) -> None:
        self.parameterNode = parameterNode
        self._bindings: dict[int, Binding] = {}
        self._showing = False
        for name in self.allParameters:
            self.getValue(name)

    def getValue(self, name: str) -> Any:
        """Return a parameter's value."""
        return self._parameter(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        """Set a parameter's value."""
        self._parameter(name).storage.write(self.parameterNode, name, value)

    def default(self, name: str) -> Default:
        """Return the default of a parameter."""
        return self._parameter(name).default

    def dataType(self, name: str) -> Any:
        """Return a parameter's annotated type."""
        return self._parameter(name).hint

    def _parameter(self, name: str) -> Parameter:
        if name not in self.allParameters:
            raise ValueError(f"there is no parameter {name}; there are {', '.join(self.allParameters)}")
        return self.allParameters[name]

    # --- the node

    def AddObserver(self, event: int | str, callback: Callable, priority: float = 0.0) -> int:
        """Observe the node; return the observer's tag."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """End an observation."""
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:
        """Hold back the node's events."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModifying: int) -> int:
        """Send the events held back."""
        return self.parameterNode.EndModify(wasModifying)

    def Modified(self) -> None:
        """Say that the node changed."""
        self.parameterNode.Modified()

    # --- widgets

    def connectGui(self, gui: QWidget | object) -> int:
        """Connect the widgets that name a parameter in their property SlicerParameterName; return a tag.

        Takes a widget, whose children are searched, or the object that `slicer.util.childWidgetVariables` returns.
        """
        widgets = gui.findChildren(QWidget) if isinstance(gui, QWidget) else vars(gui).values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: Mapping[str, QWidget]) -> int:
        """Show parameters in widgets, and take over what is edited there; return a tag."""
        connectors = {name: connector_for(widget, self.dataType(name)) for name, widget in mapping.items()}
        edited = {name: self._edit(name, connector) for name, connector in connectors.items()}
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            if connector.changed is not None:
                connector.changed.connect(edited[name])
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._show())
        tag = max(self._bindings, default=-1) + 1
        self._bindings[tag] = Binding(connectors, edited, observer)
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo a connection."""
        binding = self._bindings.pop(tag, None)
        if binding is None:
            return
        self.RemoveObserver(binding.observer)
        for name, connector in binding.connectors.items():
            if connector.changed is not None:
                connector.changed.disconnect(binding.edited[name])

    def _edit(self, name: str, connector: Connector) -> Callable[..., None]:
        def edited(*arguments: Any) -> None:
            if not self._showing:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return edited

    def _show(self) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            for binding in self._bindings.values():
                for name, connector in binding.connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._showing = False


def parameterNodeWrapper(cls: type | None = None) -> Any:
    """Make a wrapper class from a class with annotations; with and without brackets."""
    return wrapper_class if cls is None else wrapper_class(cls)


def isParameterNodeWrapper(cls_or_object: Any) -> bool:
    """Return whether something is a wrapper, or a class of wrappers."""
    cls = cls_or_object if isinstance(cls_or_object, type) else type(cls_or_object)
    return issubclass(cls, WrapperMethods)


def wrapper_class(cls: type) -> type:
    """Return the wrapper class for a class with annotations."""
    parameters = {name: parameter(cls, name, hint) for name, hint in annotated(cls).items()}
    taken = sorted(set(parameters) & {*vars(WrapperMethods), "parameterNode"})
    if taken:
        raise ValueError(f"a parameter cannot be called {taken[0]}: every wrapper has an attribute of that name")
    own = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__", "__init__")}
    properties = {name: parameter_property(name) for name in parameters}
    bases = (WrapperMethods, *(base for base in cls.__bases__ if base is not object))
    return type(cls.__name__, bases, {**own, **properties, "allParameters": parameters})


def annotated(cls: type) -> dict[str, Any]:
    """Return the annotations of a class, with `Annotated` kept."""
    return typing.get_type_hints(cls, include_extras=True)


def parameter(cls: type, name: str, hint: Any) -> Parameter:
    """Return the parameter that an annotation describes; `name: type = value` gives a default, too."""
    storage = storage_for(hint)
    default = Default(getattr(cls, name)) if hasattr(cls, name) else first(split(hint)[1], Default)
    return Parameter(name, hint, storage, default or Default(generator=storage.default))


def parameter_property(name: str) -> property:
    """Return the attribute of a parameter."""
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))
