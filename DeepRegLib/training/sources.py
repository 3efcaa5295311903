"""Pairs by their number: the same number gives the same pair, whoever asks for it and whatever else is in the batch."""

from __future__ import annotations

import random as host_random
from collections.abc import Sequence

import torch

from DeepRegLib.errors import InputError
from DeepRegLib.training.config import TrainingConfig
from DeepRegLib.training.randomness import Randomness, derived_seed
from DeepRegLib.training.synthesis import Pairs, Synthesis, deformed_pairs, random_scene, real_pairs
from DeepRegLib.training.volumes import Collection, read_collection


class PairSource:
    """Makes the pairs of a configuration.

    Parameters
    ----------
    config
        What to make; the folder it names is read at once.
    device
        Where the pairs are made.

    Raises
    ------
    InputError
        If the folder cannot be used, or lacks what a source needs.
    """

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self._config, self._device = config, device
        self._synthesis = Synthesis(config.shapes, config.deformation, config.appearance)
        self._collection: Collection | None = None
        if config.sources.folder:
            images = config.images
            self._collection = read_collection(config.sources.folder, images.size, images.spacing, images.margin)
            _check(config, self._collection)

    def draw(
        self, stream: str, step: int, numbers: Sequence[int], size: tuple[int, int, int]
    ) -> tuple[Pairs, Randomness]:
        """Make a batch.

        Parameters
        ----------
        stream
            What the pairs are for: pairs of different streams have nothing in common.
        step
            All pairs of a step come from the same source.
        numbers
            Of the pairs.
        size
            Voxels along i, j and k, at most those of the configuration.

        Returns
        -------
        Pairs, Randomness
            The batch, and what is left of its random numbers.
        """
        seed = self._config.optimisation.seed
        random = Randomness([derived_seed(seed, stream, number) for number in numbers], self._device)
        shares = self._config.sources.shares
        chooser = host_random.Random(derived_seed(seed, stream, "source", step))  # noqa: S311  # not for secrets
        (kind,) = chooser.choices(list(shares), list(shares.values()))
        return self._pairs(kind, random, size), random

    def _pairs(self, kind: str, random: Randomness, size: tuple[int, int, int]) -> Pairs:
        if kind == "shapes" or self._collection is None:
            i, j, k = size
            scene = random_scene(random, (k, j, i), self._config.images.margin, self._config.shapes)
            return deformed_pairs(random, scene, self._synthesis)
        count = len(self._collection.volumes)
        if kind == "pairs":
            both = [host.sample(range(count), 2) for host in random.hosts]
            fixed, moving = (
                self._collection.scene([pair[side] for pair in both], size, self._device, with_image=True)
                for side in (0, 1)
            )
            return real_pairs(random, fixed, moving, self._config.appearance)
        chosen = [host.randrange(count) for host in random.hosts]
        scene = self._collection.scene(chosen, size, self._device, with_image=kind == "images")
        return deformed_pairs(random, scene, self._synthesis)


def _check(config: TrainingConfig, collection: Collection) -> None:
    """Make sure that a folder has what the sources need."""
    sources, losses, first = config.sources, config.losses, collection.volumes[0]
    # What teaches a source without labels.
    by_images = losses.lncc + losses.mind
    untaught = (sources.pairs > 0 and by_images == 0) or (sources.images > 0 and by_images + losses.endpoint == 0)
    lacks = [
        ("labels", sources.maps > 0 and first.labels is None),
        ("images", sources.images + sources.pairs > 0 and first.image is None),
        ("a second image", sources.pairs > 0 and len(collection.volumes) < 2),
        ("labels, without which these losses teach nothing", first.labels is None and untaught),
    ]
    for what, missing in lacks:
        if missing:
            raise InputError(f"The folder {sources.folder} lacks {what}.", "Add them, or set that source's share to 0.")
