"""Dialogs that wait for a person, and pages that open in a browser: in a test each is an error that names itself.

A test that expects one replaces it: `monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "/a/file")`. The
answer must be what PythonQt returns: a plain string where PySide6 returns a pair of name and filter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtGui, QtWidgets

FUNCTIONS = {
    QtWidgets.QFileDialog: (
        "getExistingDirectory",
        "getExistingDirectoryUrl",
        "getOpenFileName",
        "getOpenFileNames",
        "getSaveFileName",
    ),
    QtWidgets.QMessageBox: ("about", "critical", "information", "question", "warning"),
    QtWidgets.QInputDialog: ("getDouble", "getInt", "getItem", "getMultiLineText", "getText"),
    QtWidgets.QColorDialog: ("getColor",),
    QtWidgets.QFontDialog: ("getFont",),
    QtGui.QDesktopServices: ("openUrl",),
}


class UnansweredDialogError(RuntimeError):
    """A dialog would wait for an answer that nobody gives."""


def forbid_waiting() -> None:
    """Make every dialog that waits raise `UnansweredDialogError`."""
    for cls, names in FUNCTIONS.items():
        for name in names:
            setattr(cls, name, staticmethod(unanswered_function(cls, name)))
    for cls in (QtWidgets.QDialog, QtWidgets.QMenu):
        cls.exec = cls.exec_ = unanswered


def unanswered(dialog: QtWidgets.QDialog | QtWidgets.QMenu, *arguments: Any) -> Any:
    """Say which dialog or menu waits."""
    text = dialog.text if isinstance(dialog, QtWidgets.QMessageBox) else dialog.windowTitle
    raise UnansweredDialogError(f"a {type(dialog).__name__} waits for an answer: {text!r}; patch its exec in the test")


def unanswered_function(cls: type, name: str) -> Callable[..., Any]:
    """Return a function that says which dialog waits."""

    def ask(*arguments: Any) -> Any:
        texts = ", ".join(repr(argument) for argument in arguments if not isinstance(argument, QtWidgets.QWidget))
        raise UnansweredDialogError(f"{cls.__name__}.{name}({texts}) waits for an answer; patch it in the test")

    return ask
