"""The task ``motion``: a recurrent network that predicts the scores of a motion from those seen."""

from __future__ import annotations

import random as host_random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.motion.tables import PERCENT, ScoredSeries, read_collection
from DeepRegLib.motion.traces import made_trace, varied
from DeepRegLib.networks.motion import motion_scale
from DeepRegLib.training.config import TrainingConfig
from DeepRegLib.training.learner import Learner
from DeepRegLib.training.processes import Processes
from DeepRegLib.training.randomness import derived_seed
from DeepRegLib.training.task import TRAINING, VALIDATION

Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Weights:
    absolute: float = 1.0


class MotionTask:
    """Traces made at random, and those of a user's series; the folder that the configuration names is read at once.

    Raises
    ------
    InputError
        If the folder cannot be used.
    """

    def __init__(self, config: TrainingConfig, processes: Processes) -> None:
        self._config, self._device = config, processes.device
        arguments = config.network.arguments
        self._components = int(arguments.get("components", 3))
        self._ahead = int(arguments.get("ahead", 10))
        self._series = read_collection(config.sources.folder) if config.sources.folder else []

    def learn(self, learner: Learner, step: int, numbers: Sequence[int], size: tuple[int, int, int]) -> None:
        """Add the gradient of the absolute difference from what came, relative to how far scores spread."""
        del step, size
        seen, coming = self._draw(TRAINING, numbers)
        said = learner.network(seen)
        scale = motion_scale(seen)
        found = functional.smooth_l1_loss(said / scale, coming / scale, beta=0.1, reduction="none").mean((1, 2))
        learner.descend({"absolute": found}, _Weights())

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the root mean square error in mm on traces never trained on: of no prediction, and of the network."""
        count = self._config.validation.pairs
        if not count:
            return {}
        seen, coming = self._draw(VALIDATION, range(count))
        errors = {"error_mm_before": seen[:, -1:] - coming, "error_mm_after": network(seen) - coming}
        return {name: float(error.square().sum(2).mean().sqrt()) for name, error in errors.items()}

    def _draw(self, stream: str, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return scores seen ``(B, seen, c)`` and those that come ``(B, ahead, c)``."""
        both = [self._trace(derived_seed(self._config.optimisation.seed, stream, number)) for number in numbers]
        length = self._config.motion.seen
        seen, true = (torch.from_numpy(np.stack(part)).float().to(self._device) for part in zip(*both, strict=True))
        return seen[:, :length], true[:, length:]

    def _trace(self, seed: int) -> tuple[Values, Values]:
        settings = self._config.motion
        count = settings.seen + self._ahead
        shares = self._config.sources.shares
        chooser = host_random.Random(seed)  # noqa: S311  # not for secrets
        (kind,) = chooser.choices(list(shares), list(shares.values()))
        if kind != "series" or not self._series:
            return made_trace(settings, count, self._components, seed)
        chosen = self._series[chooser.randrange(len(self._series))]
        trace = windowed(chosen, settings.interval, count, settings.irregular, seed)
        fitted = np.zeros((count, self._components))
        known = min(self._components, trace.shape[1])
        fitted[:, :known] = trace[:, :known]
        random = np.random.default_rng(derived_seed(seed, "noise"))
        fitted *= random.choice([-1.0, 1.0], size=self._components)
        spread = float(np.sqrt(np.square(fitted - fitted.mean(axis=0)).sum(axis=1).mean()))
        return fitted + settings.noise * spread * random.normal(size=fitted.shape), fitted


def windowed(series: ScoredSeries, interval: float, count: int, irregular: tuple[float, float], seed: int) -> Values:
    """Return a part of a series' scores at even times, ``(count, c)``.

    Phases of a cycle, or a series shorter than the part, are run through again and again, irregularly.
    """
    random = np.random.default_rng(seed)
    length = interval * (count - 1)
    if series.unit == PERCENT or np.ptp(series.times) < length:
        return varied(random, series.scores, interval * np.arange(count, dtype=np.float64), random.uniform(*irregular))
    begin = random.uniform(series.times[0], series.times[-1] - length)
    at = begin + interval * np.arange(count)
    return np.stack([np.interp(at, series.times, column) for column in series.scores.T], axis=1)
