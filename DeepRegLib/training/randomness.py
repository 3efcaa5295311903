"""Random numbers of a batch, each sample's from a generator of its own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import torch
from torch import Tensor


def derived_seed(seed: int, *names: str | int) -> int:
    """Return a seed (63 bits) that depends on another one and on what it is for, the same on every machine."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class Randomness:
    """Draws for a batch of samples that do not depend on which samples share the batch.

    So the same samples come from one process or many, from large batches or accumulated small ones, and after a run was
    resumed. Other devices draw other numbers.

    Parameters
    ----------
    seeds
        One a sample.
    device
        Where the numbers are drawn.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.device = device
        self.hosts = [random.Random(seed) for seed in seeds]  # noqa: S311  # not for secrets
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self._generators)

    def normal(self, *shape: int) -> Tensor:
        """Draw from the standard normal distribution, shape ``(B, *shape)``."""
        return torch.stack([torch.randn(shape, generator=g, device=self.device) for g in self._generators])

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw evenly between two numbers, shape ``(B, *shape)``."""
        numbers = [torch.rand(shape, generator=g, device=self.device) for g in self._generators]
        return torch.stack(numbers).mul_(high - low).add_(low)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """Draw bools that are true with a probability, shape ``(B, *shape)``."""
        return self.uniform(0, 1, *shape) < probability

    def order(self, count: int) -> Tensor:
        """Draw the numbers below `count` in random order, shape ``(B, count)``, int64."""
        return self.uniform(0, 1, count).argsort(1)
