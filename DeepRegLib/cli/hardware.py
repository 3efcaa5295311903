"""Devices at work: their free memory, and whether they compute what the CPU computes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from pathlib import Path

import numpy as np
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms import DisplacementField
from DeepRegLib.transforms.inversion import invert_displacement_field

PROBE_SIZE = 16
PROBE_AMPLITUDE = 1.5  # mm, at 1 mm voxels: smooth enough to have an inverse


def device_name(device: str) -> str:
    """Return what the maker calls a device, as far as the system tells."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def free_memory(device: str) -> int | None:
    """Return the free memory of a device in bytes, or None where it cannot be told."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    amounts = [amount for amount in (_free_in_machine(), _free_in_container()) if amount is not None]
    return min(amounts, default=None)


def kernel_difference(device: str) -> float:
    """Invert a small smooth field on a device and on the CPU, and return the largest difference in mm."""
    field = _probe_field()
    results = [invert_displacement_field(field, device=name).array for name in (device, "cpu")]
    return float(np.abs(results[0] - results[1]).max())


def _probe_field() -> DisplacementField:
    geometry = Geometry((PROBE_SIZE, PROBE_SIZE, PROBE_SIZE))
    waves = np.sin(2 * np.pi * geometry.points() / PROBE_SIZE)
    return DisplacementField((PROBE_AMPLITUDE * waves[..., [1, 2, 0]]).astype(np.float32), geometry)


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
