"""Images as small NIfTI files for a browser: 8 bits a voxel, no finer than a page has room for."""

from __future__ import annotations

import gzip
import struct

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.preprocessing import smooth_and_resample

WINDOW = (0.5, 99.5)  # percentiles
GREYS = 255
UINT8, BITS, HEADER_BYTES = 2, 8, 348
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def shrunk(geometry: Geometry, voxels: int) -> Geometry:
    """Return a grid over the same box with at most about so many voxels; the same grid if it has no more."""
    count = float(np.prod(geometry.size))
    if count <= voxels:
        return geometry
    # Thick slices stay as they are as long as they are coarser than the new voxels.
    step = min(geometry.spacing)
    while float(np.prod(geometry.extent / np.maximum(geometry.spacing, step))) > voxels:
        step *= 1.05
    return geometry.resized(np.maximum(geometry.spacing, step))


def greys(image: Image, grid: Geometry) -> bytes:
    """Return a scan on a grid as NIfTI, its usual range of values as 0 to 255."""
    values = _finite(smooth_and_resample(image.with_array(_finite(image.array)), grid).array)
    low, high = np.percentile(values, WINDOW)
    scaled = (values - low) / max(float(high - low), 1e-12) * GREYS
    return nifti(np.clip(np.round(scaled), 0, GREYS).astype(np.uint8), grid)


def label_numbers(image: Image) -> NDArray[np.int64]:
    """Return the labels of a map, the largest structures first, as many as 8 bits tell apart."""
    labels, counts = np.unique(image.array[image.array != 0], return_counts=True)
    return np.sort(labels[np.argsort(counts)[::-1]][:GREYS]).astype(np.int64)


def labels(image: Image, grid: Geometry) -> bytes:
    """Return a label map on a grid as NIfTI, the n-th of its `label_numbers` as n."""
    known = label_numbers(image)
    numbered = np.zeros(image.array.shape, dtype=np.uint8)
    for number, label in enumerate(known, start=1):
        numbered[image.array == label] = number
    return nifti(resample(image.with_array(numbered), grid, interpolation="nearest").array.astype(np.uint8), grid)


def millimetres(image: Image, grid: Geometry, largest: float) -> bytes:
    """Return a map in mm on a grid as NIfTI; 255 stands for `largest` and more."""
    values = _finite(smooth_and_resample(image.with_array(_finite(image.array)), grid).array)
    values = values / np.float32(max(largest, 1e-6) / GREYS)
    return nifti(np.clip(np.round(values), 0, GREYS).astype(np.uint8), grid, slope=largest / GREYS)


def nifti(array: NDArray[np.uint8], geometry: Geometry, slope: float = 1.0) -> bytes:
    """Return a volume as a compressed NIfTI-1 file with its place in the world (RAS, as NIfTI has it)."""
    header = bytearray(HEADER_BYTES)
    struct.pack_into("<i", header, 0, HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, *geometry.size, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, UINT8, BITS)
    struct.pack_into("<8f", header, 76, 1.0, *geometry.spacing, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, HEADER_BYTES + 4.0, slope, 0.0)
    header[123] = 2  # millimetres
    struct.pack_into("<2h", header, 252, 0, 2)
    struct.pack_into("<12f", header, 280, *(LPS_TO_RAS @ geometry.index_to_world)[:3].ravel())
    header[344:348] = b"n+1\0"
    body = bytes(header) + bytes(4) + np.ascontiguousarray(array).tobytes()
    return gzip.compress(body, compresslevel=6, mtime=0)


def _finite(array: NDArray[np.generic]) -> NDArray[np.float32]:
    values = array.astype(np.float32)
    return np.nan_to_num(values, nan=float(np.nanmin(values)), posinf=float(np.nanmin(values)), neginf=0.0)
