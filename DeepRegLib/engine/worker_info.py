"""What a worker says of itself when it has come up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself.

    Parameters
    ----------
    versions
        Of DeepReg, Python and the libraries that decide a result.
    devices
        What it can compute on, the fastest first.
    python
        Its interpreter.
    pid
        Its process id, on its own machine.
    memory
        Free bytes of each device when the worker came up; None where that cannot be told.
    """

    versions: Mapping[str, str]
    devices: tuple[str, ...]
    python: str
    pid: int
    memory: Mapping[str, int | None] = field(default_factory=dict)


def worker_info(hello: Mapping[str, Any]) -> WorkerInfo:
    """Read a worker's hello; raises KeyError, TypeError or ValueError where that is wrong."""
    memory = {str(name): None if free is None else int(free) for name, free in dict(hello.get("memory", {})).items()}
    return WorkerInfo(dict(hello["versions"]), tuple(hello["devices"]), str(hello["python"]), int(hello["pid"]), memory)
