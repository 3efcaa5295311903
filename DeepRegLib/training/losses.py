"""What a predicted field is judged by, one number a sample; all on the grid of the field but the images' similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from DeepRegLib.networks.fields import compose, displace, warp
from DeepRegLib.optimization.field_grid import RATIO
from DeepRegLib.similarity.lncc import LNCC
from DeepRegLib.similarity.mind import MIND
from DeepRegLib.tables import require
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.synthesis import Pairs

VOLUME = (-3, -2, -1)
# A label of fewer nodes is not compared: its overlap says more about the grid than about the field.
LEAST_NODES = 4.0
TINY = 1e-6


@dataclass(frozen=True)
class Losses:
    """The weight of each loss; what has the weight 0 is not computed.

    Parameters
    ----------
    labels
        1 - soft Dice of the warped labels.
    endpoint
        Mean distance from the true field in voxels of the images, where it is known.
    smoothness
        Diffusion: mean squared slope of the field.
    inverse
        Mean squared slope of what is left of there and back; the network then runs in both directions.
    lncc
        1 - LNCC of the images, for pairs of one contrast.
    mind
        Mean squared difference of MIND features, for pairs of any contrasts.
    teacher
        Mean distance in voxels of the images from the field of a model that is trained already (``network.teacher``):
        distillation (Hinton et al. 2015).
    adversarial
        What a second network holds against the warped image; see `training/judge.py`.
    compared
        Labels compared at a time, drawn anew for each pair.
    """

    labels: float = 1.0
    endpoint: float = 0.1
    smoothness: float = 0.1
    inverse: float = 0.0
    lncc: float = 0.0
    mind: float = 0.0
    teacher: float = 0.0
    adversarial: float = 0.0
    compared: int = 16

    def __post_init__(self) -> None:
        for name in (
            "labels",
            "endpoint",
            "smoothness",
            "inverse",
            "lncc",
            "mind",
            "teacher",
            "adversarial",
        ):
            require(getattr(self, name) >= 0, f"losses.{name}", getattr(self, name), "0 or more")
        teaches = self.labels + self.endpoint + self.lncc + self.mind + self.teacher > 0
        require(teaches, "losses.labels", self.labels, "a weight to labels, endpoint, lncc, mind or teacher")
        require(1 <= self.compared <= 256, "losses.compared", self.compared, "1 to 256")


def field_losses(
    pairs: Pairs, forward: Tensor, backward: Tensor | None, random: Randomness, losses: Losses
) -> dict[str, Tensor]:
    """Compute what can be said of a predicted field without a second network.

    Parameters
    ----------
    pairs
        The batch.
    forward
        Fixed to moving, shape ``(B, 3, d, h, w)`` in voxels of the field's grid.
    backward
        Moving to fixed, or None.
    random
        Draws the labels that are compared.
    losses
        Weights; those of 0 are left out.

    Returns
    -------
    dict
        By name, not weighted, each ``(B,)``.
    """
    visible = seen_in_both(pairs.fixed_known, pairs.moving_known, forward if pairs.field is None else pairs.field)
    found = {}
    if losses.labels > 0 and pairs.fixed_labels is not None and pairs.moving_labels is not None:
        chosen = random.order(pairs.labels - 1)[:, : losses.compared] + 1
        fixed, moving = (soft_labels(part, chosen, pairs.labels) for part in (pairs.fixed_labels, pairs.moving_labels))
        found["labels"] = 1 - soft_dice(fixed, displace(moving, forward), visible)
        if backward is not None:
            seen_back = seen_in_both(pairs.moving_known, pairs.fixed_known, backward)
            found["labels"] = (found["labels"] + 1 - soft_dice(moving, displace(fixed, backward), seen_back)) / 2
    if losses.endpoint > 0 and pairs.field is not None:
        found["endpoint"] = endpoint_error(forward, pairs.field, visible)
    if losses.smoothness > 0:
        found["smoothness"] = squared_slope(forward)
    if losses.inverse > 0 and backward is not None:
        found["inverse"] = inverse_inconsistency(forward, backward)
    return found | _image_losses(pairs, forward, visible, losses)


def _image_losses(pairs: Pairs, forward: Tensor, visible: Tensor, losses: Losses) -> dict[str, Tensor]:
    if losses.lncc == 0 and losses.mind == 0:
        return {}
    d, h, w = pairs.fixed.shape[2:]
    weight = functional.interpolate(visible, scale_factor=RATIO, mode="nearest")[:, 0, :d, :h, :w]
    fixed, warped = pairs.fixed[:, 0], warp(pairs.moving, forward)[:, 0]
    found = {}
    if losses.lncc > 0:
        found["lncc"] = 1 - similarity(warped, LNCC(fixed, weight))
    if losses.mind > 0:
        found["mind"] = -similarity(warped, MIND(fixed, weight))
    return found


def seen_in_both(own: Tensor, other: Tensor, field: Tensor) -> Tensor:
    """Return 1 at the nodes ``(B, 1, d, h, w)`` that are known and taken to known ones by a field, without gradient."""
    return own * (displace(other, field.detach(), padding="zeros") > 0.5)


def soft_labels(labels: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Return the share of the eight voxels about each node that have a label.

    Parameters
    ----------
    labels
        Shape ``(B, D, H, W)``, whole numbers below `count`.
    chosen
        The labels wanted, shape ``(B, C)``.
    count
        Number of labels.

    Returns
    -------
    Tensor
        Shape ``(B, C, d, h, w)``, float32.
    """
    batch, classes = chosen.shape
    odd = [n % RATIO for n in labels.shape[1:]]
    if any(odd):
        padded = functional.pad(labels[:, None].float(), (0, odd[2], 0, odd[1], 0, odd[0]), mode="replicate")
        labels = padded[:, 0].to(labels.dtype)
    d, h, w = (n // RATIO for n in labels.shape[1:])
    # All other labels share one more channel, which is dropped.
    channel = chosen.new_full((batch, count), classes)
    channel.scatter_(1, chosen, torch.arange(classes, device=chosen.device).expand(batch, -1))
    cells = channel.gather(1, labels.long().flatten(1)).view(batch, d, RATIO, h, RATIO, w, RATIO)
    cells = cells.permute(0, 2, 4, 6, 1, 3, 5).flatten(4).reshape(batch, RATIO**3, d * h * w)
    shares = torch.zeros(batch, classes + 1, d * h * w, device=labels.device)
    shares.scatter_add_(1, cells, shares.new_full((1, 1, 1), 1 / RATIO**3).expand_as(cells))
    return shares[:, :classes].reshape(batch, classes, d, h, w)


def soft_dice(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over the labels of `label_dice`, shape ``(B,)``; 0 where there are none."""
    scores, counts = label_dice(a, b, weight)
    return (scores * counts).sum(1) / counts.sum(1).clamp(min=1)


def label_dice(a: Tensor, b: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compare soft labels: ``2 <a, b> / (<a, a> + <b, b>)`` (Milletari et al. 2016).

    Parameters
    ----------
    a, b
        Shape ``(B, C, d, h, w)``, 0 to 1.
    weight
        Shape ``(B, 1, d, h, w)``.

    Returns
    -------
    scores, counts
        Shape ``(B, C)``; the second is 1 where there is enough of a label in `a`, else 0.
    """
    both, own, other = ((weight * x * y).sum(VOLUME) for x, y in ((a, b), (a, a), (b, b)))
    return 2 * both / (own + other).clamp(min=TINY), (own > LEAST_NODES).float()


def endpoint_error(field: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the mean distance of two fields ``(B, 3, d, h, w)`` in voxels of the images, shape ``(B,)``."""
    distance = ((field - truth).square().sum(1, keepdim=True) + TINY).sqrt() * RATIO
    return (distance * weight).sum((1, *VOLUME)) / weight.sum((1, *VOLUME)).clamp(min=1)


def squared_slope(field: Tensor) -> Tensor:
    """Return the mean over the nodes of the squared differences between neighbours, all axes added up, ``(B,)``."""
    return sum((field.diff(dim=dim).square().sum(1).mean(VOLUME) for dim in VOLUME), field.new_zeros(len(field)))


def inverse_inconsistency(forward: Tensor, backward: Tensor) -> Tensor:
    """Return the mean squared slope of the way there and back (GradICON, Tian et al. 2023), ``(B,)``.

    Penalising the slope of what ought to be nothing, not its size, leaves folds no room without holding the field back.
    """
    return squared_slope(compose(backward, forward))


def similarity(warped: Tensor, metric: LNCC | MIND) -> Tensor:
    """Return what a metric of the library says of warped images ``(B, D, H, W)``, with its own gradient, ``(B,)``."""
    values: Tensor = _Similarity.apply(warped, metric)
    return values


class _Similarity(torch.autograd.Function):
    """A metric whose analytic gradient is known to autograd."""

    @staticmethod
    def forward(ctx: Any, warped: Tensor, metric: LNCC | MIND) -> Tensor:
        value, gradient = metric.value_and_gradient(warped)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_value: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return by_value[:, None, None, None] * gradient, None
