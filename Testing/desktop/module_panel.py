"""Slicer's module panel: the scroll area, a third of the window wide, in which a module's widget is shown.

As qSlicerModulePanel does it: no horizontal scroll bar, so that what is wider than the panel is cut off; contents that
get their least height, so that a wrapped label is cut off after one line unless it asks for more.
"""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QFrame, QLabel, QLayout, QLineEdit, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from Testing.desktop.ctk_widgets import ctkCollapsibleButton

HELP = "Help & Acknowledgement"
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
        if isinstance(widget, QLabel) and widget.wordWrap and widget.height < widget.heightForWidth(widget.width):
            found.append(f"{name} is {widget.height} px high and needs {widget.heightForWidth(widget.width)}")
    return found


def fits(edit: QLineEdit) -> bool:
    """Return whether a field without text shows its whole placeholder."""
    needed = edit.fontMetrics().horizontalAdvance(edit.placeholderText) + PLACEHOLDER_MARGIN
    return bool(edit.text) or needed <= edit.width
