"""What a translation into another modality is judged by, one number a sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.networks.blocks import unit
from DeepRegLib.similarity.lncc import LNCC
from DeepRegLib.training.losses import VOLUME, similarity
from DeepRegLib.training.randomness import Randomness

# Width of the cubes of voxels over which a shift is chosen.
NEIGHBOURHOOD = 5
# Places of each level whose features are compared with each other.
PLACES = 128
# A cosine of 1 counts e**(1 / TEMPERATURE) times as much as one of 0 (Park et al. 2020).
TEMPERATURE = 0.07


def tolerant_difference(made: Tensor, target: Tensor, known: Tensor, tolerance: int) -> Tensor:
    """Return the mean absolute difference, where each place may take the target from a few voxels away.

    Registered pairs are off by a voxel here and there, and a network that is punished for that learns to blur. So of
    each place that target counts, among those shifted along one axis, which is nearest to it in its neighbourhood.

    Parameters
    ----------
    made, target
        Shape ``(B, 1, D, H, W)``.
    known
        Where both are known: 1, elsewhere 0, same shape.
    tolerance
        Largest shift in voxels.

    Returns
    -------
    Tensor
        Shape ``(B,)``.
    """
    padded = functional.pad(target, (tolerance,) * 6, mode="replicate") if tolerance else target
    d, h, w = target.shape[2:]
    smallest = None
    for shift in _shifts(tolerance):
        k, j, i = (tolerance + step for step in shift)
        difference = (made - padded[:, :, k : k + d, j : j + h, i : i + w]).abs()
        around = functional.avg_pool3d(difference, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)
        smallest = around if smallest is None else torch.minimum(smallest, around)
    if smallest is None:
        raise ValueError("no shift at all")
    return (smallest * known).sum((1, *VOLUME)) / known.sum((1, *VOLUME)).clamp(min=1)


def lost_contrast(made: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return 1 - LNCC of images ``(B, 1, D, H, W)`` where both are known, ``(B,)``."""
    return 1 - similarity(made[:, 0], LNCC(target[:, 0], known[:, 0]))


def patch_contrast(before: Sequence[Tensor], after: Sequence[Tensor], random: Randomness) -> Tensor:
    """Return how badly the features of places single them out after the translation, ``(B,)``.

    Parameters
    ----------
    before, after
        Features of each level of the image and of its translation, ``(B, C, d, h, w)``. Those of the image are what
        the others are to be: they get no gradient.
    random
        Draws the places.

    References
    ----------
    Park et al., "Contrastive learning for unpaired image-to-image translation", ECCV 2020, equation 3; the features of
    the encoder are compared as they are, without further layers behind them.
    """
    found = before[0].new_zeros(len(before[0]))
    for own, other in zip(before, after, strict=True):
        count = min(PLACES, own[0, 0].numel())
        places = random.order(own[0, 0].numel())[:, None, :count].expand(-1, own.shape[1], -1)
        first, second = (
            unit(part - part.mean(2, keepdim=True), 1)
            for part in (each.flatten(2).gather(2, places) for each in (own.detach().float(), other.float()))
        )
        cosines = torch.einsum("bcn,bcm->bnm", second, first) / TEMPERATURE
        right = torch.arange(count, device=cosines.device).expand(len(cosines), -1)
        found = found + functional.cross_entropy(cosines.movedim(2, 1), right, reduction="none").mean(1)
    return found / len(before)


def _shifts(tolerance: int) -> list[tuple[int, int, int]]:
    shifts = [(0, 0, 0)]
    for axis in range(3):
        for step in range(1, tolerance + 1):
            for sign in (-1, 1):
                shift = [0, 0, 0]
                shift[axis] = sign * step
                shifts.append((shift[0], shift[1], shift[2]))
    return shifts
