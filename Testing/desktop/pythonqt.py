"""The `qt` module: PySide6's classes, made to behave towards Python as PythonQt makes Qt's behave inside Slicer.

Properties are attributes (`label.text = "x"`, and `label.text()` fails), signals are connected by signature, a misspelt
attribute is an error instead of a new attribute, and the names that PythonQt adds are there.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import QObject

from Testing.desktop import signals

MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)

# Properties that stay methods: a static method of the same name, and a property that Qt 5 does not have.
METHODS = {
    ("QTimer", "singleShot"),
    ("QLayout", "contentsMargins"),
    ("QWidget", "sizeHint"),  # virtual: Qt asks the Python class first, whose property would ask Qt again without end
    ("QWidget", "minimumSizeHint"),
}


def install() -> types.ModuleType:
    """Change PySide6's classes in this process, once, and return the `qt` module, which `import qt` then finds too."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    for cls in qobject_classes():
        properties_as_attributes(cls)
        forbid_new_attributes(cls)
    signal_methods_by_signature()
    names_of_pythonqt()
    QtWidgets.QWidget.toolTip = word_wrapped_tool_tip()
    module = types.ModuleType("qt", __doc__)
    vars(module).update(names_of_qt())
    sys.modules["qt"] = module
    return module


def names_of_qt() -> dict[str, Any]:
    """Return every public name of PySide6's modules; `dir` because their classes are made when first asked for."""
    return {name: getattr(part, name) for part in MODULES for name in dir(part) if not name.startswith("_")}


def qobject_classes() -> list[type[QObject]]:
    """Return every class of Qt that can have properties, base classes first."""
    classes = {value for value in names_of_qt().values() if isinstance(value, type) and issubclass(value, QObject)}
    return sorted(classes, key=lambda cls: len(cls.__mro__))


def properties_as_attributes(cls: type[QObject]) -> None:
    """Replace the getters of a class's own properties by attributes."""
    if issubclass(cls, QtCore.QCoreApplication):  # its getters are static: QApplication.applicationName()
        return
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        declared = meta.property(index)
        if (cls.__name__, declared.name()) not in METHODS:
            setattr(cls, declared.name(), attribute(declared.name(), declared.isWritable()))


def attribute(name: str, writable: bool) -> property:
    """Return a Python property that reads and writes the Qt property of that name."""

    def read(self: QObject) -> Any:
        return self.property(name)

    def write(self: QObject, value: Any) -> None:
        if not self.setProperty(name, value):
            raise ValueError(f"Property '{name}' of {type(self).__name__} cannot be set to {value!r}")

    return property(read, write if writable else None)


def word_wrapped_tool_tip() -> property:
    """Return the tooltip's property, which is rich text in Slicer: plain text is made so for its lines to be wrapped.

    As in CTK's `ctkToolTipTrapper`, what looks like rich text is taken for such.
    """

    def read(self: QtWidgets.QWidget) -> str:
        text = self.property("toolTip")
        if not text or QtGui.Qt.mightBeRichText(text):
            return text
        return QtGui.Qt.convertFromPlainText(text, QtGui.Qt.WhiteSpaceMode.WhiteSpaceNormal)

    def write(self: QtWidgets.QWidget, text: str) -> None:
        self.setProperty("toolTip", text)

    return property(read, write)


def forbid_new_attributes(cls: type[QObject]) -> None:
    """Make an assignment to a name that the class lacks an error, for objects that are not of a Python class."""
    if "__setattr__" not in vars(cls):
        return

    def checked(self: QObject, name: str, value: Any) -> None:
        found = vars_of(type(self), name)
        if isinstance(found, QtCore.Property):
            found.fset(self, value)
        elif hasattr(found, "__set__"):
            found.__set__(self, value)
        elif not stands_for_cxx(type(self)) or name.startswith("_") or isinstance(value, QtCore.SignalInstance):
            vars(self)[name] = value  # PySide6 keeps a signal with the object that was asked for it
        elif isinstance(value, QObject) and value.objectName == name:
            return  # PySide6's loader of .ui files gives every form its widgets as attributes; PythonQt does not
        else:
            raise AttributeError(
                f"Attribute '{name}' does not exist in {type(self).__name__}, and creating new attributes "
                "on C++ objects is not allowed"
            )

    cls.__setattr__ = checked


def stands_for_cxx(cls: type) -> bool:
    """Return whether objects of a class are C++ objects inside Slicer: Qt's own, and the stand-ins for widgets."""
    return cls.__module__.startswith("PySide6") or "standInFor" in vars(cls)


def vars_of(cls: type, name: str) -> Any:
    """Return what the class or its bases hold under a name, without asking it for its value."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def signal_methods_by_signature() -> None:
    """Put PythonQt's `connect` and `disconnect` before PySide6's, which its own attribute lookup would find first."""
    for cls in qobject_classes():
        if "__getattribute__" in vars(cls):  # QObject, and the few classes that look up names in a way of their own
            prefer_own_connect(cls)


def prefer_own_connect(cls: type[QObject]) -> None:
    """Put PythonQt's `connect` and `disconnect` before those that a class's attribute lookup finds."""
    look_up = cls.__getattribute__
    own = {"connect": signals.connect, "disconnect": signals.disconnect}

    def get(self: QObject, name: str) -> Any:
        found = look_up(self, name)
        return by_signature(self, own[name], found) if name in own else found

    cls.__getattribute__ = get


def by_signature(emitter: QObject, own: Callable[..., bool], pysides: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that leaves calls without a signature to PySide6, whose QTimer.singleShot makes such calls."""

    def method(signal: Any, *arguments: Any) -> Any:
        return own(emitter, signal, *arguments) if isinstance(signal, str) else pysides(signal, *arguments)

    return method


def names_of_pythonqt() -> None:
    """Add what PythonQt calls differently."""
    QObject.name = attribute("objectName", writable=True)
    QObject.className = lambda self: self.metaObject().className()
    QObject.delete = lambda self: self.deleteLater()
    for cls in (QtWidgets.QDialog, QtWidgets.QMenu, QtCore.QEventLoop):
        cls.exec_ = lambda self, *arguments: self.exec(*arguments)
    QtCore.QFile.ReadOnly = QtCore.QIODevice.OpenModeFlag.ReadOnly
