"""A network of one image, asked window by window; where windows overlap, what lies in their middle counts most."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.errors import ModelError
from DeepRegLib.models.precision import laid_out, precisions
from DeepRegLib.monitoring import Poll, never_cancel

# Share of a window by which two neighbours overlap.
OVERLAP = 0.5
# Standard deviation of the weights, as a share of the window (Isensee et al. 2021).
SPREAD = 1 / 8
LEAST_WEIGHT = 1e-3
MIRRORINGS = tuple(axes for count in range(4) for axes in itertools.combinations((-3, -2, -1), count))

Step = Callable[[float], None]


def ignore(fraction: float) -> None:
    """Be told of progress, and do nothing."""
    del fraction


@torch.no_grad()
def probabilities(
    network: nn.Module,
    image: Tensor,
    size: tuple[int, int, int],
    *,
    mirror: bool = False,
    on_step: Step = ignore,
    poll: Poll = never_cancel,
) -> Tensor:
    """Return how probable each class is at each voxel.

    Parameters
    ----------
    network
        Takes ``(1, 1, d, h, w)`` and gives logits ``(1, C, d, h, w)``; in evaluation mode.
    image
        Shape ``(D, H, W)``, 0 to 1, on the network's device.
    size
        Shape ``(d, h, w)`` of a window, multiples of what the network needs.
    mirror
        Ask it eight times, for the image mirrored along each axis and all of them, and take the mean. Only for networks
        that do not tell left from right.
    on_step
        Called with the fraction done; may raise.
    poll
        Called before each window; may raise to stop.

    Returns
    -------
    Tensor
        Shape ``(C, D, H, W)``, float32, sum 1 over the classes.

    Raises
    ------
    ModelError
        If the network gives something of another shape, or numbers that are not finite.
    """
    flips = MIRRORINGS if mirror else MIRRORINGS[:1]

    def answer(window: Tensor) -> Tensor:
        mean = torch.zeros((), device=window.device)
        for axes in flips:
            poll()
            mean = mean + answered(network, window.flip(axes)).softmax(1).flip(axes) / len(flips)
        return mean

    return windowed(answer, image, size, on_step=on_step, poll=poll)


@torch.no_grad()
def windowed(
    answer: Callable[[Tensor], Tensor],
    image: Tensor,
    size: tuple[int, int, int],
    *,
    on_step: Step = ignore,
    poll: Poll = never_cancel,
) -> Tensor:
    """Return the weighted mean of the answers to overlapping windows, ``(C, D, H, W)``; see `probabilities`."""
    shape = (image.shape[0], image.shape[1], image.shape[2])
    padded = _padded(image, size)
    weight = _weights(size, image.device)
    places = list(_places(padded.shape, size))
    total, weights = None, torch.zeros(padded.shape, device=image.device)
    for number, place in enumerate(places):
        poll()
        found = answer(padded[place][None, None])[0]
        if total is None:
            total = torch.zeros(len(found), *padded.shape, device=image.device)
        total[(slice(None), *place)] += found * weight
        weights[place] += weight
        on_step((number + 1) / len(places))
    if total is None:
        raise ValueError("an image without a voxel")
    whole = tuple(slice(before, before + n) for before, n in zip(_before(shape, size), shape, strict=True))
    return (total / weights)[(slice(None), *whole)]


def answered(network: nn.Module, window: Tensor) -> Tensor:
    """Return a network's answer in float32: computed in half precision where that suffices and is quicker.

    Raises
    ------
    ModelError
        If the answer has not the size of the window, or is not finite.
    """
    for precision in precisions(window.device):
        with precision():
            found = network(laid_out(window))
        if not isinstance(found, Tensor) or found.ndim != 5 or found.shape[2:] != window.shape[2:]:
            raise ModelError("The network's answer has not the size of its image.", "Use another model.")
        if torch.isfinite(found).all():
            return found.float()
    raise ModelError("The network gave numbers that are not finite.", "Use another model.")


def _before(shape: Sequence[int], size: Sequence[int]) -> list[int]:
    """Return how many voxels are added in front of an image that is smaller than a window."""
    return [max(side - n, 0) // 2 for side, n in zip(size, shape, strict=True)]


def _padded(image: Tensor, size: Sequence[int]) -> Tensor:
    before = _before(image.shape, size)
    after = [max(side - n, 0) - room for side, n, room in zip(size, image.shape, before, strict=True)]
    pads = [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]
    return functional.pad(image, pads)


def _places(shape: Sequence[int], size: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield where windows lie: spread evenly, the outermost at the border."""
    starts = []
    for n, side in zip(shape, size, strict=True):
        count = 1 + math.ceil((n - side) / (side * (1 - OVERLAP)))
        starts.append([round(number * (n - side) / max(count - 1, 1)) for number in range(count)])
    for firsts in itertools.product(*starts):
        yield tuple(slice(first, first + side) for first, side in zip(firsts, size, strict=True))


def _weights(size: Sequence[int], device: torch.device) -> Tensor:
    """Return the Gaussian weights of a window's voxels, 1 in the middle."""
    axes = []
    for side in size:
        place = (torch.arange(side, device=device) - (side - 1) / 2) / (SPREAD * side)
        axes.append((-place.square() / 2).exp())
    return torch.einsum("k,j,i->kji", *axes).clamp(min=LEAST_WEIGHT)
