"""Choosing where to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from DeepRegLib.errors import InputError, MemoryShortageError


def available_devices() -> list[str]:
    """Return the names of the devices that can be used, the fastest first."""
    names = [f"cuda:{n}" for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def choose_device(name: str | None) -> torch.device:
    """Return the device of that name, or the fastest for None or ``"auto"``.

    Raises
    ------
    InputError
        If there is no such device.
    """
    devices = available_devices()
    if name is None or name == "auto":
        return torch.device(devices[0])
    if name in devices or (name == "cuda" and devices[0].startswith("cuda")):
        return torch.device(name)
    raise InputError(f"There is no device {name!r} here.", f"Choose one of {', '.join(devices)}.")


@contextmanager
def memory_errors_explained(device: torch.device) -> Iterator[None]:
    """Turn running out of memory into a `MemoryShortageError`."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _shortage(device) from error
    except RuntimeError as error:
        # Torch's CPU allocator and SimpleITK report it as a plain RuntimeError.
        text = str(error).lower()
        if "out of memory" in text or "can't allocate memory" in text or "failed to allocate" in text:
            raise _shortage(device) from error
        raise


def _shortage(device: torch.device) -> MemoryShortageError:
    hint = "Use the recipe 'fast', or give fewer deformable.voxels."
    if device.type != "cpu":
        hint = f"Use --device cpu, or {hint[0].lower()}{hint[1:]}"
    return MemoryShortageError(f"Out of memory on {device}.", hint)
