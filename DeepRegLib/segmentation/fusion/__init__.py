"""The labels of several atlases made into one: one fusion a file, each told which voxels are in dispute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.segmentation.fusion.candidates import Candidates, agreement, gathered
from DeepRegLib.segmentation.fusion.joint import fuse_jointly
from DeepRegLib.segmentation.fusion.local_weights import fuse_by_local_weights
from DeepRegLib.segmentation.fusion.majority import fuse_by_majority
from DeepRegLib.segmentation.fusion.staple import fuse_by_staple
from DeepRegLib.segmentation.request import JOINT, LOCAL, MAJORITY, STAPLE

Fusion = Callable[[Candidates, Poll], NDArray[np.integer]]

FUSED_BY: Mapping[str, Fusion] = MappingProxyType(
    {MAJORITY: fuse_by_majority, LOCAL: fuse_by_local_weights, JOINT: fuse_jointly, STAPLE: fuse_by_staple}
)

__all__ = ["FUSED_BY", "Candidates", "agreement", "fuse", "gathered"]


def fuse(candidates: Candidates, fusion: str, *, poll: Poll = never_cancel) -> NDArray[np.integer]:
    """Return the fused labels ``(k, j, i)`` of candidates; `fusion` is one of `FUSED_BY`."""
    return FUSED_BY[fusion](candidates, poll)
