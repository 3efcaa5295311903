"""What has changed between two scans that were aligned on something that has not: surfaces apart, volumes gained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, to_sitk
from DeepRegLib.labels import label_map

MICROLITRES = 1000.0


@dataclass(frozen=True)
class SegmentChange:
    """How one segment differs between the fixed scan and the aligned moving one.

    Parameters
    ----------
    label
        Its number.
    fixed_ml, moving_ml
        Its volumes.
    added_ml, lost_ml
        Of the fixed scan where the moving one has none of it, and the other way.
    mean_mm, p95_mm, largest_mm
        Distance from its surface on the fixed scan to that of the moving one; None where one scan has none of it.
    """

    label: int
    fixed_ml: float
    moving_ml: float
    added_ml: float
    lost_ml: float
    mean_mm: float | None
    p95_mm: float | None
    largest_mm: float | None


def segment_changes(fixed: Image, moving: Image) -> tuple[SegmentChange, ...]:
    """Compare the segments of two label maps on one grid, by their numbers, ascending.

    Parameters
    ----------
    fixed
        Segments of the fixed scan.
    moving
        Those of the moving scan, carried over by a rigid alignment.

    Raises
    ------
    InputError
        If they lie on different grids, a voxel is no whole number, or neither has a segment.
    """
    if not fixed.geometry.is_close(moving.geometry):
        raise InputError(
            f"{fixed.name} and {moving.name} lie on different grids.", "Carry the moving segments over first."
        )
    labels = [label_map(image).array for image in (fixed, moving)]
    numbers = np.unique(np.concatenate([np.unique(array) for array in labels]))
    numbers = numbers[numbers != 0]
    if not len(numbers):
        raise InputError(f"Neither {fixed.name} nor {moving.name} has a segment.", "Give label maps with segments.")
    return tuple(_change(fixed, int(number), *(array == number for array in labels)) for number in numbers)


def distance_to_surface(image: Image, inside: NDArray[np.bool_]) -> Image:
    """Return how far each voxel lies from a segment's surface, float32 mm, negative inside.

    Parameters
    ----------
    image
        On whose grid.
    inside
        The segment, ``(k, j, i)``, not empty.
    """
    # Half way between the outermost voxels of the segment and the innermost of its surroundings.
    both = _from_border(image, inside) - _from_border(image, ~inside)
    return image.with_array((both / 2).astype(np.float32))


def _from_border(image: Image, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far each voxel lies from the outermost voxels of a segment, negative inside."""
    mask = to_sitk(image.with_array(inside.astype(np.uint8)))
    distance = sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True)
    return sitk.GetArrayFromImage(distance).astype(np.float64)


def _change(image: Image, label: int, fixed: NDArray[np.bool_], moving: NDArray[np.bool_]) -> SegmentChange:
    ml = image.geometry.voxel_volume / MICROLITRES
    parts = (fixed, moving, fixed & ~moving, moving & ~fixed)
    whole, other, added, lost = (float(np.count_nonzero(part)) * ml for part in parts)
    if not fixed.any() or not moving.any():
        return SegmentChange(label, whole, other, added, lost, None, None, None)
    surface = fixed ^ _eroded(image, fixed)
    # Both surfaces run through the outermost voxels of their segments, so equal segments are 0 mm apart.
    apart = np.abs(_from_border(image, moving)[surface])
    mean, p95, largest = float(apart.mean()), float(np.percentile(apart, 95)), float(apart.max())
    return SegmentChange(label, whole, other, added, lost, mean, p95, largest)


def _eroded(image: Image, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask = to_sitk(image.with_array(inside.astype(np.uint8)))
    return sitk.GetArrayFromImage(sitk.BinaryErode(mask, [1, 1, 1], sitk.sitkCross)).astype(np.bool_)
