"""The desktop: everything started in the right order, and what a person would do with mouse and eyes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import slicer
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QPoint, QPointF, Qt, QTimer
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QRadioButton, QWidget

from Testing.desktop import ctk_widgets, dialogs, hierarchy, mrml_widgets, pythonqt, scripted
from Testing.desktop.application import SlicerApplication, dress, pass_on_messages
from Testing.desktop.ctk_widgets import ctkCollapsibleButton
from Testing.desktop.module_loader import LoadedModule, load_module
from Testing.desktop.scene import boot_scene, clear_scene, keep_present_nodes
from Testing.desktop.ui_loader import UiLoader

NESTED = 8  # how deep widgets lie in each other, at most
ROOM_SECONDS = 2.0
LEFT_PART = (QCheckBox, QRadioButton, ctkCollapsibleButton)  # widgets that answer to clicks there, not in the middle


class Desktop:
    """A running harness.

    Attributes
    ----------
    scene : vtkMRMLScene
        `slicer.mrmlScene`.
    application : SlicerApplication
        `slicer.app`.
    errors : list of BaseException
        Exceptions in slots and observers, which Qt and VTK would only print; `wait_until`, `process_events` and `close`
        raise the first one.
    """

    def __init__(self, application: SlicerApplication) -> None:
        self.scene = slicer.mrmlScene
        self.application = application
        self.errors: list[BaseException] = []
        self._loaded: list[LoadedModule] = []
        self._hook = sys.excepthook
        sys.excepthook = self._record

    def _record(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.errors.append(error)
        self._hook(kind, error, trace)

    def load_module(self, path: Path) -> LoadedModule:
        """Load a scripted module's file as the application does at its start."""
        loaded = load_module(path)
        self._loaded.append(loaded)
        return loaded

    def show(self, widget: QWidget, size: tuple[int, int] | None = None) -> None:
        """Show a widget as a window of a size in pixels."""
        if size is not None:
            widget.resize(*size)
        widget.show()
        self.process_events()

    def grab(self, widget: QWidget, path: Path, size: tuple[int, int] | None = None) -> None:
        """Write a picture of a widget to a PNG file; higher than `size` where its contents need that."""
        self.show(widget, size)
        if size is not None:
            for _ in range(NESTED):  # what needs more room is told from one widget to that around it
                widget.resize(size[0], max(size[1], QWidget.minimumSizeHint(widget).height()))
                self.process_events()
        if not widget.grab().save(str(path)):
            raise OSError(f"{path} could not be written")

    def process_events(self) -> None:
        """Handle what waits in the event queue, deletions included."""
        QApplication.processEvents()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        self._raise_first_error()

    def wait_until(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Run the event loop until something holds; return False where it does not within the time."""
        end = time.monotonic() + seconds
        while not predicate():
            if time.monotonic() > end:
                return False
            loop = QEventLoop()
            QTimer.singleShot(10, loop.quit)
            loop.exec()
            self._raise_first_error()
        return True

    def click(self, widget: QWidget) -> None:
        """Click on a widget with the mouse; it must be one that a person could click on, once its row has its room."""
        self.wait_until(lambda: widget.height > 0, ROOM_SECONDS)
        troubles = {"hidden": not widget.isVisible(), "disabled": not widget.isEnabled(), "flat": widget.height == 0}
        for trouble, there in troubles.items():
            if there:
                raise AssertionError(f"{widget.objectName or type(widget).__name__} cannot be clicked: it is {trouble}")
        place = QPoint(8, min(10, widget.height // 2)) if isinstance(widget, LEFT_PART) else widget.rect.center()
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
        self.process_events()

    def double_click(self, widget: QWidget) -> None:
        """Click twice in quick succession: press, release, double-click, release; the window lives in between."""
        self.click(widget)
        place = QPointF(widget.rect.center())
        for kind in (QEvent.Type.MouseButtonDblClick, QEvent.Type.MouseButtonRelease):
            buttons = Qt.MouseButton.LeftButton if kind == QEvent.Type.MouseButtonDblClick else Qt.MouseButton.NoButton
            event = QMouseEvent(
                kind,
                place,
                widget.mapToGlobal(place),
                Qt.MouseButton.LeftButton,
                buttons,
                Qt.KeyboardModifier.NoModifier,
            )
            QApplication.sendEvent(widget, event)
            self.process_events()

    def choose(self, widget: QWidget, text: str) -> None:
        """Choose a row of a list or a node selector, as if it were clicked."""
        box = widget if isinstance(widget, QComboBox) else widget.comboBox()
        index = box.findText(text)
        if index < 0:
            rows = [box.itemText(row) for row in range(box.count)]
            raise AssertionError(f"{widget.objectName or type(widget).__name__} offers {rows}, not {text!r}")
        box.setCurrentIndex(index)
        box.activated.emit(index)
        self.process_events()

    def close(self) -> None:
        """Unload the modules, clear scene and settings; raise an error that a slot left behind."""
        for loaded in reversed(self._loaded):
            loaded.unload()
        self._loaded.clear()
        self.application.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        clear_scene()
        self.application.settings().clear()
        try:
            self.process_events()
        finally:
            sys.excepthook = self._hook

    def _raise_first_error(self) -> None:
        if self.errors:
            first = self.errors[0]
            self.errors.clear()
            raise first


def start() -> Desktop:
    """Start the harness; the application is made once in a process, the desktop each time."""
    boot_scene()
    if not isinstance(slicer.app, SlicerApplication):
        make_application()
    return Desktop(slicer.app)


def make_application() -> None:
    """Make `slicer.app` with Qt, and everything that modules import."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    qt = pythonqt.install()
    qt.QUiLoader = UiLoader
    ctk_widgets.install()
    mrml_widgets.install()
    dialogs.forbid_waiting()
    pass_on_messages()
    slicer.app = SlicerApplication(slicer.app)
    dress(slicer.app)
    slicer.app.layoutManager().add_slice_views()
    keep_present_nodes()
    hierarchy.follow(slicer.mrmlScene)
    scripted.install()
