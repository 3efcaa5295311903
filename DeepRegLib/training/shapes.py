"""Label maps of random shapes, so that no data is needed: regions, nested bodies, tubes and sheets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from DeepRegLib.optimization.rotations import rotation_from_vector
from DeepRegLib.tables import require
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.separable import smooth_noise

BACKGROUND = 0
TUBES, SHEETS = 2, 2
# Half axes of a whole body, as a share of the grid's narrowest side: it reaches past most of the grid's faces.
BODY = (0.35, 0.6)
ROUGHNESS = 0.12


@dataclass(frozen=True)
class Shapes:
    """What random label maps hold.

    The defaults give what a scan gives at 2 to 3 mm a voxel: a dozen organs from a few voxels to a third of the volume,
    one inside the other, vessels and walls of a few voxels, and air around a body in half of the samples (the other
    half are cut-outs from inside).

    Parameters
    ----------
    regions
        Labels that fill the volume without gaps, as organs lie side by side; half of the samples have them as layers
        around each other instead.
    distances
        Least and largest distance of the control points of the regions' outlines, in voxels.
    bodies
        Ellipsoids with rough outlines, each with another label in its middle.
    radii
        Least and largest half axis of the ellipsoids, as a share of the grid's narrowest side.
    thin
        Largest half width of tubes and sheets, as a share of their noise's standard deviation; 0 for none.
    air
        Share of the samples with nothing around a body.
    """

    regions: int = 8
    distances: tuple[float, float] = (16.0, 48.0)
    bodies: int = 6
    radii: tuple[float, float] = (0.05, 0.25)
    thin: float = 0.25
    air: float = 0.5

    def __post_init__(self) -> None:
        require(2 <= self.regions <= 64, "shapes.regions", self.regions, "2 to 64")
        ordered = 4 <= self.distances[0] <= self.distances[1]
        require(ordered, "shapes.distances", self.distances, "two distances in order, 4 voxels or more")
        require(0 <= self.bodies <= 90, "shapes.bodies", self.bodies, "0 to 90")
        require(0 < self.radii[0] <= self.radii[1] <= 0.5, "shapes.radii", self.radii, "two shares in order, up to 0.5")
        require(0 <= self.thin <= 1, "shapes.thin", self.thin, "0 to 1")
        require(0 <= self.air <= 1, "shapes.air", self.air, "0 to 1")

    @property
    def labels(self) -> int:
        """Number of labels, the background among them."""
        return 1 + self.regions + 2 * self.bodies + TUBES + SHEETS


def random_labels(random: Randomness, shape: tuple[int, int, int], ranges: Shapes) -> Tensor:
    """Draw label maps, shape ``(B, D, H, W)``, uint8, from 0 to ``ranges.labels - 1``."""
    labels = _regions(random, shape, ranges)
    first = 1 + ranges.regions
    for body in range(ranges.bodies):
        labels = _paint_body(labels, random, shape, ranges, first + 2 * body)
    if ranges.thin > 0:
        labels = _paint_thin(labels, random, shape, ranges, first + 2 * ranges.bodies)
    outside = _distance(random, shape, BODY) > 1
    return labels.masked_fill(outside & random.chance(ranges.air, 1, 1, 1), BACKGROUND)


def _regions(random: Randomness, shape: tuple[int, int, int], ranges: Shapes) -> Tensor:
    """Areas where one of several noises is the largest, or layers between the levels of one noise."""
    noise = smooth_noise(random, ranges.regions, shape, ranges.distances)
    largest, side_by_side = noise[:, 0], torch.zeros_like(noise[:, 0], dtype=torch.uint8)
    for number, level in enumerate(noise.unbind(1)):  # many times as fast as argmax over an axis that is not the last
        side_by_side = torch.where(level > largest, number, side_by_side)
        largest = torch.maximum(level, largest)
    # Levels of equal share of a normal distribution.
    share = torch.special.ndtr(noise[:, 0]).mul_(ranges.regions)
    layers = share.clamp_(max=ranges.regions - 1).to(torch.uint8)
    return torch.where(random.chance(0.5, 1, 1, 1), layers, side_by_side) + 1


def _paint_body(labels: Tensor, random: Randomness, shape: tuple[int, int, int], ranges: Shapes, label: int) -> Tensor:
    distance = _distance(random, shape, ranges.radii)
    core = random.uniform(0.3, 0.8, 1, 1, 1)
    present = random.chance(0.8, 1, 1, 1)
    labels = torch.where((distance < 1) & present, label, labels)
    return torch.where((distance < core) & present, label + 1, labels)


def _distance(random: Randomness, shape: tuple[int, int, int], radii: tuple[float, float]) -> Tensor:
    """Distance from the middle of a rough ellipsoid in units of its radius, shape ``(B, D, H, W)``."""
    size = torch.tensor(shape, device=random.device, dtype=torch.float32)
    centre = (0.5 + random.uniform(-0.35, 0.35, 3)) * size if radii[1] < 0.5 else 0.5 * size.expand(random.batch, 3)
    axes = rotation_from_vector(random.uniform(-math.pi, math.pi, 3)) / (random.uniform(*radii, 1, 3) * min(shape))
    k, j, i = (
        (torch.arange(n, device=random.device) - centre[:, axis, None])[:, None] * axes[:, axis, :, None]
        for axis, n in enumerate(shape)
    )
    offset = k[:, :, :, None, None] + j[:, :, None, :, None] + i[:, :, None, None, :]
    scale = radii[1] * min(shape)
    rough = smooth_noise(random, 1, shape, (max(scale / 2, 4.0), max(scale, 8.0)))
    return offset.square_().sum(1).sqrt_().add_(rough[:, 0], alpha=ROUGHNESS)


def _paint_thin(labels: Tensor, random: Randomness, shape: tuple[int, int, int], ranges: Shapes, label: int) -> Tensor:
    """Paint tubes where two noises are near zero, and sheets where one is."""
    noise = smooth_noise(random, 2 * TUBES + SHEETS, shape, ranges.distances).abs_()
    width = random.uniform(ranges.thin / 4, ranges.thin, TUBES + SHEETS, 1, 1, 1)
    present = random.chance(0.5, TUBES + SHEETS, 1, 1, 1)
    # A sheet takes far more room than a tube of the same width.
    from_axis = torch.cat([torch.maximum(noise[:, :TUBES], noise[:, TUBES : 2 * TUBES]), 3 * noise[:, 2 * TUBES :]], 1)
    inside = (from_axis < width) & present
    for n in range(TUBES + SHEETS):
        labels = torch.where(inside[:, n], label + n, labels)
    return labels
