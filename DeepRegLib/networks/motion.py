"""A recurrent network that says where motion will be from where it was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from DeepRegLib.errors import InputError
from DeepRegLib.networks.blocks import require

LEAST_SCALE = 1e-6


class MotionNet(nn.Module):
    """Scores of the components of a motion, the next ones predicted from those seen.

    A long short-term memory (Hochreiter and Schmidhuber 1997), or gated recurrent units (Cho et al. 2014), reads the
    scores since the beginning and their changes, relative to the last and to how far they spread; a linear layer gives
    the next ones, relative likewise. So neither the unit nor where zero lies matters.

    Shapes: scores at even times ``(B, n, components)`` -> the next ``(B, ahead, components)``, same unit. By default
    20,382 parameters.

    Parameters
    ----------
    components
        Of the motion.
    hidden
        Width of the memory.
    ahead
        How many scores are predicted at once.
    gated
        Gated recurrent units in place of the long short-term memory.
    """

    def __init__(self, components: int = 3, hidden: int = 64, ahead: int = 10, gated: bool = False) -> None:
        require(1 <= components <= 32, "components", components, "1 to 32")
        require(1 <= hidden <= 1024, "hidden", hidden, "1 to 1024")
        require(1 <= ahead <= 1000, "ahead", ahead, "1 to 1000")
        super().__init__()
        self.components, self.ahead = components, ahead
        self.multiple = 1
        memory = nn.GRU if gated else nn.LSTM
        self.memory = memory(2 * components, hidden, batch_first=True)
        self.answer = nn.Linear(hidden, ahead * components)

    def forward(self, scores: Tensor) -> Tensor:
        """Return the next scores ``(B, ahead, components)``, float32."""
        if scores.ndim != 3 or scores.shape[1] < 2 or scores.shape[2] != self.components:
            raise InputError(
                f"The network takes scores (B, n, {self.components}), not {tuple(scores.shape)}.", "Give two or more."
            )
        scores = scores.float()
        last = scores[:, -1:]
        scale = motion_scale(scores)
        relative = (scores - last) / scale
        changes = torch.cat([torch.zeros_like(last), relative.diff(dim=1)], 1)
        said, _ = self.memory(torch.cat([relative, changes], 2))
        return last + scale * self.answer(said[:, -1]).unflatten(1, (self.ahead, self.components)).float()


def motion_scale(scores: Tensor) -> Tensor:
    """Return how far scores ``(B, n, c)`` spread about their mean, ``(B, 1, 1)``."""
    spread = (scores - scores.mean(1, keepdim=True)).square().sum(2, keepdim=True).mean(1, keepdim=True)
    return spread.sqrt().clamp(min=LEAST_SCALE)
