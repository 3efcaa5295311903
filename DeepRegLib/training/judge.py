"""A second network that is shown aligned and warped images, and learns to tell them apart patch by patch."""

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
    """Say of each patch how well two images seem to be aligned there.

    Takes a fixed and a warped image ``(B, 2, d, h, w)`` and returns logits ``(B, 1, d / 8, h / 8, w / 8)``, rounded
    up.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, outgoing in zip((2, *CHANNELS), CHANNELS, strict=False):
            layers += [nn.Conv3d(incoming, outgoing, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv3d(CHANNELS[-1], 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logit of each patch; large means aligned."""
        logits: Tensor = self.layers(images)
        return logits


def shown_images(pairs: Pairs, field: Tensor, visible: Tensor) -> Tensor:
    """Return the fixed and the warped image where both can be seen, ``(B, 2, d, h, w)``."""
    return torch.cat([to_half(pairs.fixed), displace(to_half(pairs.moving), field)], 1) * visible


def objection(judge: Judge, shown: Tensor) -> Tensor:
    """Return what the judge holds against warped images, ``(B,)``; the judge itself gets no gradient.

    As the adversarial similarity of Fan et al. 2019 (Med Image Anal 58:101545), with the logistic loss that does not
    saturate.
    """
    constant = {name: parameter.detach() for name, parameter in judge.named_parameters()}
    return functional.softplus(-functional_call(judge, constant, (shown,))).mean((1, 2, 3, 4))


def verdict_loss(judge: nn.Module, aligned: Tensor, warped: Tensor) -> Tensor:
    """Return how wrong the judge is about images that are aligned by the true field and by the network, ``(B,)``."""
    logits = judge(torch.cat([aligned, warped.detach()]))
    right, wrong = functional.softplus(-logits[: len(aligned)]), functional.softplus(logits[len(aligned) :])
    return (right.mean((1, 2, 3, 4)) + wrong.mean((1, 2, 3, 4))) / 2
