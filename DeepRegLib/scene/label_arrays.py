"""The voxels of label maps: as whole numbers, by another meaning of their values, and on another grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.scene.steps import Steps, run_through, slabs
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


def value_steps(array: NDArray[np.integer]) -> Steps[list[int]]:
    """Return in steps the voxel values of a label map other than zero."""
    found: set[int] = set()
    for slab in slabs(array.shape):
        part = array[slab]
        # Counting is much quicker than sorting all voxels.
        values = np.flatnonzero(np.bincount(part.ravel())) if int(part.max()) < 1 << 16 else np.unique(part)
        found.update(int(value) for value in values)
        yield
    return sorted(found - {0})


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


def mark_on_grid_steps(
    mask: NDArray[np.bool_], marked: Image, grid: Geometry, to_image: LinearTransform
) -> Steps[None]:
    """Mark in steps on a grid where a bool image is true, as `on_grid` places it."""
    shift = lattice_shift(image_relative(marked, grid, to_image), max(grid.size))
    if shift is None:
        np.logical_or(mask, on_grid(marked, grid, to_image), out=mask)
        yield
        return
    low, high = np.maximum(-shift, 0), np.minimum(marked.array.shape - shift, grid.shape)
    if np.any(low >= high):
        return
    here, there = mask[box_at(low, tuple(high - low))], marked.array[box_at(low + shift, tuple(high - low))]
    for slab in slabs(here.shape):
        np.logical_or(here[slab], there[slab], out=here[slab])
        yield


def image_relative(image: Image, grid: Geometry, to_image: LinearTransform) -> NDArray[np.float64]:
    """Return the matrix from the voxel indices (i, j, k) of a grid to those of an image."""
    return image.geometry.world_to_index @ to_image.matrix @ grid.index_to_world


def on_grid(image: Image, grid: Geometry, to_image: LinearTransform) -> NDArray[np.generic]:
    """Return an image's voxels on a grid, nearest neighbour, zero outside; `to_image` takes grid to image points."""
    return run_through(on_grid_steps(image, grid, to_image))


def on_grid_steps(image: Image, grid: Geometry, to_image: LinearTransform) -> Steps[NDArray[np.generic]]:
    """Do what `on_grid` does in steps."""
    shift = lattice_shift(image_relative(image, grid, to_image), max(grid.size))
    if shift is None:
        return resample(image, grid, interpolation="nearest", transform=transform_to_sitk(to_image)).array
    # Segments drawn on a volume lie on its own voxels: nothing is to be computed.
    result = np.zeros(grid.shape, dtype=image.array.dtype)
    low, high = np.maximum(-shift, 0), np.minimum(image.array.shape - shift, grid.shape)
    if np.all(low < high):
        here = result[box_at(low, tuple(high - low))]
        there = image.array[box_at(low + shift, tuple(high - low))]
        for slab in slabs(here.shape):
            here[slab] = there[slab]
            yield
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
