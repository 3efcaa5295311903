"""Random transformations that are known exactly: an affine map after a diffeomorphism of several scales."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from DeepRegLib.networks.fields import integrate, positions
from DeepRegLib.optimization.rotations import rotation_from_vector
from DeepRegLib.tables import require
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.separable import smooth_noise
from DeepRegLib.transforms.sampling import central_difference

INTEGRATION_STEPS = 6


@dataclass(frozen=True)
class Deformation:
    """How far apart the two images of a pair are.

    The defaults are what a linear registration leaves between two people, bodies rather than brains: an affine map that
    is a little off, organs a few centimetres away, and detail down to a few voxels. Without the coarse scale a network
    does not learn to look far; without the fine one it stays smooth.

    Parameters
    ----------
    distances
        Distance of the velocity's control points at each scale, in voxels.
    amplitudes
        Largest standard deviation of the velocity at each scale, in voxels; each sample draws its own up to that.
        With these, log J spreads by 0.2 to 0.4, as it does between people.
    steepest
        Largest change of the velocity from voxel to voxel (Frobenius norm); steeper samples are scaled down. Volumes
        change by less than the factor ``exp(sqrt(3) steepest)``, and there are no folds.
    rotation
        Largest angle about each axis in degrees.
    scaling
        Largest natural logarithm of the scale along each axis.
    shear
        Largest shear.
    translation
        Largest shift along each axis, as a share of the grid's width.
    """

    distances: tuple[float, ...] = (10.0, 20.0, 40.0)
    amplitudes: tuple[float, ...] = (1.8, 3.2, 5.0)
    steepest: float = 1.2
    rotation: float = 8.0
    scaling: float = 0.1
    shear: float = 0.05
    translation: float = 0.04

    def __post_init__(self) -> None:
        scales = len(self.distances) > 0 and min(self.distances) >= 4
        require(scales, "deformation.distances", self.distances, "distances of 4 voxels or more")
        fits = len(self.amplitudes) == len(self.distances) and min(self.amplitudes) >= 0
        require(fits, "deformation.amplitudes", self.amplitudes, "one number from 0 a distance")
        require(0 < self.steepest <= 1.5, "deformation.steepest", self.steepest, "above 0, at most 1.5")
        require(0 <= self.rotation <= 180, "deformation.rotation", self.rotation, "0 to 180 degrees")
        require(0 <= self.scaling <= 0.7, "deformation.scaling", self.scaling, "0 to 0.7")
        require(0 <= self.shear <= 0.5, "deformation.shear", self.shear, "0 to 0.5")
        require(0 <= self.translation <= 0.5, "deformation.translation", self.translation, "0 to 0.5")


def random_field(random: Randomness, shape: tuple[int, int, int], ranges: Deformation) -> Tensor:
    """Draw p -> A(q), q = exp(v)(p), with a random affine map A and velocity v.

    Parameters
    ----------
    random
        What to draw from.
    shape
        Shape ``(d, h, w)`` of the field's grid, half as fine as that of the images.
    ranges
        What to draw; lengths in voxels of the images.

    Returns
    -------
    Tensor
        Shape ``(B, 3, d, h, w)``, in voxels of the field's grid, free of folds.
    """
    bent = integrate(random_velocity(random, shape, ranges), INTEGRATION_STEPS)
    matrix, shift = random_affine(random, shape, ranges)
    centre = _centre(shape, bent.device)
    moved = (positions(bent) - centre) @ (matrix - torch.eye(3, device=bent.device)).mT[:, None, None] + shift
    return bent + moved.movedim(-1, 1)


def random_velocity(random: Randomness, shape: tuple[int, int, int], ranges: Deformation) -> Tensor:
    """Draw a sum of smooth velocities, each about twice as fine as the one before, shape ``(B, 3, d, h, w)``."""
    velocity = torch.zeros(random.batch, 3, *shape, device=random.device)
    for distance, amplitude in zip(ranges.distances, ranges.amplitudes, strict=True):
        noise = smooth_noise(random, 3, shape, (distance / 2, distance / 2))
        velocity += noise * random.uniform(0, amplitude / 2, 1, 1, 1, 1)
    slopes = sum(central_difference(velocity, dim).square().sum(1) for dim in (-3, -2, -1))
    steepest = torch.as_tensor(slopes).amax((-3, -2, -1)).sqrt()
    return velocity * (ranges.steepest / steepest.clamp(min=ranges.steepest))[:, None, None, None, None]


def random_affine(random: Randomness, shape: tuple[int, int, int], ranges: Deformation) -> tuple[Tensor, Tensor]:
    """Draw matrices ``(B, 3, 3)`` about the grid's centre and shifts ``(B, 1, 1, 1, 3)`` in voxels of the grid."""
    angle = math.radians(ranges.rotation)
    turn = rotation_from_vector(random.uniform(-angle, angle, 3))
    upper = torch.triu(random.uniform(-ranges.shear, ranges.shear, 3, 3), diagonal=1)
    scales = torch.diag_embed(random.uniform(-ranges.scaling, ranges.scaling, 3).exp())
    matrix = turn @ scales @ (torch.eye(3, device=random.device) + upper)
    size = torch.tensor(shape[::-1], device=random.device, dtype=torch.float32)
    shift = random.uniform(-ranges.translation, ranges.translation, 3) * size
    return matrix, shift[:, None, None, None]


def _centre(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    return (torch.tensor(shape[::-1], device=device, dtype=torch.float32) - 1) / 2
