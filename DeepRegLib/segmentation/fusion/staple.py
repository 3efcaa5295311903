"""STAPLE: how reliable each atlas is, and the labels, estimated together."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.monitoring import Poll
from DeepRegLib.segmentation.fusion.candidates import Candidates
from DeepRegLib.segmentation.fusion.majority import fuse_by_majority

MOST_LABELS = 254
ITERATIONS = 50
LEAST_CHANGE = 1e-5


def fuse_by_staple(candidates: Candidates, poll: Poll) -> NDArray[np.integer]:
    """Return the labels of multi-label STAPLE, by SimpleITK; where it is undecided, those of the majority.

    Outside of what an atlas shows it counts as saying what the majority says. With more than 254 labels, or one atlas,
    the majority decides everywhere.

    References
    ----------
    Warfield et al., "Simultaneous truth and performance level estimation (STAPLE)", TMI 2004; for several labels
    Rohlfing et al., "Performance-based classifier combination in atlas-based image segmentation using
    expectation-maximization parameter estimation", TMI 2004.
    """
    majority = fuse_by_majority(candidates, poll)
    known = np.unique(candidates.labels)
    if len(known) > MOST_LABELS or len(candidates.labels) < 2:
        return majority
    voters = []
    for labels, seen in zip(candidates.labels, candidates.seen, strict=True):
        poll()
        said = np.searchsorted(known, np.where(seen, labels, majority)).astype(np.uint8)
        voters.append(sitk.GetImageFromArray(said))
    staple = sitk.MultiLabelSTAPLEImageFilter()
    staple.SetLabelForUndecidedPixels(len(known))
    staple.SetMaximumNumberOfIterations(ITERATIONS)
    staple.SetTerminationUpdateThreshold(LEAST_CHANGE)
    decided = sitk.GetArrayFromImage(staple.Execute(voters)).astype(np.int64)
    poll()
    undecided = decided >= len(known)
    fused: NDArray[np.integer] = known[np.where(undecided, 0, decided)]
    return np.where(undecided, majority, fused)
