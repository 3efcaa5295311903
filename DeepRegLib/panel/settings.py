"""Where the engine runs, as the user chose it; kept in Slicer's settings, not in the scene."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Protocol

SLICER, PYTHON, SSH = "slicer", "python", "ssh"
KINDS = (SLICER, PYTHON, SSH)
GROUP = "DeepReg"


class Store(Protocol):
    """The part of QSettings that is needed."""

    def value(self, key: str, default: object = None) -> object:
        """Return what is stored, or the default."""

    def setValue(self, key: str, value: object) -> None:  # noqa: N802 - Qt's name
        """Store a value."""


@dataclass(frozen=True)
class EngineSettings:
    """Where the engine runs.

    Parameters
    ----------
    kind
        ``"slicer"`` (Slicer's own Python), ``"python"`` (another one on this computer) or ``"ssh"`` (another computer).
    python
        Path of the other Python.
    host
        As ssh is told it: ``user@computer``.
    remote_python
        Program on that computer.
    wheel_folder
        Folder with PyTorch's wheels, to install it without a network.
    """

    kind: str = SLICER
    python: str = ""
    host: str = ""
    remote_python: str = "python3"
    wheel_folder: str = ""


def load_settings(store: Store) -> EngineSettings:
    """Return what was chosen the last time."""
    defaults = asdict(EngineSettings())
    values = {name: str(store.value(f"{GROUP}/{name}", default)) for name, default in defaults.items()}
    if values["kind"] not in KINDS:
        values["kind"] = SLICER
    return EngineSettings(**values)


def save_settings(store: Store, settings: EngineSettings) -> None:
    """Keep a choice for the next time."""
    for field in fields(settings):
        store.setValue(f"{GROUP}/{field.name}", getattr(settings, field.name))
