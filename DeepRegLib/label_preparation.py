"""Two scans made comparable by their labels alone: signed distances to the structures that both have.

Their intensities are not looked at. Signed distances as what is registered: Paragios et al., Non-rigid registration
using distance functions, CVIU 2003.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, execute, to_sitk
from DeepRegLib.masks import checked_mask, grown
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preparation import Prepared, PreparedPair
from DeepRegLib.recipes import Prepare
from DeepRegLib.segments import GOLDEN_RATIO

# How far a distance is told, as a share of the structures' diagonal: the smoothing of a coarse level, about.
REACH_SHARE = 1 / 12
LEAST_REACH_VOXELS = 2.0
NAMED_AT_MOST = 12

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """A scan with its label map of whole numbers, and the user's mask or None, all on one grid."""

    scan: Image
    labels: Image
    mask: Image | None = None


def prepare_labels(
    fixed: LabelledScan, moving: LabelledScan, recipe: Prepare, *, poll: Poll = never_cancel
) -> PreparedPair:
    """Prepare two labelled scans for a comparison of what the labels say.

    The intensity of a prepared scan is a sum over the labels that both have: about each border it rises over twice the
    reach, by as much for the same label on both scans and by another amount for each label, so that the borders
    between structures are seen too.

    Parameters
    ----------
    fixed, moving
        What is registered.
    recipe
        By how much masks are grown.
    poll
        Called now and then; may raise to stop.

    Raises
    ------
    InputError
        If the scans have no label in common, or a mask is empty or on another grid.
    """
    boxes = [label_boxes(side.labels, poll) for side in (fixed, moving)]
    common = sorted(boxes[0].keys() & boxes[1].keys())
    if not common:
        raise InputError(
            "The fixed and the moving labels have no label in common, and nothing else is compared.",
            "Give the same structure the same number (in Slicer: the same name) in both, or take another recipe.",
        )
    sides = ((fixed, boxes[0]), (moving, boxes[1]))
    reach = max(_least_reach(side.labels.geometry, box, common) for side, box in sides)
    prepared = [_prepared(side, box, common, reach, recipe, poll) for side, box in sides]
    return PreparedPair(prepared[0], prepared[1], (_decision_text(common),), (_warning_text(),))


def label_boxes(labels: Image, poll: Poll = never_cancel) -> dict[int, Box]:
    """Return the part (k, j, i) of the array that holds each nonzero label."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()
    execute(statistics, poll, to_sitk(labels))
    boxes = {}
    for label in statistics.GetLabels():
        first, size = np.array(statistics.GetBoundingBox(label)).reshape(2, 3)
        i, j, k = (slice(int(start), int(start + n)) for start, n in zip(first, size, strict=True))
        boxes[int(label)] = (k, j, i)
    return boxes


def _decision_text(common: list[int]) -> str:
    named = ", ".join(str(label) for label in common[:NAMED_AT_MOST])
    more = len(common) - NAMED_AT_MOST
    return f"Compared by labels alone, no intensities: {named}{f' and {more} more' if more > 0 else ''}."


def _warning_text() -> str:
    return (
        "The scans were registered by their labels alone: the result is as good as those, and says little of what lies "
        "further from them than their own size."
    )


def _least_reach(grid: Geometry, boxes: dict[int, Box], common: list[int]) -> float:
    """Return how far from its border a structure is felt, in mm."""
    first = np.min([[part.start for part in boxes[label]] for label in common], axis=0)
    end = np.max([[part.stop for part in boxes[label]] for label in common], axis=0)
    diagonal = float(np.linalg.norm((end - first)[::-1] * np.array(grid.spacing)))
    return max(REACH_SHARE * diagonal, LEAST_REACH_VOXELS * max(grid.spacing))


def _prepared(
    side: LabelledScan, boxes: dict[int, Box], common: list[int], reach: float, recipe: Prepare, poll: Poll
) -> Prepared:
    intensity = np.zeros(side.labels.array.shape, np.float32)
    for rank, label in enumerate(common):
        poll()
        part = _widened(boxes[label], side.labels.geometry, reach)
        height = 1 - 0.5 * (rank * GOLDEN_RATIO % 1)
        intensity[part] += np.float32(height) * _profile(side.labels, label, part, reach)
    everywhere = side.scan.with_array(np.ones(intensity.shape, np.bool_))
    near = side.scan.with_array(intensity > 0)
    known, foreground = everywhere, near
    if side.mask is not None:
        inside = grown(side.scan, checked_mask(side.scan, side.mask), recipe.mask_margin)
        known = side.scan.with_array(inside)
        both = np.logical_and(inside, near.array)
        foreground = side.scan.with_array(both if both.any() else inside)
    return Prepared(side.scan, side.scan.with_array(intensity), known, foreground, False, everywhere, near)


def _widened(box: Box, grid: Geometry, reach: float) -> Box:
    """Return a box with a margin, inside the grid: past the border of a scan nobody knows where a structure ends."""
    wider = []
    for part, step, size in zip(box, grid.spacing[::-1], grid.shape, strict=True):
        margin = int(np.ceil(reach / step)) + 1
        wider.append(slice(max(part.start - margin, 0), min(part.stop + margin, size)))
    return wider[0], wider[1], wider[2]


def _profile(labels: Image, label: int, part: Box, reach: float) -> NDArray[np.float32]:
    """Return 1 deep inside of a label, 0 far from it, one half at its border, in a part of the array."""
    inside = (labels.array[part] == label).astype(np.uint8)
    if inside.all():
        return np.ones(inside.shape, np.float32)
    mask = sitk.GetImageFromArray(inside)
    mask.SetSpacing(labels.geometry.spacing)
    distance = sitk.SignedMaurerDistanceMap(mask, squaredDistance=False, useImageSpacing=True, insideIsPositive=True)
    rise = 0.5 + sitk.GetArrayViewFromImage(distance) / (2 * reach)
    return np.asarray(np.clip(rise, 0, 1), dtype=np.float32)
