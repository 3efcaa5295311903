"""A second network that is shown true images and what another one made, and learns to tell them apart by patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from DeepRegLib.networks.fields import displace, to_half
from DeepRegLib.training.synthesis import Pairs

CHANNELS = (16, 32, 64)
SLOPE = 0.2


class Judge(nn.Module):
    """Say of each patch how true images seem to be there: two that are aligned, or one of a modality.

    Takes images ``(B, shown, d, h, w)`` and returns logits ``(B, 1, d / 8, h / 8, w / 8)``, rounded up.

    Parameters
    ----------
    shown
        Images it sees together: a fixed and a warped one, a scan and its translation, or a translation alone.
    """

    def __init__(self, shown: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, outgoing in zip((shown, *CHANNELS), CHANNELS, strict=False):
            layers += [nn.Conv3d(incoming, outgoing, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv3d(CHANNELS[-1], 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logit of each patch; large means true."""
        logits: Tensor = self.layers(images)
        return logits


def shown_images(pairs: Pairs, field: Tensor, visible: Tensor) -> Tensor:
    """Return the fixed and the warped image where both can be seen, ``(B, 2, d, h, w)``."""
    return torch.cat([to_half(pairs.fixed), displace(to_half(pairs.moving), field)], 1) * visible


def own_judge(judge: nn.Module) -> Judge:
    """Return the judge itself, not as the processes share it: there it gets no gradient."""
    own = getattr(judge, "module", judge)
    if not isinstance(own, Judge):
        raise TypeError("another network than the judge")
    return own


def objection(judge: Judge, shown: Tensor) -> Tensor:
    """Return what the judge holds against images that were made, ``(B,)``; the judge itself gets no gradient.

    As the adversarial similarity of Fan et al. 2019 (Med Image Anal 58:101545), with the logistic loss that does not
    saturate.
    """
    constant = {name: parameter.detach() for name, parameter in judge.named_parameters()}
    return functional.softplus(-functional_call(judge, constant, (shown,))).mean((1, 2, 3, 4))


def verdict_loss(judge: nn.Module, true: Tensor, made: Tensor) -> Tensor:
    """Return how wrong the judge is about true images and those that a network made, ``(B,)``."""
    logits = judge(torch.cat([true, made.detach()]))
    right, wrong = functional.softplus(-logits[: len(true)]), functional.softplus(logits[len(true) :])
    return (right.mean((1, 2, 3, 4)) + wrong.mean((1, 2, 3, 4))) / 2
