"""What a result was made from and with, so that it can be made again."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, keep_going
from DeepRegLib.version import VERSION

LIBRARIES = ("torch", "numpy", "SimpleITK")
HASHED_AT_ONCE = 1 << 24


def versions() -> dict[str, str]:
    """Return the versions of DeepReg, Python and the libraries that decide a result."""
    found = {"deepreg": VERSION, "python": platform.python_version()}
    return found | {name: _library_version(name) for name in LIBRARIES}


def _library_version(name: str) -> str:
    # A library bundled with an application may have come without its package metadata.
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def provenance_of(
    fixed: Image,
    moving: Image,
    device: torch.device,
    seed: int,
    *,
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    labels: tuple[Image, Image] | None = None,
    poll: Poll = keep_going,
) -> dict[str, Any]:
    """Return versions, device, seed and input hashes of a run; `poll` may raise to stop."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "seed": seed,
        "fixed_sha256": image_hash(fixed, poll=poll),
        "moving_sha256": image_hash(moving, poll=poll),
    } | _hashes_of_drivers(landmarks, labels, poll)


def _hashes_of_drivers(
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None, labels: tuple[Image, Image] | None, poll: Poll
) -> dict[str, str]:
    """Return the hashes of what was given to drive the run besides the images."""
    hashes = {}
    if landmarks is not None:
        points = np.ascontiguousarray(np.stack(landmarks), dtype="<f8")
        hashes["landmarks_sha256"] = hashlib.sha256(points.tobytes()).hexdigest()
    if labels is not None:
        hashes["fixed_labels_sha256"], hashes["moving_labels_sha256"] = (image_hash(m, poll=poll) for m in labels)
    return hashes


def image_hash(image: Image, *, poll: Poll = keep_going) -> str:
    """Return the SHA-256 of an image's voxels and geometry (not of its name)."""
    digest = hashlib.sha256(repr((image.array.dtype.str, image.geometry)).encode())
    voxels = np.ascontiguousarray(image.array).reshape(-1).view(np.uint8)
    for start in range(0, voxels.size, HASHED_AT_ONCE):
        poll()
        digest.update(voxels[start : start + HASHED_AT_ONCE].data)
    return digest.hexdigest()
