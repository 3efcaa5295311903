"""One atlas, one vote."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.monitoring import Poll
from DeepRegLib.segmentation.fusion.candidates import Candidates, winners


def fuse_by_majority(candidates: Candidates, poll: Poll) -> NDArray[np.integer]:
    """Return the label that most atlases have at each voxel; on a tie that of the atlas that comes first."""
    fused = candidates.unanimous()
    disputed = candidates.disputed()
    for slab in candidates.slabs():
        poll()
        where = disputed[slab]
        if where.any():
            weights = candidates.seen[:, slab][:, where].astype(np.float32)
            fused[slab][where] = winners(candidates.labels[:, slab][:, where], weights)
    return fused
