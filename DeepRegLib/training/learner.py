"""What every task of a training shares: its networks, the precision, the gradient, and the sums for the log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from DeepRegLib.training.config import Optimisation
from DeepRegLib.training.processes import Processes

# Bfloat16 is computed natively from this CUDA capability on.
BFLOAT16_CAPABILITY = (8, 0)


class Learner:
    """The networks of one process, and what was found of them since the last line of the log.

    Parameters
    ----------
    network
        What is trained, as the processes share it.
    judge
        The second network of the adversarial loss, or None.
    processes
        Where it computes.
    optimisation
        How.
    """

    def __init__(
        self, network: nn.Module, judge: nn.Module | None, processes: Processes, optimisation: Optimisation
    ) -> None:
        self.network, self.judge, self.processes, self.optimisation = network, judge, processes, optimisation
        self._totals: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def precision(self) -> torch.autocast | nullcontext[None]:
        """Return what the network is computed in: bfloat16 where it is wanted and native, float32 elsewhere."""
        device = self.processes.device
        wanted = self.optimisation.mixed_precision and device.type == "cuda"
        if wanted and torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY:
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def descend(self, found: Mapping[str, Tensor], weights: object) -> None:
        """Add the gradient of losses ``(B,)``, each times the attribute of that name of `weights`."""
        loss = torch.stack([getattr(weights, name) * value.mean() for name, value in found.items()]).sum()
        (loss / self.optimisation.accumulate).backward()
        self.add("loss", loss)
        for name, value in found.items():
            self.add(name, value.mean())

    def add(self, name: str, value: Tensor) -> None:
        """Sum up on the device what the next line of the log is the mean of."""
        self._totals[name] = self._totals.get(name, torch.zeros((), device=value.device)) + value.detach()
        self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the means since the last call, over all processes, and begin anew; empty if there are none."""
        if not self._totals:
            return {}
        names = list(self._totals)
        means = torch.stack([self._totals[name] / self._counts[name] for name in names])
        self._totals, self._counts = {}, {}
        return dict(zip(names, self.processes.mean(means).tolist(), strict=True))
