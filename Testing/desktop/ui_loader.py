"""Qt Designer's .ui files, with the stand-ins in place of CTK's and Slicer's widgets.

PySide6's own loader builds the widgets. What it cannot know is done here: the properties of stand-ins, and connections
that hand the scene on. A property or a widget class that has no stand-in is an error, as it would be lost silently.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtCore import QBuffer, QByteArray, QFile, QIODevice, QObject
from PySide6.QtUiTools import QUiLoader
from PySide6.QtWidgets import QWidget

from Testing.desktop import signals
from Testing.desktop.stand_ins import is_stand_in


@dataclass(frozen=True)
class Assignment:
    """A property of a stand-in, set after the widgets are there."""

    widget: str
    name: str
    value: Any


@dataclass(frozen=True)
class Connection:
    """A signal of one object that calls a slot of another."""

    sender: str
    signal: str
    receiver: str
    slot: str


class UiLoader(QUiLoader):
    """The `qt.QUiLoader` of the harness."""

    def load(self, file: QFile | str, parent: QWidget | None = None) -> QWidget:
        """Return the widget that a .ui file describes."""
        root = ET.parse(Path(file if isinstance(file, str) else file.fileName())).getroot()
        classes = stand_in_classes(root)
        for cls in classes.values():
            self.registerCustomWidget(cls)
        assignments = list(taken_properties(root, classes))
        connections = list(taken_connections(root))
        widget = self._build(root, parent)
        for assignment in assignments:
            setattr(named(widget, assignment.widget), assignment.name, assignment.value)
        for connection in connections:
            signals.connect(
                named(widget, connection.sender),
                connection.signal,
                named(widget, connection.receiver),
                connection.slot,
            )
        return widget

    def _build(self, root: ET.Element, parent: QWidget | None) -> QWidget:
        content = QByteArray(ET.tostring(root))  # the buffer points into it
        buffer = QBuffer(content)
        buffer.open(QIODevice.OpenModeFlag.ReadOnly)
        return super().load(buffer, parent)


def stand_in_classes(root: ET.Element) -> dict[str, type[QWidget]]:
    """Return the classes in a file that are CTK's or Slicer's."""
    import ctk  # made by this package, later than this file is read

    names = {element.get("class") for element in root.iter("widget")}
    found = {name: getattr(ctk, name) for name in names if name.startswith("ctk")}
    found |= {name: getattr(slicer, name) for name in names if name.startswith(("qMRML", "qSlicer"))}
    for cls in found.values():
        if not issubclass(cls, QWidget):
            cls()  # raises, saying which class is missing
    return found


def taken_properties(root: ET.Element, classes: dict[str, type[QWidget]]) -> Iterator[Assignment]:
    """Remove the properties of stand-ins from the file, and yield them."""
    for element in root.iter("widget"):
        cls = classes.get(element.get("class"))
        for child in element.findall("property") if cls is not None else ():
            name = child.get("name")
            dynamic = child.get("stdset") == "0"
            if is_stand_in(type_with(cls, name)):
                element.remove(child)
                yield Assignment(element.get("name"), name, value_of(child[0], cls))
            elif cls.staticMetaObject.indexOfProperty(name) < 0 and not dynamic:
                raise AttributeError(f"{element.get('name')}: the stand-in for {cls.__name__} has no property {name}")


def type_with(cls: type, name: str) -> type:
    """Return the class that defines an attribute."""
    return next((base for base in cls.__mro__ if name in vars(base)), object)


def value_of(element: ET.Element, cls: type) -> Any:
    """Return the value of a property as Designer writes it, such as <bool>true</bool>."""
    text = element.text or ""
    if element.tag == "stringlist":
        return [child.text or "" for child in element.iter("string")]
    if element.tag in ("set", "enum"):
        flags = [getattr(cls, flag.split("::")[-1]) for flag in text.split("|")]
        return sum(set(flags))
    readers: dict[str, Callable[[str], Any]] = {
        "bool": lambda written: written == "true",
        "number": int,
        "double": float,
        "string": str,
    }
    return readers[element.tag](text)


def taken_connections(root: ET.Element) -> Iterator[Connection]:
    """Remove the connections from the file, and yield them."""
    for parent in root.findall("connections"):
        for element in parent.findall("connection"):
            yield Connection(*(element.findtext(tag, "") for tag in ("sender", "signal", "receiver", "slot")))
        root.remove(parent)


def named(widget: QWidget, name: str) -> QObject:
    """Return the object of that name in a widget."""
    found = widget if widget.objectName == name else widget.findChild(QObject, name)
    if found is None:
        raise LookupError(f"the .ui file names an object {name}, and there is none")
    return found
