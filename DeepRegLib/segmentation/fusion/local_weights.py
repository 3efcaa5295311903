"""Votes weighted by how alike scan and atlas are around each voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.monitoring import Poll
from DeepRegLib.segmentation.fusion.candidates import Candidates, winners
from DeepRegLib.segmentation.fusion.windows import Windows, correlation, padded_slab

RADIUS = 2
SHARPNESS = 4  # how much more a better resemblance counts
LEAST = 1e-3  # of an atlas that resembles the scan nowhere, so that a voxel is not left without a vote


def fuse_by_local_weights(candidates: Candidates, poll: Poll) -> NDArray[np.integer]:
    """Return the label of most weight, an atlas weighing its correlation with the scan in a window to a power.

    References
    ----------
    Artaechevarria et al., "Combination strategies in multi-atlas image segmentation", TMI 2009.
    """
    fused = candidates.unanimous()
    disputed = candidates.disputed()
    for slab in candidates.slabs():
        poll()
        where = disputed[slab]
        if where.any():
            votes = candidates.labels[:, slab][:, where]
            fused[slab][where] = winners(votes, _weights(candidates, slab, where, poll))
    return fused


def _weights(candidates: Candidates, slab: slice, where: NDArray[np.bool_], poll: Poll) -> NDArray[np.float64]:
    target = Windows(padded_slab(candidates.target, slab, RADIUS), RADIUS)
    weights = []
    for image, seen in zip(candidates.images, candidates.seen, strict=True):
        poll()
        alike = correlation(target, Windows(padded_slab(image, slab, RADIUS), RADIUS), (0, 0, 0), 0)[where]
        weights.append((np.maximum(alike, 0) ** SHARPNESS + LEAST) * seen[slab][where])
    return np.stack(weights)
