"""The task ``denoise``: an autoencoder that takes noise out of one image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from DeepRegLib.errors import InputError
from DeepRegLib.training.config import TrainingConfig
from DeepRegLib.training.denoising import noisy
from DeepRegLib.training.learner import Learner
from DeepRegLib.training.patches import read_scans
from DeepRegLib.training.processes import Processes
from DeepRegLib.training.single import draw
from DeepRegLib.training.task import TRAINING, VALIDATION


class DenoisingTask:
    """Images without noise, and noise made for them; the folder that the configuration names is read at once.

    Raises
    ------
    InputError
        If the folder cannot be used, or lacks what a source needs.
    """

    def __init__(self, config: TrainingConfig, processes: Processes) -> None:
        self._config, self._device = config, processes.device
        images, sources = config.images, config.sources
        self._scans = read_scans(sources.folder, images.size, images.spacing) if sources.folder else None
        if self._scans is None:
            return
        first = self._scans.volumes[0]
        for what, missing in (
            ("images", sources.images > 0 and first.image is None),
            ("labels", sources.maps > 0 and first.labels is None),
        ):
            if missing:
                raise InputError(f"The folder {sources.folder} lacks {what}.", "Add them, or leave that source out.")

    def learn(self, learner: Learner, step: int, numbers: Sequence[int], size: tuple[int, int, int]) -> None:
        """Add the gradient of the absolute difference of a batch."""
        batch, random = draw(self._config, self._scans, self._device, TRAINING, step, numbers, size)
        spoilt = noisy(random, batch.image, self._config.denoise)
        with learner.precision():
            cleaned = learner.network(spoilt)
        difference = (cleaned.float() - batch.image).abs().mean((1, 2, 3, 4))
        learner.descend({"absolute": difference}, self._config.denoise)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the peak signal-to-noise ratio in dB of images made for it alone, before and after."""
        size, found = self._config.images.size, {"psnr_before": 0.0, "psnr_after": 0.0}
        count = self._config.validation.pairs
        for number in range(count):
            batch, random = draw(self._config, self._scans, self._device, VALIDATION, number, [number], size)
            spoilt = noisy(random, batch.image, self._config.denoise)
            for name, image in (("psnr_before", spoilt), ("psnr_after", network(spoilt))):
                error = float((image - batch.image).square().mean())
                found[name] -= 10 * math.log10(max(error, 1e-12)) / count
        return found if count else {}
