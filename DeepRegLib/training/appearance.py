"""What a scanner would make of a label map: random contrasts, and everything that spoils an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from DeepRegLib.tables import require
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.separable import along_axes, blur_matrix, ghost_matrix, slice_matrices, smooth_noise
from DeepRegLib.training.shapes import BACKGROUND

LEVELS = 8
QUANTILE_STRIDE = 3
CLAMP = (0.001, 0.999)


@dataclass(frozen=True)
class Appearance:
    """How the two images of a pair look, each drawn for itself.

    Wider than any scanner on purpose (Hoffmann et al. 2022): what a network has to ignore must vary more in training
    than it will in use. Each value is the largest that is drawn; 0 switches its effect off.

    Parameters
    ----------
    same_contrast
        Share of the pairs whose images have one contrast. Most pairs in use do, and a network that has learned to match
        those learns the others; from contrasts that always differ it learned nothing in the first hundreds of steps.
    same_texture
        Share of the pairs whose texture belongs to the tissue and moves with it, as vessels do, in whatever contrast;
        in the others each image has its own, as two people have.
    texture
        Standard deviation of the intensity inside a label, where labels differ by up to 1.
    dark_air
        Share of the images whose background is black, as air is in nearly all scans; otherwise it is a tissue too.
    blur
        Standard deviation of the point spread in voxels. Labels are cut at voxels, so a little is needed for partial
        volume.
    thickness
        Thickest slices in voxels, along one axis of `thick` of the images.
    thick
        Share of the images with thick slices.
    bias
        Standard deviation of the natural logarithm of a slow drift (coil sensitivity).
    gamma
        Largest natural logarithm of the exponent.
    noise
        Standard deviation of the noise, as a share of the intensity range.
    ghost
        Strength of a shifted copy (motion), in `artefacts` of the images.
    spike
        Amplitude of a wave over the whole image (a spike in k-space), in `artefacts` of the images.
    artefacts
        Share of the images with a ghost, and with a spike.
    crop
        Largest share of the grid that is missing at an end of an axis.
    cropped
        Share of the six ends where something is missing.
    remap
        Share of a user's own images that get other contrasts, by a random curve from old to new intensities.
    """

    same_contrast: float = 0.5
    same_texture: float = 0.5
    texture: float = 0.15
    dark_air: float = 0.8
    blur: float = 1.2
    thickness: float = 4.0
    thick: float = 0.3
    bias: float = 0.3
    gamma: float = 0.4
    noise: float = 0.1
    ghost: float = 0.25
    spike: float = 0.1
    artefacts: float = 0.1
    crop: float = 0.2
    cropped: float = 0.1
    remap: float = 0.5

    def __post_init__(self) -> None:
        for name in (
            "same_contrast",
            "same_texture",
            "dark_air",
            "thick",
            "artefacts",
            "cropped",
            "remap",
            "texture",
            "noise",
            "ghost",
            "spike",
        ):
            require(0 <= getattr(self, name) <= 1, f"appearance.{name}", getattr(self, name), "0 to 1")
        for name in ("blur", "bias", "gamma"):
            require(0 <= getattr(self, name) <= 5, f"appearance.{name}", getattr(self, name), "0 to 5")
        require(1 <= self.thickness <= 16, "appearance.thickness", self.thickness, "1 to 16 voxels")
        require(0 <= self.crop <= 0.4, "appearance.crop", self.crop, "0 to 0.4")


class Look(NamedTuple):
    """How the labels look in an image: mean intensity and amplitude of the texture, each ``(B, labels)``."""

    means: Tensor
    texture: Tensor


def random_looks(random: Randomness, count: int, ranges: Appearance) -> tuple[Look, Look]:
    """Draw how `count` labels look in the fixed and in the moving image."""
    fixed, moving = _look(random, count, ranges), _look(random, count, ranges)
    same = random.chance(ranges.same_contrast, 1)
    return fixed, Look(*(torch.where(same, a, b) for a, b in zip(fixed, moving, strict=True)))


def _look(random: Randomness, count: int, ranges: Appearance) -> Look:
    dark = random.chance(ranges.dark_air, 1) & (torch.arange(count, device=random.device) == BACKGROUND)
    means = random.uniform(0, 1, count).masked_fill(dark, 0)
    return Look(means, random.uniform(-ranges.texture, ranges.texture, count).masked_fill(dark, 0))


def render(labels: Tensor, texture: Tensor, look: Look) -> Tensor:
    """Return what labels look like.

    Parameters
    ----------
    labels
        Shape ``(B, D, H, W)``, whole numbers.
    texture
        Shape ``(B, 1, D, H, W)``, variance about 1.
    look
        Of these labels.

    Returns
    -------
    Tensor
        Shape ``(B, 1, D, H, W)``, about 0 to 1.
    """
    index = labels.long().flatten(1)
    means, amplitude = (values.gather(1, index).view_as(labels)[:, None] for values in look)
    return means.addcmul(texture, amplitude)


def random_curves(random: Randomness, ranges: Appearance) -> tuple[Tensor, Tensor]:
    """Draw where even steps of intensity from 0 to 1 go in the fixed and in the moving image, each ``(B, levels)``."""
    plain = torch.linspace(0, 1, LEVELS, device=random.device)
    fixed, moving = (torch.where(random.chance(ranges.remap, 1), random.uniform(0, 1, LEVELS), plain) for _ in range(2))
    return fixed, torch.where(random.chance(ranges.same_contrast, 1), fixed, moving)


def apply_curves(image: Tensor, curves: Tensor) -> Tensor:
    """Send intensities (0 to 1) ``(B, 1, D, H, W)`` along curves ``(B, levels)``, linear between the levels."""
    place = image.clamp(0, 1) * (curves.shape[1] - 1)
    low = place.long().clamp_(max=curves.shape[1] - 2)
    below, above = (curves.gather(1, index.flatten(1)).view_as(image) for index in (low, low + 1))
    return torch.lerp(below, above, place - low)


def acquire(
    random: Randomness, image: Tensor, known: Tensor, ranges: Appearance, *, rescale: bool = True
) -> tuple[Tensor, Tensor]:
    """Spoil images as a scanner does.

    Parameters
    ----------
    random
        What to draw from.
    image
        Shape ``(B, 1, D, H, W)``, about 0 to 1.
    known
        Same shape, 1 inside the field of view, 0 outside.
    ranges
        What to draw.
    rescale
        Scale by percentiles; not for a part of a scan whose whole was scaled already.

    Returns
    -------
    image, known
        The image scaled to [0, 1] by percentiles, or cut off there, 0 where it is unknown, and what is left of the
        field of view.
    """
    d, h, w = image.shape[2:]
    drift = smooth_noise(random, 1, (d, h, w), (max(d, h, w) / 3, max(d, h, w) / 1.5))
    image = image * (drift * random.uniform(0, ranges.bias, 1, 1, 1, 1)).exp()
    averaging, interpolating = _optics(random, (d, h, w), ranges)
    noise = random.normal(1, d, h, w) * random.uniform(0, ranges.noise, 1, 1, 1, 1)
    image = along_axes(along_axes(image, averaging) + noise + _spike(random, (d, h, w), ranges), interpolating)
    known = known * _field_of_view(random, (d, h, w), ranges)
    image = _scaled(image, known) if rescale else image.clamp(0, 1)
    exponent = random.uniform(-ranges.gamma, ranges.gamma, 1, 1, 1, 1).exp()
    return image.pow(exponent) * known, known


def _optics(random: Randomness, shape: tuple[int, int, int], ranges: Appearance) -> tuple[list[Tensor], list[Tensor]]:
    """Return what blurs, averages and ghosts along each axis, and what interpolates between slices again."""
    sigma = random.uniform(0, ranges.blur)
    axis = random.uniform(0, 3).long()
    thick = random.chance(ranges.thick)
    thickness = 1 + random.uniform(0, ranges.thickness - 1) * thick
    phase = random.uniform(0, 1) * thick
    ghosted = random.chance(ranges.artefacts)
    strength = random.uniform(0, ranges.ghost) * ghosted
    share = random.uniform(0.2, 0.5)
    averaging, interpolating = [], []
    for number, size in enumerate(shape):
        here = axis == number
        average, interpolate = slice_matrices(size, torch.where(here, thickness, 1.0), torch.where(here, phase, 0.0))
        ghost = ghost_matrix(size, share * size, strength * here)
        averaging.append(average @ blur_matrix(size, sigma) @ ghost)
        interpolating.append(interpolate)
    return averaging, interpolating


def _spike(random: Randomness, shape: tuple[int, int, int], ranges: Appearance) -> Tensor:
    """Return a plane wave, 2 to 16 voxels long, in some samples, shape ``(B, 1, D, H, W)``."""
    direction = torch.nn.functional.normalize(random.normal(3), dim=1)
    rate = direction * (2 * math.pi / random.uniform(2, 16, 1))
    amplitude = random.uniform(0, ranges.spike, 1, 1, 1, 1) * random.chance(ranges.artefacts, 1, 1, 1, 1)
    phases = [rate[:, axis, None] * torch.arange(n, device=random.device) for axis, n in enumerate(shape)]
    k, j, i = phases[0][:, :, None, None], phases[1][:, None, :, None], phases[2][:, None, None, :]
    return amplitude * (k + j + i).cos()[:, None]


def _field_of_view(random: Randomness, shape: tuple[int, int, int], ranges: Appearance) -> Tensor:
    """Return 1 inside a random box, shape ``(B, 1, D, H, W)``; the whole grid in samples that are not cropped."""
    share = random.uniform(0, ranges.crop, 2, 3) * random.chance(ranges.cropped, 2, 3)
    inside = []
    for axis, size in enumerate(shape):
        voxel = torch.arange(size, device=random.device)
        first, last = share[:, 0, axis, None] * size, (1 - share[:, 1, axis, None]) * size
        inside.append(((voxel + 0.5 >= first) & (voxel + 0.5 <= last)).float())
    return torch.einsum("bk,bj,bi->bkji", *inside)[:, None]


def _scaled(image: Tensor, known: Tensor) -> Tensor:
    """Take two percentiles of what is known to 0 and 1 and cut off the rest, as images are prepared for a model."""
    few = (..., *(slice(None, None, QUANTILE_STRIDE),) * 3)
    inside = known[few].flatten(1) > 0
    ordered = image[few].flatten(1).masked_fill(~inside, torch.inf).sort(1).values
    last = (inside.sum(1, keepdim=True) - 1).clamp(min=0)
    low, high = (ordered.gather(1, (share * last).long())[:, :, None, None, None] for share in CLAMP)
    return ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
