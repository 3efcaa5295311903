"""The `ctk` module: stand-ins for the few CTK widgets that the panel uses, with CTK's properties and signals."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from PySide6.QtCore import Property, QChildEvent, QEvent, QObject, QPoint, QRect, QSettings, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPalette, QPolygon
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QSlider,
    QToolButton,
    QWidget,
)

from Testing.desktop.stand_ins import missing_classes_on_demand, stand_in


@stand_in
class ctkCollapsibleButton(QWidget):
    """A wide button with an arrow; what is laid out inside shows below it unless it is collapsed."""

    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)

    def __init__(self, text: str | QWidget | None = None, parent: QWidget | None = None) -> None:
        super().__init__(text if isinstance(text, QWidget) else parent)
        self._text = text if isinstance(text, str) else ""
        self._collapsed = False
        self._hidden_here: list[QWidget] = []
        self._hiding = False
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self._fit()

    def _header(self) -> int:
        return self.fontMetrics().height() + 10

    def _fit(self) -> None:
        self.setContentsMargins(0, self._header(), 0, 0)
        self.setMaximumHeight(self._header() if self._collapsed else 16777215)  # QWIDGETSIZE_MAX: no limit
        self.updateGeometry()
        self.update()

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    def _set_collapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        if collapsed:
            self._hide_contents()
        else:
            self._show_contents()
        self._fit()
        self.contentsCollapsed.emit(collapsed)
        self.toggled.emit(not collapsed)

    def _hide_contents(self) -> None:
        for child in self.children():
            if isinstance(child, QWidget) and not child.isHidden():
                self._hide_here(child)

    def _hide_here(self, child: QWidget) -> None:
        self._hidden_here.append(child)
        self._hiding = True
        child.hide()
        # As CTK does: Qt would take no notice of a second, explicit hide().
        child.setAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)
        self._hiding = False

    def _show_contents(self) -> None:
        contents, self._hidden_here = self._hidden_here, []
        for child in contents:
            child.show()

    text = Property(str, lambda self: self._text, _set_text)
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)

    def childEvent(self, event: QChildEvent) -> None:
        """Watch new contents: what is shown or hidden inside a collapsed button is so once it is opened."""
        if event.added() and isinstance(event.child(), QWidget):
            event.child().installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep for later what is shown while collapsed, and forget what is hidden."""
        if self._collapsed and not self._hiding:
            if event.type() == QEvent.Type.ShowToParent and watched not in self._hidden_here:
                self._hide_here(watched)
            elif event.type() == QEvent.Type.HideToParent and watched in self._hidden_here:
                self._hidden_here.remove(watched)
        return False

    def sizeHint(self) -> QSize:
        """Return the contents' size below the header, or the header's alone."""
        return self._with_header(self.layout().totalSizeHint() if self.layout() is not None else QSize())

    def minimumSizeHint(self) -> QSize:
        """Return the contents' least size below the header, or the header's alone."""
        return self._with_header(self.layout().totalMinimumSize() if self.layout() is not None else QSize())

    def _with_header(self, contents: QSize) -> QSize:
        text = self.fontMetrics().horizontalAdvance(self._text) + 40
        height = self._header() if self._collapsed else max(contents.height(), self._header())
        return QSize(max(contents.width(), text), height)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Open or close on a click on the header."""
        if event.button() == Qt.MouseButton.LeftButton and event.position().y() < self._header():
            self.collapsed = not self._collapsed

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw header, arrow and text."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        header = QRect(0, 0, self.width, self._header() - 2)
        painter.setPen(self.palette.color(QPalette.ColorRole.Mid))
        painter.setBrush(self.palette.color(QPalette.ColorRole.Button).darker(104))
        painter.drawRoundedRect(header.adjusted(0, 0, -1, -1), 3, 3)
        ink = self.palette.color(QPalette.ColorRole.ButtonText)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        painter.drawPolygon(arrow(QPoint(12, header.center().y()), down=not self._collapsed))
        painter.setPen(ink)
        painter.drawText(header.adjusted(24, 0, -8, 0), Qt.AlignmentFlag.AlignVCenter, self._text)
        painter.end()


def arrow(centre: QPoint, *, down: bool) -> QPolygon:
    """Return a small triangle that points down or to the right."""
    corners = [(-4, -2), (4, -2), (0, 3)] if down else [(-2, -4), (-2, 4), (3, 0)]
    return QPolygon([centre + QPoint(x, y) for x, y in corners])


def spin_box_property(kind: type, name: str) -> Property:
    """Return a property of ctkSliderWidget that its spin box holds."""

    def write(self: ctkSliderWidget, value: float) -> None:
        self._box.setProperty(name, value)
        self._move_slider()

    return Property(kind, lambda self: self._box.property(name), write)


@stand_in
class ctkSliderWidget(QWidget):
    """A slider and a spin box that show one number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    cxxSignals = {"valueChanged(double)": "valueChanged", "valueIsChanging(double)": "valueIsChanging"}  # noqa: RUF012

    STEPS = 1000

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, self.STEPS)
        self._box = QDoubleSpinBox()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self._value_changed)
        self._slider.valueChanged.connect(self._slider_moved)

    minimum = spin_box_property(float, "minimum")
    maximum = spin_box_property(float, "maximum")
    value = spin_box_property(float, "value")
    singleStep = spin_box_property(float, "singleStep")
    decimals = spin_box_property(int, "decimals")
    prefix = spin_box_property(str, "prefix")
    suffix = spin_box_property(str, "suffix")

    def setValue(self, value: float) -> None:
        """Set the number, within the range."""
        self.value = value

    def setMinimum(self, value: float) -> None:
        """Set the range's start."""
        self.minimum = value

    def setMaximum(self, value: float) -> None:
        """Set the range's end."""
        self.maximum = value

    def setRange(self, minimum: float, maximum: float) -> None:
        """Set the range."""
        self._box.setRange(minimum, maximum)
        self._move_slider()

    def _slider_moved(self, position: int) -> None:
        self._box.setValue(self.minimum + (self.maximum - self.minimum) * position / self.STEPS)

    def _value_changed(self, value: float) -> None:
        self._move_slider()
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def _move_slider(self) -> None:
        extent = self.maximum - self.minimum
        self._slider.blockSignals(True)
        self._slider.setValue(round(self.STEPS * (self.value - self.minimum) / extent) if extent else 0)
        self._slider.blockSignals(False)


@stand_in
class ctkPathLineEdit(QWidget):
    """A line for a file's or folder's path, with a history and a button to browse."""

    currentPathChanged = Signal(str)

    Dirs, Files, Drives, Executable, Writable, Hidden = 0x1, 0x2, 0x4, 0x40, 0x20, 0x100

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._filters = self.Files
        self._name_filters: list[str] = []
        self._label = ""
        self._key = ""
        self._emitted = ""
        self._line = QComboBox()
        self._line.setEditable(True)
        self._line.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._button = QToolButton()
        self._button.setText("...")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addWidget(self._button)
        self._line.editTextChanged.connect(self._edited)
        self._button.clicked.connect(self.browse)

    def _edited(self, path: str) -> None:
        if path != self._emitted:
            self._emitted = path
            self.currentPathChanged.emit(path)

    def setCurrentPath(self, path: str) -> None:
        """Show another path."""
        self._line.setEditText(path)

    def _set_filters(self, filters: int) -> None:
        self._filters = filters

    def _set_name_filters(self, filters: list[str]) -> None:
        self._name_filters = list(filters)

    def _set_label(self, label: str) -> None:
        self._label = label

    def _set_key(self, key: str) -> None:
        self._key = key
        kept = QSettings().value(key) or []
        self._line.clear()
        self._line.addItems([kept] if isinstance(kept, str) else kept)  # an INI file gives a list of one as a string
        self._line.setCurrentIndex(0 if kept else -1)

    currentPath = Property(str, lambda self: self._line.currentText, setCurrentPath)
    filters = Property(int, lambda self: self._filters, _set_filters)
    nameFilters = Property("QStringList", lambda self: self._name_filters, _set_name_filters)
    label = Property(str, lambda self: self._label, _set_label)
    settingKey = Property(str, lambda self: self._key, _set_key)

    def addCurrentPathToHistory(self) -> None:
        """Keep the path for the next time, under the setting's key."""
        paths = [self.currentPath, *(self._line.itemText(index) for index in range(self._line.count))]
        unique = [path for path in dict.fromkeys(paths) if path]
        self._line.clear()
        self._line.addItems(unique)
        if self._key:
            QSettings().setValue(self._key, unique)

    def browse(self) -> None:
        """Ask for a file or a folder."""
        title = self._label or "Select a path"
        if self._filters & self.Files:
            path = QFileDialog.getOpenFileName(self, title, self.currentPath, ";;".join(self._name_filters))
        else:
            path = QFileDialog.getExistingDirectory(self, title, self.currentPath)
        if path:
            self.setCurrentPath(path)


@stand_in
class ctkDirectoryButton(QWidget):
    """A button that shows a folder and asks for another."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._directory = str(Path.cwd())
        self._caption = ""
        self._button = QPushButton(self._directory)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.clicked.connect(self.browse)

    def setDirectory(self, directory: str) -> None:
        """Show another folder."""
        directory = str(Path(directory).absolute())
        if directory == self._directory:
            return
        self._directory = directory
        self._button.setText(directory)
        self.directoryChanged.emit(directory)

    def _set_caption(self, caption: str) -> None:
        self._caption = caption

    directory = Property(str, lambda self: self._directory, setDirectory)
    caption = Property(str, lambda self: self._caption, _set_caption)

    def browse(self) -> None:
        """Ask for a folder."""
        directory = QFileDialog.getExistingDirectory(self, self._caption or "Select a folder", self._directory)
        if directory:
            self.setDirectory(directory)
            self.directorySelected.emit(directory)


def install() -> types.ModuleType:
    """Return the `ctk` module, which `import ctk` then finds too."""
    module = types.ModuleType("ctk", __doc__)
    for cls in (ctkCollapsibleButton, ctkSliderWidget, ctkPathLineEdit, ctkDirectoryButton):
        setattr(module, cls.__name__, cls)
    missing_classes_on_demand(module, ("ctk",))
    return sys.modules.setdefault("ctk", module)
