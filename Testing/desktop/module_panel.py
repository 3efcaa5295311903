"""Slicer's module panel: the scroll area, a third of the window wide, in which a module's widget is shown.

As qSlicerModulePanel does it: no horizontal scroll bar, so that what is wider than the panel is cut off; contents that
get their least height, so that a wrapped label is cut off after one line unless it asks for more.
"""

from __future__ import annotations

import re

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QLabel,
    QLayout,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QVBoxLayout,
    QWidget,
)

from Testing.desktop.ctk_widgets import ctkCollapsibleButton

HELP = "Help & Acknowledgement"
RICH = re.compile(r"<\w+[^>]*>")
ICON_MARGIN = 4  # between a button's icon and its text
PLACEHOLDER_MARGIN = 8  # of a line edit's text on either side, and its frame


class ModulePanel(QScrollArea):
    """The panel around a module's widget.

    Parameters
    ----------
    module
        The module's widget.
    """

    def __init__(self, module: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        contents = QWidget()
        layout = LeastHeightLayout(contents)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(help_section())
        layout.addWidget(module, 1)
        layout.addStretch()
        self.setWidget(contents)
        module.layout().setContentsMargins(0, 0, 0, 0)
        module.setSizePolicy(QSizePolicy.Policy.Minimum, module.sizePolicy.verticalPolicy())
        module.show()
        self._module = module

    def let_go(self) -> None:
        """Give the module's widget back, as when another module is opened."""
        self._module.hide()
        self._module.setParent(None)


class LeastHeightLayout(QVBoxLayout):
    """A column that gets its least height, and does not ask what height its contents need at its width."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setSizeConstraint(QLayout.SizeConstraint.SetMinAndMaxSize)

    def hasHeightForWidth(self) -> bool:
        """Return False."""
        return False


def help_section() -> QWidget:
    """Return what Slicer shows above each module."""
    section = ctkCollapsibleButton()
    section.text = HELP
    QVBoxLayout(section).addWidget(QLabel("Help"))
    section.collapsed = True
    section.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return section


def cut_off(panel: ModulePanel) -> list[str]:
    """Return what a person cannot read: texts without the height that they need, and what is wider than the panel."""
    found = []
    width = panel.viewport().width
    for widget in panel.findChildren(QWidget):
        name = widget.objectName
        if not name or name.startswith("qt_") or not widget.isVisible():
            continue
        if widget.mapTo(panel.viewport(), QPoint(widget.width, 0)).x() > width:
            found.append(
                f"{name} ends {widget.mapTo(panel.viewport(), QPoint(widget.width, 0)).x() - width} px outside"
            )
        if isinstance(widget, QLineEdit) and not fits(widget):
            found.append(f"{name} shows less than {widget.placeholderText!r}")
        found += [f"{name} shows less than {text!r}" for text in too_long(widget)]
        if isinstance(widget, QLabel) and widget.wordWrap and widget.height < widget.heightForWidth(widget.width):
            found.append(f"{name} is {widget.height} px high and needs {widget.heightForWidth(widget.width)}")
    return found


def fits(edit: QLineEdit) -> bool:
    """Return whether a field without text shows its whole placeholder."""
    needed = edit.fontMetrics().horizontalAdvance(edit.placeholderText) + PLACEHOLDER_MARGIN
    return bool(edit.text) or needed <= edit.width


def too_long(widget: QWidget) -> list[str]:
    """Return which texts of a widget are wider than it: of a list those of all its rows, but not names of nodes."""
    if isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        style, part = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = widget.style().subControlRect(style, option, part, widget).width()
        texts = [] if is_node_list(widget) else [widget.itemText(row) for row in range(widget.count)]
    elif isinstance(widget, (QPushButton, QCheckBox, QRadioButton)):
        button = QStyleOptionButton()
        widget.initStyleOption(button)
        parts = QStyle.SubElement
        part = {QCheckBox: parts.SE_CheckBoxContents, QRadioButton: parts.SE_RadioButtonContents}
        kind = next((each for each in part if isinstance(widget, each)), None)
        place = part[kind] if kind is not None else parts.SE_PushButtonContents
        room = widget.style().subElementRect(place, button, widget).width()
        room -= 0 if widget.icon.isNull() else widget.iconSize.width() + ICON_MARGIN
        texts = [widget.text]
    elif isinstance(widget, QLabel) and not widget.wordWrap and not RICH.search(widget.text):
        room, texts = widget.contentsRect().width(), [widget.text]
    else:
        return []
    return [text for text in texts if widget.fontMetrics().horizontalAdvance(text.replace("&", "")) > room]


def is_node_list(widget: QComboBox) -> bool:
    """Return whether a list is of nodes, whose names are as long as the user likes."""
    return "Node" in type(widget).__name__ or "Node" in type(widget.parent()).__name__
