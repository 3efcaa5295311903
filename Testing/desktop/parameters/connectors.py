"""Which widgets can show which parameters, and how a value goes there and back.

As in Slicer the class of the widget must be exactly one of those listed: a subclass is not connected.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtCore import SignalInstance
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QSpinBox,
    QTextEdit,
    QWidget,
)

from Testing.desktop.ctk_widgets import ctkDirectoryButton, ctkPathLineEdit, ctkSliderWidget
from Testing.desktop.mrml_widgets import qMRMLNodeComboBox, qMRMLSliderWidget
from Testing.desktop.parameters.annotations import Choice, Decimals, SingleStep, bounds, first, split

INTEGER_LIMITS = (-(2**31), 2**31 - 1)


@dataclass(frozen=True)
class Connector:
    """A widget as the place of a value: how to read and write it, and the signal that says it changed."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    changed: SignalInstance | None = None


def connector_for(widget: QWidget, hint: Any) -> Connector:
    """Return how a widget shows a parameter of an annotated type.

    Raises
    ------
    RuntimeError
        Where the widget cannot show it.
    """
    kind, annotations = split(hint)
    make = next((make for classes, fits, make in CONNECTORS if type(widget) in classes and fits(kind)), None)
    if make is None:
        raise RuntimeError(f"a {type(widget).__name__} cannot show a parameter of type {kind}")
    return make(widget, kind, annotations)


def checked_connector(widget: QWidget, kind: Any, annotations: list) -> Connector:
    """Connect a check box, or a button that stays down."""
    if isinstance(widget, QPushButton):
        widget.checkable = True
    return Connector(lambda: widget.checked, widget.setChecked, widget.toggled)


def number_connector(widget: QWidget, kind: Any, annotations: list) -> Connector:
    """Connect a slider or a spin box, and give it the range and steps that the annotations ask for."""
    least, greatest = bounds(annotations)
    slides = isinstance(widget, (QSlider, ctkSliderWidget))
    if slides and (least is None or greatest is None):
        raise RuntimeError(f"a {type(widget).__name__} needs a parameter with a range")
    whole = isinstance(widget, (QSlider, QSpinBox))
    lowest, highest = INTEGER_LIMITS if whole else (float("-inf"), float("inf"))
    widget.setRange(lowest if least is None else least, highest if greatest is None else greatest)
    decimals, step = first(annotations, Decimals), first(annotations, SingleStep)
    if not whole and kind is int:
        widget.decimals = 0
    elif decimals is not None:
        widget.decimals = decimals.value
    if step is not None:
        widget.singleStep = step.value
    return Connector(lambda: kind(widget.value), lambda value: setattr(widget, "value", value), widget.valueChanged)


def choice_connector(widget: QComboBox, kind: Any, annotations: list) -> Connector:
    """Fill a list with the values of the parameter's `Choice`, and connect it."""
    choice = first(annotations, Choice)
    if choice is None:
        raise RuntimeError("a QComboBox needs a parameter with a Choice")
    return list_connector(widget, list(choice.choices), [str(value) for value in choice.choices])


def enumeration_connector(widget: QComboBox, kind: type[enum.Enum], annotations: list) -> Connector:
    """Fill a list with the members of an enumeration, by their `label()` or name, and connect it."""
    label = getattr(kind, "label", lambda member: member.name)
    return list_connector(widget, list(kind), [label(member) for member in kind])


def list_connector(widget: QComboBox, values: list, texts: list[str]) -> Connector:
    """Connect a list whose rows stand for values."""
    widget.clear()
    widget.addItems(texts)
    return Connector(
        lambda: values[widget.currentIndex],
        lambda value: widget.setCurrentIndex(values.index(value)),
        widget.currentIndexChanged,
    )


def line_connector(widget: QLineEdit, kind: Any, annotations: list) -> Connector:
    """Connect a line of text; setting the same text again would move the cursor."""

    def write(text: str) -> None:
        if text != widget.text:
            widget.setText(text)

    return Connector(lambda: widget.text, write, widget.textChanged)


def label_connector(widget: QLabel, kind: Any, annotations: list) -> Connector:
    """Connect a label, which only shows."""
    return Connector(lambda: widget.text, widget.setText)


def text_connector(widget: QTextEdit, kind: Any, annotations: list) -> Connector:
    """Connect a field of text."""
    return Connector(widget.toPlainText, widget.setPlainText, widget.textChanged)


def path_connector(widget: ctkPathLineEdit, kind: Any, annotations: list) -> Connector:
    """Connect a line for a path."""
    return Connector(
        lambda: Path(widget.currentPath), lambda path: widget.setCurrentPath(str(path)), widget.currentPathChanged
    )


def directory_connector(widget: ctkDirectoryButton, kind: Any, annotations: list) -> Connector:
    """Connect a button for a folder."""
    return Connector(
        lambda: Path(widget.directory), lambda path: widget.setDirectory(str(path)), widget.directoryChanged
    )


def node_connector(widget: qMRMLNodeComboBox, kind: Any, annotations: list) -> Connector:
    """Connect a node selector, and let it list the parameter's classes."""
    widget.nodeTypes = [cls().GetClassName() for cls in node_classes(kind)]  # as Slicer: an abstract class is an error
    return Connector(widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged)


def node_classes(kind: Any) -> list[type]:
    """Return the node classes in a type such as `vtkMRMLModelNode | None`; none where it allows anything else."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    members = [split(member)[0] for member in typing.get_args(kind)] if union else [kind]
    classes = [member for member in members if member is not type(None)]
    all_nodes = all(isinstance(member, type) and issubclass(member, slicer.vtkMRMLNode) for member in classes)
    return classes if all_nodes else []


def is_enumeration(kind: Any) -> bool:
    """Return whether a type is an enumeration."""
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


FLOATING = (QDoubleSpinBox, ctkSliderWidget, qMRMLSliderWidget)

# Classes of widgets, the types of parameters they show, and the function that connects them.
CONNECTORS: tuple[tuple[tuple[type, ...], Callable[[Any], Any], Callable[..., Connector]], ...] = (
    ((QCheckBox, QPushButton), lambda kind: kind is bool, checked_connector),
    ((QSlider, QSpinBox), lambda kind: kind is int, number_connector),
    (FLOATING, lambda kind: kind in (float, int), number_connector),
    ((QComboBox,), lambda kind: kind in (int, float, str, bool), choice_connector),
    ((QComboBox,), is_enumeration, enumeration_connector),
    ((QLineEdit,), lambda kind: kind is str, line_connector),
    ((QLabel,), lambda kind: kind is str, label_connector),
    ((QTextEdit,), lambda kind: kind is str, text_connector),
    ((ctkPathLineEdit,), lambda kind: kind is Path, path_connector),
    ((ctkDirectoryButton,), lambda kind: kind is Path, directory_connector),
    ((qMRMLNodeComboBox,), node_classes, node_connector),
)
