"""What a worker says of itself when it has come up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST_PID, LARGEST_MEMORY = 1 << 32, 1 << 60


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
    versions = {name: _text(version) for name, version in _table(hello["versions"]).items()}
    memory = {
        name: None if free is None else _whole(free, LARGEST_MEMORY)
        for name, free in _table(hello.get("memory", {})).items()
    }
    if not isinstance(hello["devices"], list) or not hello["devices"]:
        raise TypeError("devices is no list of names")
    devices = tuple(_text(device) for device in hello["devices"])
    return WorkerInfo(versions, devices, _text(hello["python"]), _whole(hello["pid"], LARGEST_PID), memory)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]} is no table")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]} is no text")
    return value


def _whole(value: Any, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ValueError(f"{str(value)[:40]} is no whole number up to {largest}")
    return value
