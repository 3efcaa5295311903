"""Images of one kind each, made from a user's scans, their label maps, or random shapes."""

from __future__ import annotations

import random as host_random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from DeepRegLib.training.appearance import acquire, apply_curves, random_curves, random_looks, render
from DeepRegLib.training.config import TrainingConfig
from DeepRegLib.training.patches import Scans
from DeepRegLib.training.randomness import Randomness, derived_seed
from DeepRegLib.training.separable import smooth_noise
from DeepRegLib.training.shapes import BACKGROUND, random_labels
from DeepRegLib.training.synthesis import TEXTURE, Scene, deformed_scene, random_scene


@dataclass(frozen=True, eq=False)
class Labelled:
    """A batch of images with their labels.

    Parameters
    ----------
    image
        Shape ``(B, 1, D, H, W)``, float32 in [0, 1], 0 where unknown.
    labels
        Shape ``(B, D, H, W)``, int64, numbers of the classes; or None.
    known
        Shape ``(B, 1, D, H, W)``: 1 inside the field of view, 0 outside.
    """

    image: Tensor
    labels: Tensor | None
    known: Tensor


def draw(
    config: TrainingConfig,
    scans: Scans | None,
    device: torch.device,
    stream: str,
    step: int,
    numbers: Sequence[int],
    size: tuple[int, int, int],
) -> tuple[Labelled, Randomness]:
    """Make a batch of a configuration; all samples of a step come from the same source.

    Parameters
    ----------
    config
        What to make.
    scans
        Of the folder, or None where there is none.
    device
        Where it is made.
    stream
        What the samples are for: those of different streams have nothing in common.
    step
        Of the training.
    numbers
        Of the samples.
    size
        Voxels along i, j and k.

    Returns
    -------
    Labelled, Randomness
        The batch, and what is left of its random numbers.
    """
    seed = config.optimisation.seed
    random = Randomness([derived_seed(seed, stream, number) for number in numbers], device)
    shares = config.sources.shares
    chooser = host_random.Random(derived_seed(seed, stream, "source", step))  # noqa: S311  # not for secrets
    (kind,) = chooser.choices(list(shares), list(shares.values()))
    i, j, k = size
    margin = config.images.margin
    if kind == "shapes" or scans is None:
        scene = random_scene(random, (k, j, i), margin, config.shapes)
    else:
        foreground = config.segmentation.foreground
        scene = scans.patches(random, (k, j, i), margin, foreground, with_image=kind == "images")
    return _seen(random, deformed_scene(random, scene, config.deformation)[0], config), random


def mirrored(random: Randomness, batch: Labelled) -> Labelled:
    """Mirror each sample along each axis, or not."""
    for axis, chosen in enumerate(random.chance(0.5, 3).unbind(1)):
        at = chosen[:, None, None, None]
        dim = axis - 3
        labels = None if batch.labels is None else torch.where(at, batch.labels.flip(dim), batch.labels)
        image, known = (torch.where(at[:, None], part.flip(dim), part) for part in (batch.image, batch.known))
        batch = Labelled(image, labels, known)
    return batch


def _seen(random: Randomness, scene: Scene, config: TrainingConfig) -> Labelled:
    """Take a scan of a scene without a margin."""
    if scene.image is None:
        image = _rendered(random, scene, config)
    else:
        image = apply_curves(scene.image, random_curves(random, config.appearance)[0])
    rescale = scene.image is None
    image, known = acquire(random, image, scene.known, config.appearance, rescale=rescale)
    return Labelled(image, None if scene.labels is None else scene.labels.long(), known)


def _rendered(random: Randomness, scene: Scene, config: TrainingConfig) -> Tensor:
    """Give each label a contrast at random, and what has none random shapes of other contrasts.

    A body without labels is no black air, and what lies around an organ must not tell which one it is.
    """
    if scene.labels is None:
        raise ValueError("a scene with neither labels nor an image")
    d, h, w = scene.labels.shape[1:]
    shapes = replace(config.shapes, air=0.0)
    around = random_labels(random, (d, h, w), shapes).to(scene.labels.dtype)
    filled = torch.where(around == BACKGROUND, BACKGROUND, around + scene.count - 1)
    tissues = torch.where(scene.labels == BACKGROUND, filled, scene.labels)
    look, _ = random_looks(random, scene.count + shapes.labels - 1, config.appearance)
    return render(tissues, smooth_noise(random, 1, (d, h, w), TEXTURE), look)
