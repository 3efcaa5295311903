"""The task ``translate``: a network that shows a scan as another modality would, from pairs or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from DeepRegLib.errors import InputError
from DeepRegLib.image import read_image
from DeepRegLib.networks.translator import Translator
from DeepRegLib.preprocessing.network_input import on_grid, world_grid
from DeepRegLib.training.config import Images, TrainingConfig
from DeepRegLib.training.judge import objection, own_judge, verdict_loss
from DeepRegLib.training.learner import Learner
from DeepRegLib.training.losses import VOLUME
from DeepRegLib.training.patches import Scans, read_scan
from DeepRegLib.training.processes import Processes
from DeepRegLib.training.randomness import Randomness, derived_seed
from DeepRegLib.training.single import Labelled, mirrored
from DeepRegLib.training.task import TRAINING, VALIDATION
from DeepRegLib.training.translation_losses import lost_contrast, patch_contrast, tolerant_difference
from DeepRegLib.training.volumes import Volume, volume_files


@dataclass(frozen=True, eq=False)
class Sides:
    """Patches of scans and of their targets, ``(B, 1, D, H, W)``, and where both are known."""

    image: Tensor
    target: Tensor
    known: Tensor


class TranslationTask:
    """Scans of two modalities; the folder that the configuration names is read at once.

    Raises
    ------
    InputError
        If the folder cannot be used, or the pairs are none.
    """

    def __init__(self, config: TrainingConfig, processes: Processes) -> None:
        self._config, self._device = config, processes.device
        self._images, self._targets = read_sides(Path(config.sources.folder), config.images, config.translate.paired)
        held_back = config.validation.folder if processes.is_first and config.translate.paired else ""
        self._held_back = read_sides(Path(held_back), config.images, paired=True) if held_back else None

    def learn(self, learner: Learner, step: int, numbers: Sequence[int], size: tuple[int, int, int]) -> None:
        """Add the gradient of a batch's losses, and then that of the judge."""
        del step
        settings = self._config.translate
        sides, random = self._draw(TRAINING, numbers, size)
        with learner.precision():
            made = learner.network(sides.image).float()
        found = self._losses(learner, sides, made, random)
        if isinstance(learner.judge, nn.Module):
            found["adversarial"] = objection(own_judge(learner.judge), self._shown(sides, made))
        learner.descend(found, settings)
        if learner.judge is not None:
            judged = verdict_loss(learner.judge, self._shown(sides, sides.target), self._shown(sides, made)).mean()
            (judged / self._config.optimisation.accumulate).backward()
            learner.add("judge", judged)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Measure the mean absolute difference from the targets: of scans held back, or of patches never trained on."""
        if not self._config.translate.paired:
            return {}
        size, count = self._config.images.size, self._config.validation.pairs
        scans = (self._images, self._targets) if self._held_back is None else self._held_back
        differences = []
        for number in range(count):
            sides, _ = self._draw(VALIDATION, [number], size, scans)
            difference = (network(sides.image).clamp(0, 1) - sides.target).abs() * sides.known
            differences.append(float(difference.sum() / sides.known.sum().clamp(min=1)))
        return {"absolute": sum(differences) / count} if count else {}

    def _losses(self, learner: Learner, sides: Sides, made: Tensor, random: Randomness) -> dict[str, Tensor]:
        settings, found = self._config.translate, {}
        if settings.paired:
            if settings.absolute > 0:
                found["absolute"] = tolerant_difference(made, sides.target, sides.known, settings.tolerance)
            if settings.contrast > 0:
                found["contrast"] = lost_contrast(made, sides.target, sides.known)
            return found
        network = own_translator(learner.network)
        found["patches"] = patch_contrast(network.encoded(sides.image), network.encoded(made), random)
        if settings.identity > 0:
            kept = learner.network(sides.target).float()
            found["identity"] = (kept - sides.target).abs().mean((1, *VOLUME))
        return found

    def _shown(self, sides: Sides, other: Tensor) -> Tensor:
        """Return what the judge sees: the pair, or where there is none one image alone."""
        if self._config.translate.paired:
            return torch.cat([sides.image, other], 1) * sides.known
        return other

    def _draw(
        self,
        stream: str,
        numbers: Sequence[int],
        size: tuple[int, int, int],
        scans: tuple[Scans, Scans] | None = None,
    ) -> tuple[Sides, Randomness]:
        settings = self._config.translate
        seeds = [derived_seed(self._config.optimisation.seed, stream, number) for number in numbers]
        i, j, k = size
        of_images, of_targets = scans or (self._images, self._targets)
        batches = []
        for which, each in (("images", of_images), ("targets", of_targets)):
            # The same numbers for both sides of a pair: the same person, the same place, the same way round.
            own = seeds if settings.paired else [derived_seed(seed, which) for seed in seeds]
            random = Randomness(own, self._device)
            scene = each.patches(random, (k, j, i), 0, 0.0, with_image=True)
            if scene.image is None:
                raise ValueError("a scan without an image")
            batch = Labelled(scene.image, None, scene.known)
            batches.append(mirrored(random, batch) if settings.mirror else batch)
        image, target = batches
        known = image.known * target.known if settings.paired else image.known
        return Sides(image.image, target.image, known), random


def own_translator(network: nn.Module) -> Translator:
    """Return the network itself, not as the processes share it."""
    own = getattr(network, "module", network)
    if not isinstance(own, Translator):
        raise TypeError("another network than a translator")
    return own


def read_sides(folder: Path, images: Images, paired: bool) -> tuple[Scans, Scans]:
    """Read ``images/NAME.nii.gz`` and ``targets/NAME.nii.gz`` of a folder.

    Parameters
    ----------
    folder
        Has both.
    images
        The grid of the training.
    paired
        Whether files of one name are one person's, registered; each target is then brought to the grid of its image.

    Raises
    ------
    InputError
        If there are none, a pair lacks one side, or a file cannot be used.
    """
    sides = [volume_files(folder / part) for part in ("images", "targets")]
    for part, files in zip(("images", "targets"), sides, strict=True):
        if not files:
            raise InputError(f"{folder} has no volumes in {part}/.", f"Put files such as {part}/1.nii.gz there.")
    first, second = sides
    if not paired:
        return (
            _scans([read_scan(path, None, images.size, images.spacing) for path in first.values()]),
            _scans([read_scan(path, None, images.size, images.spacing) for path in second.values()]),
        )
    if lonely := sorted(first.keys() ^ second.keys()):
        raise InputError(
            f"{folder} has only an image or only a target of {', '.join(lonely[:3])}.",
            "Give each image a target of the same name, or set translate.paired to false.",
        )
    pairs = [_read_pair(first[name], second[name], images) for name in sorted(first)]
    return _scans([pair[0] for pair in pairs]), _scans([pair[1] for pair in pairs])


def _read_pair(image: Path, target: Path, images: Images) -> tuple[Volume, Volume]:
    grid = world_grid(read_image(image).geometry, images.spacing, images.size)
    found = []
    for path in (image, target):
        intensities, known = on_grid(read_image(path), grid)
        found.append(Volume(torch.from_numpy(intensities).half(), None, torch.from_numpy(known)))
    if not bool((found[0].known & found[1].known).any()):
        raise InputError(
            f"{image.name} and its target lie nowhere on each other.", "Register them, and give the registered target."
        )
    return found[0], found[1]


def _scans(volumes: list[Volume]) -> Scans:
    return Scans(tuple(volumes), (0,), tuple({} for _ in volumes))
