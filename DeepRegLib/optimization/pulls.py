"""What moves a field besides the similarity: landmarks drawn to their partners, labels drawn onto each other.

Forces come in the unit of the optimiser's noise force, so that they weigh the same beside every similarity: a force of
1 alone moves a node at half speed. On real pairs, edges that do not lie on each other yet exert 0.3 to 1.5, those that
do 0.1 to 0.3. So a pull of 2 a voxel outweighs any edge once its goal is a voxel away, and gives way to it below a
fraction of a voxel, where landmarks and outlines are no truer than the image.

Displacements are in nodes: voxels of the field's grid, which is half as fine as the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.optimization.field_grid import RATIO
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.transforms.sampling import central_difference, identity_grid, on_device, sample, sample_images

# The force of a landmark, or of a label's border, that lies one voxel of the images off.
FORCE_A_VOXEL = 2.0
# How far a landmark takes its surroundings along, in nodes: a Gaussian sigma. It is the coarse levels that take them
# far. Three times as much made places between the landmarks worse where the image had been right.
LANDMARK_REACH = 1.25
# Labels are blurred by this sigma, in nodes, so that their borders have a slope to pull on.
LABEL_BLUR = 0.7
# A structure that fills less of its nodes than this counts for less, or stray voxels would pull like organs.
LEAST_HEIGHT = 0.1


class Pull(Protocol):
    """A pull on the field of one level."""

    def value_and_force(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Return how well the pull is followed, and where it pulls to.

        Parameters
        ----------
        field
            Shape ``(3, D, H, W)``, components (i, j, k), in nodes.

        Returns
        -------
        Tensor, Tensor
            The value ``(1,)``, at most 0 and 0 at the goal, and the force ``(3, D, H, W)`` in noise forces.
        """
        ...


class LandmarkPull:
    """Draws the place each fixed landmark is mapped to towards its moving partner.

    The value is minus half the mean squared distance in voxels of the images. The force of a landmark is proportional
    to its distance and spread by a Gaussian: the value's gradient, smoothed. Where several overlap they add up.

    Parameters
    ----------
    places
        The fixed landmarks as indices (i, j, k) of the field's grid, shape ``(n, 3)``. One outside of the grid pulls at
        the nearest place of its border, where the field is continued from.
    targets
        Where they belong, in the same way.
    shape
        Shape ``(D, H, W)`` of the field's grid.
    weight
        1 for the force described above.
    device
        Where the field lives.
    """

    def __init__(
        self,
        places: NDArray[np.float64],
        targets: NDArray[np.float64],
        shape: tuple[int, int, int],
        *,
        weight: float = 1.0,
        device: torch.device,
    ) -> None:
        held = np.clip(places, 0, np.array(shape[::-1]) - 1)
        self._places = _tensor(held, device)[None, None]
        self._wanted = _tensor((targets - places).T, device)
        self._gain = weight * FORCE_A_VOXEL * RATIO
        self._shape = shape
        # The Gaussian is a product of one bump an axis, so that all landmarks are spread by one matrix product.
        i, j, k = (_tensor(_bumps(held[:, axis], n), device) for axis, n in enumerate(shape[::-1]))
        self._along_k = k.T
        self._across = (j[:, :, None] * i[:, None, :]).flatten(1)

    def value_and_force(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """See `Pull`."""
        missing = self._wanted - sample(field, self._places)[:, 0, 0]
        value = missing.square().sum(0).mean().mul(-0.5 * RATIO**2).reshape(1)
        spread = (missing[:, None] * self._along_k).flatten(0, 1) @ self._across
        return value, spread.mul_(self._gain).reshape(3, *self._shape)


@dataclass(frozen=True, eq=False)
class Structure:
    """One structure in a part of the field's grid, as the share of each node's volume that it takes.

    Parameters
    ----------
    corner
        Index (k, j, i) of the part's first node.
    fixed, moving
        Shape ``(d, h, w)`` of the part, 0 to 1; outside of it both are 0.
    """

    corner: tuple[int, int, int]
    fixed: Tensor
    moving: Tensor

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """The part as slices of the grid."""
        k, j, i = (slice(first, first + n) for first, n in zip(self.corner, self.fixed.shape, strict=True))
        return k, j, i


class LabelPull:
    """Draws moving structures onto their fixed partners by their borders.

    The value is minus the squared difference of the blurred structures, as a share of their own squares: about the Dice
    of soft structures (Milletari et al., V-Net, 3DV 2016) less 1. The force is the gradient of half the squared
    difference with respect to an update composed before the field, as the optimiser does it.

    Parameters
    ----------
    structures
        One a label; each costs time by the size of its part only.
    fixed_seen, moving_seen
        Shape ``(D, H, W)`` of the field's grid: 1 where the fixed and the aligned moving image were scanned, else 0.
        What was not scanned has no label, which says nothing.
    weight
        1 for a force of `FORCE_A_VOXEL` at a border that is one voxel of the images off.
    """

    def __init__(
        self, structures: Sequence[Structure], fixed_seen: Tensor, moving_seen: Tensor, *, weight: float = 1.0
    ) -> None:
        self._structures = [_blurred(structure) for structure in structures]
        self._fixed_seen = fixed_seen
        self._moving_seen = moving_seen[None]
        shape = (fixed_seen.shape[0], fixed_seen.shape[1], fixed_seen.shape[2])
        self._nodes = identity_grid(shape, fixed_seen.device)
        whole = [s.fixed.square().sum() + s.moving.square().sum() for s in self._structures]
        self._whole = torch.stack(whole).sum().clamp_min(1e-6)
        self._gain = weight * FORCE_A_VOXEL * RATIO / _border_force()

    def value_and_force(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """See `Pull`."""
        places = self._nodes + field.permute(1, 2, 3, 0)
        seen = sample_images(self._moving_seen, places, padding="zeros")[0].mul_(self._fixed_seen)
        force = torch.zeros_like(field)
        difference = field.new_zeros(1)
        for structure in self._structures:
            region = structure.region
            first = on_device([float(n) for n in structure.corner[::-1]], places)
            warped = sample(structure.moving[None], places[region] - first, padding="zeros")[0]
            missing = structure.fixed - warped
            counted = missing * seen[region]
            difference += missing.mul_(counted).sum()
            for component, dim in zip(force, (-1, -2, -3), strict=True):
                component[region].addcmul_(counted, central_difference(warped, dim))
        return -difference / self._whole, force.mul_(self._gain)


def _blurred(structure: Structure) -> Structure:
    """Return a structure with slopes to pull on; one too small for the nodes as a blob of height 1."""
    fixed, moving = smooth(structure.fixed, LABEL_BLUR), smooth(structure.moving, LABEL_BLUR)
    height = torch.maximum(fixed.max(), moving.max()).clamp_min(LEAST_HEIGHT)
    return Structure(structure.corner, fixed / height, moving / height)


def _border_force() -> float:
    """Return by how much the product of difference and slope grows for each node that a straight border is off."""
    width = math.sqrt(LABEL_BLUR**2 + 1 / 12)  # of the blur and of the nodes themselves
    slope, across_two_nodes = 1 / (width * math.sqrt(2 * math.pi)), math.erf(1 / (width * math.sqrt(2))) / 2
    return slope * across_two_nodes


def _bumps(places: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return a Gaussian of height 1 about each place of a line of nodes, ``(n, count)``."""
    return np.exp(-0.5 * ((np.arange(count) - places[:, None]) / LANDMARK_REACH) ** 2)


def _tensor(array: NDArray[np.float64], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)
