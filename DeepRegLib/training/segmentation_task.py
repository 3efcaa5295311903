"""The task ``segmentation``: a network that labels the voxels of one image, from scans or from label maps alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.errors import InputError
from DeepRegLib.models.windows import probabilities
from DeepRegLib.training.config import TrainingConfig
from DeepRegLib.training.learner import Learner
from DeepRegLib.training.losses import VOLUME
from DeepRegLib.training.patches import Scans, read_scans
from DeepRegLib.training.processes import Processes
from DeepRegLib.training.single import Labelled, draw, mirrored
from DeepRegLib.training.task import TRAINING, VALIDATION

# Added to both parts of a Dice, in voxels: a label of one voxel does not jump from 0 to 1.
SMOOTH = 1.0
# A label so rare that it would count more than so many times as much as the mean does not.
LARGEST_WEIGHT = 20.0


class SegmentationTask:
    """Patches of scans with label maps; the folders that the configuration names are read at once.

    Raises
    ------
    InputError
        If a folder cannot be used, lacks what a source needs, or has labels that the configuration does not name.
    """

    def __init__(self, config: TrainingConfig, processes: Processes) -> None:
        self._config, self._device = config, processes.device
        self._scans = read_labelled(config.sources.folder, config)
        if config.sources.images > 0 and self._scans.volumes[0].image is None:
            raise InputError(
                f"The folder {config.sources.folder} lacks images.", "Add them, or set sources.images to 0."
            )
        held_back = config.validation.folder if processes.is_first else ""
        self._held_back = read_labelled(held_back, config, images=True) if held_back else None
        self._weights = class_weights(self._scans.shares(), config.segmentation.balance).to(self._device)

    def learn(self, learner: Learner, step: int, numbers: Sequence[int], size: tuple[int, int, int]) -> None:
        """Add the gradient of Dice and cross-entropy of a batch."""
        settings = self._config.segmentation
        batch, random = draw(self._config, self._scans, self._device, TRAINING, step, numbers, size)
        if settings.mirror:
            batch = mirrored(random, batch)
        with learner.precision():
            logits = learner.network(batch.image)
        learner.descend(segmentation_losses(logits.float(), batch, self._weights, settings.dice > 0), settings)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the Dice of whole scans that are held back, or else of patches made for it alone."""
        if self._held_back is not None:
            return {"dice": mean_dice(network, self._held_back, self._config.images.size, self._device)}
        count, size = self._config.validation.pairs, self._config.images.size
        scores = []
        for number in range(count):
            batch, _ = draw(self._config, self._scans, self._device, VALIDATION, number, [number], size)
            with torch.no_grad():
                found = network(batch.image).argmax(1)
            scores += _scores(found, _labels(batch), len(self._scans.values))
        return {"dice": sum(scores) / len(scores)} if scores else {}


def read_labelled(folder: str, config: TrainingConfig, *, images: bool = False) -> Scans:
    """Read scans whose labels a configuration names.

    Raises
    ------
    InputError
        As of `read_scans`, or if there are no label maps, no images where they are needed, or labels without a name.
    """
    values = (0, *(segment.label for segment in config.segmentation.segments()))
    scans = read_scans(Path(folder), config.images.size, config.images.spacing, values)
    if scans.volumes[0].labels is None or (images and scans.volumes[0].image is None):
        raise InputError(f"The folder {folder} lacks {'images or ' if images else ''}labels.", "Add them.")
    return scans


def class_weights(shares: Tensor, balance: float) -> Tensor:
    """Return what a voxel of each class counts, so that the mean over all voxels is 1, shape ``(C,)``."""
    there = shares > 0
    wanted = shares.clamp(min=1e-12).pow(-balance) * there
    weights = wanted / (wanted * shares).sum()
    return weights.clamp(max=LARGEST_WEIGHT)


def segmentation_losses(logits: Tensor, batch: Labelled, weights: Tensor, with_dice: bool) -> dict[str, Tensor]:
    """Compute the losses of logits ``(B, C, D, H, W)`` where the image is known, each ``(B,)``, by name."""
    labels, known = _labels(batch), batch.known[:, 0]
    voxelwise = functional.cross_entropy(logits, labels, weights, reduction="none")
    found = {"cross_entropy": (voxelwise * known).sum(VOLUME) / known.sum(VOLUME).clamp(min=1)}
    if with_dice:
        found["dice"] = 1 - soft_dice(logits.softmax(1), labels, known)
    return found


def soft_dice(likely: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """Return the mean soft Dice over the classes but the background that the labels have, ``(B,)``; 1 if none.

    Parameters
    ----------
    likely
        Probabilities, shape ``(B, C, D, H, W)``.
    labels
        Shape ``(B, D, H, W)``.
    known
        Shape ``(B, D, H, W)``, 1 where it counts.
    """
    truth = functional.one_hot(labels, likely.shape[1]).movedim(-1, 1)[:, 1:] * known[:, None]
    likely = likely[:, 1:] * known[:, None]
    both, sizes = (likely * truth).sum(VOLUME), truth.sum(VOLUME)
    scores = (2 * both + SMOOTH) / (likely.sum(VOLUME) + sizes + SMOOTH)
    there = (sizes > 0).float()
    count = there.sum(1)
    return torch.where(count > 0, (scores * there).sum(1) / count.clamp(min=1), 1.0)


def mean_dice(network: nn.Module, scans: Scans, size: tuple[int, int, int], device: torch.device) -> float:
    """Return the mean Dice of the labels of whole scans, segmented by windows."""
    i, j, k = size
    scores = []
    for volume in scans.volumes:
        if volume.image is None or volume.labels is None:
            raise ValueError("a scan without an image or labels")
        found = probabilities(network, volume.image.float().to(device), (k, j, i)).argmax(0)
        scores += _scores(found[None], volume.labels[None].to(device), len(scans.values))
    return sum(scores) / len(scores) if scores else float("nan")


def _scores(found: Tensor, labels: Tensor, count: int) -> list[float]:
    """Return the Dice of each class but the background that is there, sample by sample."""
    scores = []
    for mine, truth in zip(found, labels, strict=True):
        for number in range(1, count):
            a, b = mine == number, truth == number
            if b.any():
                scores.append(float(2 * (a & b).sum() / (a.sum() + b.sum())))
    return scores


def _labels(batch: Labelled) -> Tensor:
    if batch.labels is None:
        raise ValueError("a batch without labels")
    return batch.labels
