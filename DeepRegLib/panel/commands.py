"""Which command starts the engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.protocol import EngineError
from DeepRegLib.engine.transport import WORKER, ssh_command
from DeepRegLib.panel.settings import PYTHON, SLICER, SSH, EngineSettings

# Slicer's own variables would make another Python import Slicer's libraries.
PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE")


def worker_command(settings: EngineSettings) -> list[str]:
    """Return program and arguments of the worker.

    Raises
    ------
    EngineError
        If something has not been filled in.
    """
    if settings.kind == SSH:
        if not settings.host.strip():
            raise EngineError(
                _("No computer is named to compute on."), _("Enter one under Environment, as in user@computer.")
            )
        return ssh_command(settings.host.strip(), settings.remote_python.strip() or "python3")
    if settings.kind == PYTHON:
        if not Path(settings.python).is_file():
            raise EngineError(
                _("There is no Python at {path}.").format(path=settings.python or _("(nothing chosen)")),
                _("Choose the program of another Python under Environment."),
            )
        return [settings.python, str(WORKER)]
    return [slicer_python(), str(WORKER)]


def worker_environment(settings: EngineSettings) -> Mapping[str, str] | None:
    """Return the worker's environment variables; None for Slicer's own."""
    if settings.kind == SLICER:
        return None
    startup = getattr(slicer.util, "startupEnvironment", None)
    environment = dict(startup()) if startup is not None else dict(os.environ)
    return {name: value for name, value in environment.items() if name not in PYTHON_VARIABLES}


def slicer_python() -> str:
    """Return Slicer's Python.

    ``sys.executable`` names it, or its launcher; should it name Slicer itself, the launcher lies beside it.
    """
    executable = Path(sys.executable)
    if "python" in executable.name.lower():
        return str(executable)
    launcher = Path(slicer.app.slicerHome) / "bin" / ("PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer")
    return str(launcher)
