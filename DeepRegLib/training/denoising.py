"""Noise as scanners make it, and the section of a configuration that says how much of it there is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from DeepRegLib.tables import require
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.separable import along_axes, blur_matrix

# Correlation length of the noise of CT in voxels, and how much stronger it is where most is absorbed.
CT_GRAIN, CT_GAIN = (0.3, 0.8), 1.0


@dataclass(frozen=True)
class Denoising:
    """The noise that a denoising network learns to take away.

    Parameters
    ----------
    noise
        Least and largest standard deviation of the noise, as a share of the intensity range; each sample draws its own.
    ct
        Share of the samples with noise as of CT: correlated from voxel to voxel, stronger where the body is denser.
        The others have that of MR: the magnitude of a signal with noise in both its parts (Rician, Gudbjartsson and
        Patz 1995).
    absolute
        Weight of the mean absolute difference from the image without noise.
    """

    noise: tuple[float, float] = (0.0, 0.25)
    ct: float = 0.5
    absolute: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.noise
        require(0 <= low <= high <= 1, "denoise.noise", self.noise, "two shares in order, 0 to 1")
        require(0 <= self.ct <= 1, "denoise.ct", self.ct, "0 to 1")
        require(self.absolute > 0, "denoise.absolute", self.absolute, "above 0")


def noisy(random: Randomness, image: Tensor, settings: Denoising) -> Tensor:
    """Return images ``(B, 1, D, H, W)`` in [0, 1] with noise of MR or of CT."""
    _, _, d, h, w = image.shape
    strength = random.uniform(*settings.noise, 1, 1, 1, 1)
    ct = random.chance(settings.ct, 1, 1, 1, 1)
    parts = random.normal(2, d, h, w)
    return torch.where(ct, _ct(random, image, parts[:, :1], strength), rician(image, parts, strength))


def rician(image: Tensor, parts: Tensor, strength: Tensor) -> Tensor:
    """Return the magnitude of a signal with noise in both its parts.

    Parameters
    ----------
    image
        Shape ``(B, 1, D, H, W)``.
    parts
        Standard normal, shape ``(B, 2, D, H, W)``.
    strength
        Standard deviation, shape ``(B, 1, 1, 1, 1)``.
    """
    real, imaginary = (parts * strength).split(1, 1)
    return ((image + real).square() + imaginary.square()).sqrt()


def _ct(random: Randomness, image: Tensor, white: Tensor, strength: Tensor) -> Tensor:
    sigma = random.uniform(*CT_GRAIN)
    grain = along_axes(white, [blur_matrix(size, sigma) for size in image.shape[2:]])
    spread = grain.std((2, 3, 4), keepdim=True).clamp(min=1e-6)
    gain = 1 + CT_GAIN * (image - image.mean((2, 3, 4), keepdim=True))
    return image + grain / spread * strength * gain
