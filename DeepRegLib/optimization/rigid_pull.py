"""A pull that keeps segments rigid during the descent: each is drawn to its nearest rigid motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.optimization.field_grid import RATIO
from DeepRegLib.optimization.pulls import FORCE_A_VOXEL
from DeepRegLib.optimization.rotations import rotation_from_vector

ROTATION_STEPS = 4
LEAST_INERTIA = 1e-3  # square nodes: few nodes on a line do not turn


@dataclass(frozen=True, eq=False)
class RigidNodes:
    """The nodes of a field's grid that a segment takes a share of.

    Parameters
    ----------
    numbers
        Which, of the flattened grid, ``(n,)``.
    places
        Their indices (i, j, k), ``(3, n)``.
    shares
        How much of each node's volume, ``(n,)``, above 0.
    """

    numbers: Tensor
    places: Tensor
    shares: Tensor


class RigidPull:
    """Draws each segment to its nearest rigid motion, as a penalty on bending does (Staring, Klein, Pluim 2007).

    Their penalty sums derivatives of the field. Here counts how far the segment, as the field moves it now, is from its
    nearest rotation and translation, which is sought anew at each iteration. The value is minus half the mean squared
    distance in voxels of the images; the force is its gradient, as strong a voxel as that of a landmark. The linear
    transform that follows the field is part of the motion.

    Parameters
    ----------
    segments
        One a segment that moves by itself.
    linear
        The transform after the field, ``(4, 4)``, from indices (i, j, k) of the grid to such.
    shape
        ``(D, H, W)`` of the grid, which is isotropic.
    device
        Where the field lives.
    """

    def __init__(
        self,
        segments: Sequence[RigidNodes],
        linear: NDArray[np.float64],
        shape: tuple[int, int, int],
        *,
        device: torch.device,
    ) -> None:
        self._segments = segments
        self._turn, self._back = (
            torch.from_numpy(matrix.astype(np.float32)).to(device)
            for matrix in (linear[:3, :3], np.linalg.inv(linear[:3, :3]))
        )
        self._shape = shape
        self._whole = torch.stack([segment.shares.sum() for segment in segments]).sum()

    def value_and_force(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """See `DeepRegLib.optimization.pulls.Pull`."""
        flat = field.flatten(1)
        force = torch.zeros_like(flat)
        squared = field.new_zeros(1)
        for segment in self._segments:
            # The translation of the linear transform is one of the rigid motion too.
            moved = self._turn @ (segment.places + flat[:, segment.numbers])
            missing = (self._back @ (_nearest_rigid(segment, moved) - moved)).mul_(segment.shares)
            squared += (missing.square() / segment.shares).sum()
            force[:, segment.numbers] += missing
        value = squared.mul_(-0.5 * RATIO**2) / self._whole
        return value, force.mul_(FORCE_A_VOXEL * RATIO).reshape(3, *self._shape)


def _nearest_rigid(segment: RigidNodes, moved: Tensor) -> Tensor:
    """Return where the rigid motion nearest to that of a segment's nodes takes them, ``(3, n)``.

    The rotation is found by Gauss-Newton steps, of which few are needed as little bends: a singular value decomposition
    would make the host wait.
    """
    weight = segment.shares / segment.shares.sum()
    here, there = ((points * weight).sum(1, keepdim=True) for points in (segment.places, moved))
    turned, from_there = segment.places - here, moved - there
    unit = torch.eye(3, dtype=moved.dtype, device=moved.device)
    for _ in range(ROTATION_STEPS):
        weighted = turned * weight
        torque = torch.linalg.cross(weighted, from_there, dim=0).sum(1)
        inertia = ((weighted * turned).sum() + LEAST_INERTIA) * unit - weighted @ turned.T
        turned = rotation_from_vector(_solved(inertia, torque)) @ turned
    return turned + there


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve three equations by Cramer's rule; the matrix is symmetric and positive."""
    a, b, c = matrix.unbind(1)
    rows = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)])
    return (rows @ right) / (a @ rows[0])
