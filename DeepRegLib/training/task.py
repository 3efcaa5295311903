"""What a network learns to do: one task a file, of this one shape; the loop, its state and its journal are shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn

from DeepRegLib.training.learner import Learner

TRAINING, VALIDATION = "training", "validation"


class Task(Protocol):
    """Makes batches of a configuration, judges what a network says of them, and measures it on others."""

    def learn(self, learner: Learner, step: int, numbers: Sequence[int], size: tuple[int, int, int]) -> None:
        """Add the gradient of the losses of one batch.

        Parameters
        ----------
        learner
            Whose network is asked.
        step
            Of the training.
        numbers
            Of the samples: the same number gives the same sample, whatever else is in the batch.
        size
            Voxels of the images along i, j, k.
        """

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure a network, in evaluation mode, on what it is never trained on; empty if nothing is to be measured."""
