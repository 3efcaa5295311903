"""Devices at work: what they are called, and whether they compute what the CPU computes."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import numpy as np
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms import DisplacementField
from DeepRegLib.transforms.inversion import invert_displacement_field

CPUINFO = Path("/proc/cpuinfo")
PROBE_SIZE = 16
PROBE_AMPLITUDE = 1.5  # mm, at 1 mm voxels: smooth enough to have an inverse


def device_name(device: str) -> str:
    """Return what the maker calls a device, as far as the system tells."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device == "cpu":
        return f"{_processor()}, threads: {torch.get_num_threads()}"
    return platform.processor() or platform.machine()


def _processor() -> str:
    """Return the model of the processor, on Linux as the kernel names it: `platform` knows the architecture alone."""
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def kernel_difference(device: str) -> float:
    """Invert a small smooth field on a device and on the CPU, and return the largest difference in mm."""
    field = _probe_field()
    results = [invert_displacement_field(field, device=name).array for name in (device, "cpu")]
    return float(np.abs(results[0] - results[1]).max())


def _probe_field() -> DisplacementField:
    geometry = Geometry((PROBE_SIZE, PROBE_SIZE, PROBE_SIZE))
    waves = np.sin(2 * np.pi * geometry.points() / PROBE_SIZE)
    return DisplacementField((PROBE_AMPLITUDE * waves[..., [1, 2, 0]]).astype(np.float32), geometry)
