"""What a result was made from and with, so that it can be made again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.request import Drivers, Request
from DeepRegLib.transforms import DisplacementField, Transform, parts_of
from DeepRegLib.versions import versions

if TYPE_CHECKING:
    import torch

HASHED_AT_ONCE = 1 << 24


def provenance_of(request: Request, device: torch.device, *, poll: Poll = never_cancel) -> dict[str, Any]:
    """Return versions, device, seed and input hashes of a run; `poll` may raise to stop."""
    import torch  # late: Slicer's process, which hashes nothing but reads records, has none

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "seed": request.seed,
        "fixed_sha256": image_hash(request.fixed, poll=poll),
        "moving_sha256": image_hash(request.moving, poll=poll),
    } | _given_drivers(request.drivers, poll)


def _given_drivers(drivers: Drivers, poll: Poll) -> dict[str, Any]:
    """Return each driver that was given: a hash of voxels, points or transforms, anything else as it is."""
    given: dict[str, Any] = {}
    for name in (field.name for field in fields(drivers)):
        value = getattr(drivers, name)
        if isinstance(value, Image):
            given[f"{name}_sha256"] = image_hash(value, poll=poll)
        elif isinstance(value, np.ndarray):
            given[f"{name}_sha256"] = points_hash(value)
        elif isinstance(value, Transform):
            given[f"{name}_sha256"] = transform_hash(value, poll=poll)
        elif value is not None:
            given[name] = value
    return given


def points_hash(points: NDArray[np.floating]) -> str:
    """Return the SHA-256 of a list of points."""
    return hashlib.sha256(np.ascontiguousarray(points, dtype="<f8").tobytes()).hexdigest()


def image_hash(image: Image, *, poll: Poll = never_cancel) -> str:
    """Return the SHA-256 of an image's voxels and geometry (not of its name)."""
    digest = hashlib.sha256(repr((image.array.dtype.str, image.geometry)).encode())
    _add_bytes(digest.update, image.array, poll)
    return digest.hexdigest()


def transform_hash(transform: Transform, *, poll: Poll = never_cancel) -> str:
    """Return the SHA-256 of the numbers and grids of a transform's parts, in their order."""
    digest = hashlib.sha256()
    for part in parts_of(transform):
        array, grid = (part.array, part.geometry) if isinstance(part, DisplacementField) else (part.matrix, None)
        digest.update(repr((array.dtype.str, grid)).encode())
        _add_bytes(digest.update, array, poll)
    return digest.hexdigest()


def _add_bytes(add: Callable[[memoryview], None], array: NDArray[Any], poll: Poll) -> None:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, HASHED_AT_ONCE):
        poll()
        add(flat[start : start + HASHED_AT_ONCE].data)
