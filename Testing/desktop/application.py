"""`slicer.app` with Qt: a QApplication that also answers for scene, files, settings and modules."""

from __future__ import annotations

import sys
from typing import Any

import slicer
from PySide6.QtCore import (
    QMessageLogContext,
    QObject,
    QProcessEnvironment,
    QSettings,
    QtMsgType,
    Signal,
    qInstallMessageHandler,
)
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from Testing.desktop.layout import LayoutManager
from Testing.desktop.scene import SceneServices
from Testing.desktop.stand_ins import stand_in


@stand_in
class ModuleManager(QObject):
    """Knows the modules that were loaded."""

    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def module(self, name: str) -> Any | None:
        """Return a module, None where there is none of that name."""
        return getattr(slicer.modules, name.lower(), None)


class ExtensionsModel:
    """Knows which extensions are installed: none."""

    def isExtensionInstalled(self, name: str) -> bool:
        """Return False."""
        return False


class SlicerApplication(SceneServices, QApplication):
    """`slicer.app`, on the services that the scene's own application had."""

    startupCompleted = Signal()

    def __init__(self, services: SceneServices) -> None:
        QApplication.__init__(self, ["Slicer"])
        self.serve(services.mrmlScene(), services.applicationLogic(), services.temporaryPath)
        self._modules = ModuleManager()
        self._extensions = ExtensionsModel()
        self._layout = LayoutManager(services.applicationLogic())
        self._settings = own_settings(services.temporaryPath)

    def settings(self) -> QSettings:
        """Return the settings, which start empty and end with the process."""
        return self._settings

    def userSettings(self) -> QSettings:
        """Return the same settings."""
        return self._settings

    def moduleManager(self) -> ModuleManager:
        """Return what knows the loaded modules."""
        return self._modules

    def extensionsManagerModel(self) -> ExtensionsModel:
        """Return what knows the installed extensions."""
        return self._extensions

    def layoutManager(self) -> LayoutManager:
        """Return what knows the slice views."""
        return self._layout

    def startupEnvironment(self) -> QProcessEnvironment:
        """Return the environment in which the application was started."""
        return QProcessEnvironment.systemEnvironment()

    def translate(self, context: str, text: str) -> str:
        """Return the text as it is: the application speaks English."""
        return text

    def restart(self) -> None:
        """Refuse: a test process is not restarted."""
        raise RuntimeError("the module asked for a restart of Slicer")


def own_settings(folder: str) -> QSettings:
    """Point QSettings() to a file of this process, never to the settings of the person who runs the tests."""
    QApplication.setOrganizationName("DeepRegTesting")
    QApplication.setApplicationName("Slicer")
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    for scope in (QSettings.Scope.UserScope, QSettings.Scope.SystemScope):
        QSettings.setPath(QSettings.Format.IniFormat, scope, folder)
    return QSettings()


def pass_on_messages() -> None:
    """Write Qt's warnings to stderr, but for one that the offscreen platform gives for every window."""

    def write(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        if "propagateSizeHints" not in message:
            sys.stderr.write(f"Qt: {message}\n")

    qInstallMessageHandler(write)


# The colours of Slicer's light and dark style: role, then normal and, where it differs, disabled.
LIGHT = {
    "Window": ("white",),
    "WindowText": ("black", "#bebebe"),
    "Base": ("white",),
    "AlternateBase": ("#e4e4fe",),
    "Text": ("black", "#bebebe"),
    "PlaceholderText": ("darkGray",),
    "Button": ("#fcfcfc",),
    "ButtonText": ("black", "#bebebe"),
    "Light": ("#c8c8c8",),
    "Midlight": ("#e6e6e6",),
    "Mid": ("#c8c8c8",),
    "Dark": ("#aaaaaa",),
    "Shadow": ("#5a5a5a",),
    "Highlight": ("#308cc6", "#919191"),
    "HighlightedText": ("white",),
    "Link": ("#0000ff",),
}
DARK = {
    "Window": ("#323232",),
    "WindowText": ("white", "#6d6d6d"),
    "Base": ("#1e1e1e",),
    "AlternateBase": ("#323232",),
    "Text": ("white", "#6d6d6d"),
    "PlaceholderText": ("lightGray",),
    "Button": ("#323232",),
    "ButtonText": ("white", "#b4b4b4"),
    "Light": ("#828284",),
    "Midlight": ("#5a5a5b",),
    "Mid": ("#2b2b2b",),
    "Dark": ("#232323",),
    "Shadow": ("#141414",),
    "Highlight": ("#3ca4ff", "#505050"),
    "HighlightedText": ("white", "#6d6d6d"),
    "Link": ("#3ca4ff",),
}


def dress(application: QApplication, *, dark: bool = False) -> None:
    """Give windows the same look on every machine: Qt's style Fusion in the colours of Slicer's own, light or dark."""
    application.setStyle("Fusion")
    font = application.font()
    font.setPointSize(10)
    application.setFont(font)
    palette = QPalette()
    for name, colours in (DARK if dark else LIGHT).items():
        role = getattr(QPalette.ColorRole, name)
        palette.setColor(role, QColor(colours[0]))
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(colours[-1]))
    application.setPalette(palette)
