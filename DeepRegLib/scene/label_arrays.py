"""The voxels of label maps: as whole numbers, by another meaning of their values, and on another grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.transforms import LinearTransform, transform_to_sitk

LATTICE_TOLERANCE = 1e-3


def whole_labels(volume: Image) -> NDArray[np.integer]:
    """Return the voxels of a label map as whole numbers, none of them negative."""
    array = volume.array
    limits = np.iinfo(np.int32)
    # Compared before the conversion: what does not fit would be wrapped around. NaN fails every comparison.
    fits = array.dtype.kind != "f" or bool(
        limits.min <= array.min() and array.max() <= limits.max and np.all(array == np.rint(array))
    )
    if not fits:
        raise InputError(f"{volume.name} has voxels that are not whole numbers.", "Choose a label map.")
    whole = as_whole_numbers(array)
    return np.maximum(whole, 0) if whole.dtype.kind == "i" else whole


def as_whole_numbers(array: NDArray[np.generic]) -> NDArray[np.integer]:
    """Return an array of whole numbers in an integer type: its own, or int32 for one of floats."""
    return array.astype(np.int32) if array.dtype.kind == "f" else array  # type: ignore[return-value]  # kind i or u


def values_of(array: NDArray[np.integer]) -> list[int]:
    """Return the voxel values of a label map other than zero."""
    if int(array.max()) < 1 << 16:
        found = np.flatnonzero(np.bincount(array.ravel()))  # much quicker than sorting all voxels
    else:
        found = np.unique(array)
    return [int(value) for value in found if value != 0]


def translated(array: NDArray, meaning: Mapping[int, int], otherwise: int, dtype: np.dtype) -> NDArray:
    """Return what whole voxel values mean; negative ones are taken for zero."""
    # One more entry, on which all values beyond the table are clipped.
    table = np.full(max(meaning, default=0) + 2, otherwise, dtype=dtype)
    for value, number in meaning.items():
        table[value] = number
    return table.take(array, mode="clip")


def smallest_dtype(largest: int) -> np.dtype:
    """Return the smallest type for label maps with values up to `largest` that a segmentation can hold."""
    return np.dtype(np.uint8 if largest < 256 else np.uint16 if largest < 65536 else np.int32)


def on_grid(image: Image, grid: Geometry, to_image: LinearTransform) -> NDArray[np.generic]:
    """Return an image's voxels on a grid, nearest neighbour, zero outside; `to_image` takes grid to image points."""
    relative = image.geometry.world_to_index @ to_image.matrix @ grid.index_to_world
    shift = lattice_shift(relative, max(grid.size))
    if shift is None:
        return resample(image, grid, interpolation="nearest", transform=transform_to_sitk(to_image)).array
    # Segments drawn on a volume lie on its own voxels: nothing is to be computed.
    result = np.zeros(grid.shape, dtype=image.array.dtype)
    low, high = np.maximum(-shift, 0), np.minimum(image.array.shape - shift, grid.shape)
    if np.all(low < high):
        result[box_at(low, tuple(high - low))] = image.array[box_at(low + shift, tuple(high - low))]
    return result


def lattice_shift(relative: NDArray[np.float64], reach: int) -> NDArray[np.int64] | None:
    """Return by how many voxels one grid begins after another on the same lattice, or None if they share none.

    Parameters
    ----------
    relative
        The ``(4, 4)`` matrix from the voxel indices (i, j, k) of one to those of the other.
    reach
        Over how many voxels the grids must not drift apart.

    Returns
    -------
    NDArray or None
        (k, j, i), int64.
    """
    shift = np.rint(relative[:3, 3])
    turned = np.abs(relative[:3, :3] - np.eye(3)).max() * reach
    if turned > LATTICE_TOLERANCE or np.abs(relative[:3, 3] - shift).max() > LATTICE_TOLERANCE:
        return None
    return shift[::-1].astype(np.int64)


def box_at(start: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the slices of a box of a shape that begins at a voxel."""
    return tuple(slice(int(a), int(a) + n) for a, n in zip(start, shape, strict=True))
