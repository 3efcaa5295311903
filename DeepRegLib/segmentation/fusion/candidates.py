"""What the atlases say of a scan in the box in which any of them has a segment, and how votes are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image

MARGIN = 6  # voxels around the box: what windows and patches of the fusions reach
SLAB_VOXELS = 1 << 19
SAME_SCORE = 1e-9

Labels = NDArray[np.integer]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Scan and registered atlases in a box of the scan's grid.

    Parameters
    ----------
    box
        Where the box lies in the scan's array.
    target
        float32 ``(k, j, i)``: the scan.
    images
        float32 ``(n, k, j, i)``: the atlases' scans brought onto it.
    labels
        Whole numbers ``(n, k, j, i)``: their labels.
    seen
        bool ``(n, k, j, i)``: where each was scanned; elsewhere it has no say.
    """

    box: tuple[slice, slice, slice]
    target: Floats
    images: Floats
    labels: Labels
    seen: NDArray[np.bool_]

    def disputed(self) -> NDArray[np.bool_]:
        """Return where the atlases that have a say do not agree, bool ``(k, j, i)``."""
        agreed = self.unanimous()
        return np.any((self.labels != agreed) & self.seen, axis=0)

    def unanimous(self) -> Labels:
        """Return the label of the first atlas that has a say; 0 where none has."""
        found = np.zeros_like(self.labels[0])
        missing = np.ones(found.shape, dtype=np.bool_)
        for labels, seen in zip(self.labels, self.seen, strict=True):
            found = np.where(missing & seen, labels, found)
            missing &= ~seen
        return found

    def slabs(self) -> list[slice]:
        """Return slices along k of few enough voxels that a fusion's working arrays stay small."""
        thickness = max(1, SLAB_VOXELS // (self.target.shape[1] * self.target.shape[2]))
        return [slice(k, min(k + thickness, len(self.target))) for k in range(0, len(self.target), thickness)]


def gathered(scan: Image, images: Sequence[Image], labels: Sequence[Image], seen: Sequence[Image]) -> Candidates | None:
    """Return the candidates of atlases that were brought onto a scan's grid; None where none has a segment.

    Parameters
    ----------
    scan
        The scan.
    images, labels, seen
        Scan, label map and field of view of each atlas on its grid.
    """
    spans = [_span([each.array for each in labels], axis) for axis in range(3)]
    if not all(spans):
        return None
    k, j, i = (slice(max(low - MARGIN, 0), high + MARGIN) for low, high in spans)
    box = (k, j, i)
    common = np.result_type(*(each.array.dtype for each in labels))
    return Candidates(
        box=box,
        target=_finite(scan.array[box]),
        images=np.stack([_finite(each.array[box]) for each in images]),
        labels=np.stack([each.array[box].astype(common) for each in labels]),
        seen=np.stack([each.array[box].astype(np.bool_) for each in seen]),
    )


def _span(labels: Sequence[NDArray[np.generic]], axis: int) -> tuple[int, ...]:
    others = tuple({0, 1, 2} - {axis})
    found = np.flatnonzero(np.logical_or.reduce([array.any(axis=others) for array in labels]))
    return (int(found[0]), int(found[-1]) + 1) if found.size else ()


def _finite(array: NDArray[np.generic]) -> Floats:
    values = array.astype(np.float32)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0, copy=False)


def winners(votes: Labels, weights: NDArray[np.floating]) -> Labels:
    """Return the label of most weight.

    Parameters
    ----------
    votes
        Whole numbers ``(n, voxels)``: the label that each atlas votes for.
    weights
        ``(n, voxels)``: how much its vote counts; may be negative; at 0 it has no say.

    Returns
    -------
    ndarray
        ``(voxels,)``; on a tie the label of the atlas that comes first.
    """
    best = np.full(votes.shape[1], -np.inf)
    found = votes[0].copy()
    for candidate, weight in zip(votes, weights, strict=True):
        score = np.sum(np.where(votes == candidate, weights, 0.0), axis=0)
        wins = (score > best + SAME_SCORE) & (weight != 0)
        found[wins] = candidate[wins]
        best[wins] = score[wins]
    return found


def agreement(candidates: Candidates, fused: Labels) -> Floats:
    """Return the share of the atlases that have a say and say what was fused, float32 ``(k, j, i)``."""
    heard = np.count_nonzero(candidates.seen, axis=0)
    same = np.count_nonzero((candidates.labels == fused) & candidates.seen, axis=0)
    return np.divide(same, heard, out=np.zeros(heard.shape, np.float32), where=heard > 0, dtype=np.float32)
