"""What the features of two images are judged by: whether those of one place single it out in the other image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.networks.fields import RATIO
from DeepRegLib.training.losses import seen_in_both
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.synthesis import Pairs
from DeepRegLib.transforms.sampling import sample

# Of the softmax over the places: the smaller, the more the nearest others count.
TEMPERATURE = 0.07
# In nodes, along each axis, from a place drawn at random to the others it is told apart from.
REACH = 6
# More than any node is worth by itself.
_ANY_ELSE = 4


def place_cosines(pairs: Pairs, fixed: Tensor, moving: Tensor, random: Randomness, count: int) -> Tensor:
    """Compare the features of places of the fixed image with those of their partners in the moving one.

    Parameters
    ----------
    pairs
        The batch, with the true field.
    fixed, moving
        Unit features of both images, ``(B, C, D, H, W)``.
    random
        Draws the places: nodes of the field that both images show, anatomy first where it is labelled, and near each
        other. Of places all over the image, most are told apart by how far they lie from its border, and that is what a
        network learned: its features hardly changed from a voxel to the next.
    count
        How many places an image.

    Returns
    -------
    Tensor
        ``(B, count, count)``: cosines of place n of the fixed image with the partners of all places in the moving one.

    Raises
    ------
    ValueError
        If the field of the pairs is not known.
    """
    if pairs.field is None:
        raise ValueError("pairs whose field is not known")
    visible = seen_in_both(pairs.fixed_known, pairs.moving_known, pairs.field)
    chosen = _places(visible, pairs.fixed_labels, random, count)
    nodes = _axes(chosen, pairs.field.shape[2:]).transpose(0, 1).float()  # (B, 3, count)
    moved = nodes + pairs.field.flatten(2).gather(2, chosen[:, None].expand(-1, 3, -1))
    own, partner = (
        # A node lies in the middle of its voxels.
        functional.normalize(sample(features, _index(RATIO * at + (RATIO - 1) / 2))[:, :, 0, 0], dim=1)
        for features, at in ((fixed, nodes), (moving, moved))
    )
    return own.transpose(1, 2) @ partner


def contrast_loss(cosines: Tensor) -> Tensor:
    """Return how badly places single each other out, in both directions: cross entropy, ``(B,)``.

    InfoNCE (van den Oord et al. 2018), between images of one anatomy in two contrasts (Dey et al. 2025, anatomix).

    Parameters
    ----------
    cosines
        As `place_cosines` returns them.
    """
    wanted = torch.arange(cosines.shape[1], device=cosines.device).expand(len(cosines), -1)
    directions = (cosines, cosines.transpose(1, 2))
    losses = [functional.cross_entropy(way / TEMPERATURE, wanted, reduction="none").mean(1) for way in directions]
    return (losses[0] + losses[1]) / 2


def singled_out(cosines: Tensor) -> Tensor:
    """Return the share of places whose features are nearest to those of their own partner, ``(B,)``."""
    wanted = torch.arange(cosines.shape[1], device=cosines.device)
    return (cosines.argmax(2) == wanted).float().mean(1)


def _places(visible: Tensor, labels: Tensor | None, random: Randomness, count: int) -> Tensor:
    """Draw the numbers of nodes, ``(B, count)``, in the order of memory; those near the first before all others."""
    worth = visible
    if labels is not None:
        anatomy = functional.interpolate((labels > 0).float()[:, None], size=visible.shape[2:])
        worth = worth * (1 + anatomy)  # air looks alike everywhere
    worth = worth.flatten(1)
    worth = worth + random.uniform(0, 1, worth.shape[1])
    nodes = _axes(torch.arange(worth.shape[1], device=worth.device), visible.shape[2:])
    first = nodes[:, worth.argmax(1)]  # (3, B)
    near = (nodes[:, None] - first[:, :, None]).abs().amax(0) <= REACH
    worth = worth + _ANY_ELSE * near * visible.flatten(1)
    return worth.topk(min(count, worth.shape[1]), 1).indices


def _axes(numbers: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the x, y and z of nodes by their numbers in the order of memory, ``(3, ...)``."""
    _, height, width = shape
    return torch.stack([numbers % width, numbers // width % height, numbers // (width * height)])


def _index(places: Tensor) -> Tensor:
    """Turn voxel indices ``(B, 3, count)`` into what `sample` looks up, ``(B, 1, 1, count, 3)``."""
    return places.transpose(1, 2)[:, None, None]
