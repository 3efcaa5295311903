"""Labels that fall between the voxels of a coarser grid, put where most of them lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll

MOST_VOXELS = 4000  # of a label that is looked at; one that is lost is small
REACH = 0.75  # of a fixed voxel's diagonal: how far a moving voxel may lie from the fixed one that shows it
Places = Callable[[slice], NDArray[np.float64]]


def with_lost_labels(
    result: NDArray[np.generic], labels: Image, geometry: Geometry, places: Places, slabs: Sequence[slice], poll: Poll
) -> None:
    """Mark the labels of a map that have no voxel in a result, where the moving ones lie between its voxels.

    Each gets the fixed voxels that lie nearest to most of it, as many as hold its volume and one at least, but not a
    voxel that is another label's last one. What lies outside of the grid stays lost.

    Parameters
    ----------
    result
        Label map on `geometry`, changed in place.
    labels
        The moving label map.
    geometry
        The fixed grid.
    places
        Returns where the voxels of a slab of it lie in the moving grid, (i, j, k) indices ``(n, 3)``.
    slabs
        That cover it.
    poll
        Called now and then; may raise to stop.

    Examples
    --------
    >>> fine, coarse = Geometry((6, 1, 1)), Geometry((2, 1, 1), (3.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    >>> found = np.array([[[1, 1]]])
    >>> moving = Image(np.array([[[1, 1, 1, 1, 1, 2]]]), fine)
    >>> with_lost_labels(found, moving, coarse, lambda slab: np.array([[1.0, 0, 0], [4.0, 0, 0]]), [slice(0, 1)], int)
    >>> found.tolist()
    [[[1, 2]]]
    """
    lost = [label for label in np.setdiff1d(np.unique(labels.array), np.unique(result)).tolist() if label != 0]
    if not lost:
        return
    voxels = {label: _voxels(labels.array, label) for label in lost}
    near = _near(voxels, labels.geometry, geometry, places, slabs, poll)
    counts = dict(zip(*(each.tolist() for each in np.unique(result, return_counts=True)), strict=True))
    flat = result.reshape(-1)
    for label in lost:
        poll()
        wanted = max(1, round(len(voxels[label]) * labels.geometry.voxel_volume / geometry.voxel_volume))
        taken = 0
        for place in _best(voxels[label], *near[label], labels.geometry, geometry):
            before = flat[place].item()
            if before != 0 and counts[before] < 2:
                continue
            counts[before] -= 1
            flat[place] = label
            taken += 1
            if taken == wanted:
                break
        counts[label] = taken


def _voxels(array: NDArray[np.generic], label: int) -> NDArray[np.float64]:
    places = np.flatnonzero(array == label)
    places = places[:: max(1, len(places) // MOST_VOXELS)]
    k, j, i = np.unravel_index(places, array.shape)
    return np.stack([i, j, k], axis=-1).astype(np.float64)


def _near(
    voxels: dict[int, NDArray[np.float64]],
    moving: Geometry,
    geometry: Geometry,
    places: Places,
    slabs: Sequence[slice],
    poll: Poll,
) -> dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Return for each label the fixed voxels about it as flat indices, and where they lie in the moving grid."""
    margin = np.linalg.norm(geometry.spacing) / np.array(moving.spacing)
    found: dict[int, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {label: [] for label in voxels}
    plane = geometry.shape[1] * geometry.shape[2]
    for slab in slabs:
        poll()
        index = places(slab)
        for label, own in voxels.items():
            inside = np.all((index >= own.min(0) - margin) & (index <= own.max(0) + margin), axis=1)
            rows = np.flatnonzero(inside)
            found[label].append((rows + slab.start * plane, index[rows]))
    return {
        label: (np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))
        for label, parts in found.items()
    }


def _best(
    voxels: NDArray[np.float64],
    rows: NDArray[np.int64],
    index: NDArray[np.float64],
    moving: Geometry,
    geometry: Geometry,
) -> list[int]:
    """Return the fixed voxels, as flat indices, by how many moving voxels of a label lie nearest to them."""
    if not rows.size:
        return []
    spacing, limit = np.array(moving.spacing), REACH * float(np.linalg.norm(geometry.spacing))
    votes = np.zeros(len(rows), dtype=np.int64)
    for voxel in voxels:
        distance = np.linalg.norm((index - voxel) * spacing, axis=1)
        nearest = int(np.argmin(distance))
        if distance[nearest] <= limit:
            votes[nearest] += 1
    order = np.argsort(-votes, kind="stable")
    return [int(rows[n]) for n in order if votes[n] > 0]
