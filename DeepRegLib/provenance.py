"""What a result was made from and with, so that it can be made again."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from DeepRegLib.image import Image
from DeepRegLib.version import library_version

LIBRARIES = ("torch", "numpy", "SimpleITK")


def versions() -> dict[str, str]:
    """Return the versions of DeepReg, Python and the libraries that decide a result."""
    found = {"deepreg": library_version(), "python": platform.python_version()}
    return found | {name: _library_version(name) for name in LIBRARIES}


def _library_version(name: str) -> str:
    # A library bundled with an application may have come without its package metadata.
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def provenance_of(fixed: Image, moving: Image, device: torch.device, seed: int) -> dict[str, Any]:
    """Return versions, device, seed and input hashes of a run."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "seed": seed,
        "fixed_sha256": image_hash(fixed),
        "moving_sha256": image_hash(moving),
    }


def image_hash(image: Image) -> str:
    """Return the SHA-256 of an image's voxels and geometry (not of its name)."""
    digest = hashlib.sha256(repr((image.array.dtype.str, image.geometry)).encode())
    digest.update(np.ascontiguousarray(image.array).tobytes())
    return digest.hexdigest()
