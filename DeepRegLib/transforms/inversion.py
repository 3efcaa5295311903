"""Inverses: exact for linear transforms, solved to a stated error for displacement fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.transforms.composite import Transform, compose, parts_of
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.linear import LinearTransform

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE_VOXELS = 1e-3
MAXIMUM_ITERATIONS = 40


def invert(transform: Transform, *, device: str = "cpu") -> Transform:
    """Return the inverse: moving points to fixed points.

    Linear parts are inverted exactly; a displacement field by a damped Newton iteration at every voxel of its grid,
    which holds where plain fixed-point iteration diverges. A field with folds has no inverse there; use
    `inverse_error` to see what was reached.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    device
        Where the fields are solved: ``"cpu"``, ``"cuda"``, ``"mps"``.
    """
    inverted: list[Transform] = []
    for part in reversed(parts_of(transform)):
        if isinstance(part, LinearTransform):
            inverted.append(part.inverse())
        else:
            inverted.append(invert_displacement_field(part, device=device))
    return compose(*inverted)


def inverse_error(transform: Transform, inverse: Transform, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance in mm between points and their way there and back, shape ``(n,)``."""
    returned = inverse.apply_to_points(transform.apply_to_points(points))
    return np.asarray(np.linalg.norm(returned - points, axis=-1))


def invert_displacement_field(field: DisplacementField, *, device: str = "cpu") -> DisplacementField:
    """Return v on the same grid with x + v(x) + u(x + v(x)) = x."""
    import torch

    to_index = field.geometry.world_to_index[:3, :3]
    to_world = field.geometry.index_to_world[:3, :3]
    voxels = np.moveaxis(field.array.astype(np.float64) @ to_index.T, -1, 0).astype(np.float32)
    inverse = _solve(torch.from_numpy(np.ascontiguousarray(voxels)).to(device))
    displacement = np.moveaxis(inverse.cpu().numpy().astype(np.float64), 0, -1) @ to_world.T
    return DisplacementField(displacement.astype(np.float32), field.geometry)


def _solve(field: Tensor) -> Tensor:
    """Damped Newton on r(v) = v + u(p + v), every voxel p with its own step length."""
    import torch

    from DeepRegLib.transforms.sampling import field_gradient, identity_grid, sample

    grid = identity_grid((field.shape[1], field.shape[2], field.shape[3]), field.device, field.dtype)
    gradient = field_gradient(field).reshape(9, *field.shape[1:])
    best = -field
    best_residual = torch.full_like(field, torch.inf)
    best_norm = torch.full_like(field[0], torch.inf)
    damping = torch.ones_like(field[0])
    candidate = best
    step = torch.zeros_like(field)
    for _ in range(MAXIMUM_ITERATIONS):
        residual = candidate + sample(field, grid + candidate.permute(1, 2, 3, 0))
        norm = residual.square().sum(0)
        better = norm < best_norm
        best = torch.where(better, candidate, best)
        best_residual = torch.where(better, residual, best_residual)
        best_norm = torch.where(better, norm, best_norm)
        damping = torch.where(better, torch.ones_like(damping), damping * 0.5)
        if float(best_norm.max()) < TOLERANCE_VOXELS**2:
            break
        step = _newton_step(gradient, grid, best, best_residual)
        candidate = best - damping * step
    return best


def _newton_step(gradient: Tensor, grid: Tensor, candidate: Tensor, residual: Tensor) -> Tensor:
    """Solve (I + grad u) step = residual by Cramer's rule; the plain residual where that matrix is near singular."""
    import torch

    from DeepRegLib.transforms.sampling import sample

    a = sample(gradient, grid + candidate.permute(1, 2, 3, 0)).reshape(3, 3, *residual.shape[1:])
    for n in range(3):
        a[n, n] += 1
    cofactors = [
        torch.stack(
            [
                a[(r + 1) % 3, (c + 1) % 3] * a[(r + 2) % 3, (c + 2) % 3]
                - a[(r + 1) % 3, (c + 2) % 3] * a[(r + 2) % 3, (c + 1) % 3]
                for c in range(3)
            ]
        )
        for r in range(3)
    ]
    determinant = (a[0] * cofactors[0]).sum(0)
    solved = sum((cofactors[r] * residual[r] for r in range(3)), torch.zeros_like(residual)) / determinant
    return torch.where(determinant.abs() > 0.05, solved, residual)
