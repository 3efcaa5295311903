"""Where to compute: the devices, their free memory, and running out of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from DeepRegLib.errors import InputError, MemoryShortageError

SHORTAGE_SIGNS = ("out of memory", "can't allocate memory", "failed to allocate", "alloc_failed")


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


def free_memory(device: str) -> int | None:
    """Return the free memory of a device in bytes, or None where the system does not tell.

    Raises
    ------
    RuntimeError
        If the device's driver is broken.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    amounts = [amount for amount in (_free_in_machine(), _free_in_container()) if amount is not None]
    return min(amounts, default=None)


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
        if any(sign in text for sign in SHORTAGE_SIGNS):
            raise _shortage(device) from error
        raise


def _shortage(device: torch.device) -> MemoryShortageError:
    hint = "Use the recipe 'fast', or give fewer deformable.voxels."
    if device.type != "cpu":
        hint = f"Compute on the CPU (--device cpu), or {hint[0].lower()}{hint[1:]}"
    return MemoryShortageError(f"Out of memory on {device}.", hint, str(device))


def _free_in_machine() -> int | None:
    if sys.platform == "win32":
        return _free_on_windows()
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None  # macOS


def _free_in_container() -> int | None:
    with contextlib.suppress(OSError, ValueError):  # no control group, or one without a limit ("max")
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii")) for name in ("max", "current")
        )
        return max(limit - used, 0)
    return None


def _free_on_windows() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *(
                (name, ctypes.c_uint64)
                for name in ("total", "free", "t_page", "f_page", "t_virtual", "f_virtual", "ext")
            ),
        )

    status = Status(length=ctypes.sizeof(Status))
    library = getattr(ctypes, "windll", None)
    if library is None or not library.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.free)
