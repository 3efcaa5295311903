"""What became of each label that was carried over: its volume on both scans, and how much of it left the fixed one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.result import CarriedLabel
from DeepRegLib.transforms import Transform, jacobian_determinant

MICROLITRES = 1000.0
MOST_POINTS = 4000  # of a label, to tell which share of it lies outside
LEFT_BEHIND = 0.02  # share of a label outside of the fixed scan that is worth a warning
MOST_SHOWN = 10


def carried_labels(
    transform: Transform, inverse: Transform, moving: Image, warped: Image, *, poll: Poll = never_cancel
) -> tuple[CarriedLabel, ...]:
    """Return what became of every label of a moving label map, ascending.

    Parameters
    ----------
    transform, inverse
        Fixed points to moving points, and back.
    moving
        The label map as it was drawn.
    warped
        The same on the fixed grid.
    poll
        Called now and then; may raise to stop.
    """
    labels, before = np.unique(moving.array, return_counts=True)
    counts = dict(zip(*np.unique(warped.array, return_counts=True), strict=True))
    stretch = _mean_jacobians(transform, warped, poll)
    rows = []
    for label, count in zip(labels.tolist(), before.tolist(), strict=True):
        if label > 0:
            poll()
            rows.append(
                CarriedLabel(
                    label=int(label),
                    volume_before=count * moving.geometry.voxel_volume / MICROLITRES,
                    volume_after=int(counts.get(label, 0)) * warped.geometry.voxel_volume / MICROLITRES,
                    mean_jacobian=stretch.get(label),
                    outside=_share_outside(inverse, moving, label, warped.geometry),
                )
            )
    return tuple(rows)


def left_behind_message(rows: Sequence[CarriedLabel], name: str) -> tuple[str, ...]:
    """Return a warning about the labels of which a part lies outside of the fixed scan; nothing if there is none."""
    cut = [row for row in rows if row.outside > LEFT_BEHIND]
    if not cut:
        return ()
    shown = ", ".join(f"{row.label} ({row.outside:.0%})" for row in cut[:MOST_SHOWN])
    more = " and more" if len(cut) > MOST_SHOWN else ""
    one = len(cut) == 1
    return (
        f"{'Label' if one else 'Labels'} {shown}{more} of {name} {'lies' if one else 'lie'} in part outside of the "
        "fixed scan and cannot be carried over whole.",
    )


def _mean_jacobians(transform: Transform, warped: Image, poll: Poll) -> dict[int, float]:
    """Return the mean determinant in each label that is there: moving volume per fixed volume."""
    if not warped.array.any():
        return {}
    box = box_around(warped)
    first = np.rint(warped.geometry.to_index(box.origin)).astype(int)[::-1]
    inside = warped.array[tuple(slice(a, a + n) for a, n in zip(first, box.shape, strict=True))]
    values = jacobian_determinant(transform, box, poll=poll).array
    labels, index, counts = np.unique(inside, return_inverse=True, return_counts=True)
    sums = np.bincount(index.ravel(), values.ravel().astype(np.float64))
    return {int(label): float(total / n) for label, total, n in zip(labels, sums, counts, strict=True) if label > 0}


def _share_outside(inverse: Transform, moving: Image, label: int, fixed: Geometry) -> float:
    """Return the share of a label's voxels that lie outside of the fixed voxel box, of a regular sample of them."""
    places: NDArray[np.int64] = np.flatnonzero(moving.array == label)
    # An odd step does not stay in one column of voxels.
    places = places[:: max(1, len(places) // MOST_POINTS) | 1]
    k, j, i = np.unravel_index(places, moving.array.shape)
    points = moving.geometry.to_world(np.stack([i, j, k], axis=-1).astype(np.float64))
    index = fixed.to_index(inverse.apply_to_points(points))
    inside = np.all((index >= -0.5) & (index < np.array(fixed.size) - 0.5), axis=-1)
    return float(1 - np.mean(inside))
