"""Inverses: exact for linear transforms, solved to a stated error for displacement fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, keep_going
from DeepRegLib.transforms.composite import Transform, compose, parts_of
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.planes import DisplacementPlanes

if TYPE_CHECKING:
    from torch import Tensor

# A tenth of what interpolating the inverse between its voxels costs.
TOLERANCE_VOXELS = 5e-3
MAXIMUM_ITERATIONS = 40
SINGULAR_DETERMINANT = 0.05
# Bounds the memory of a solve, and the time between two polls.
POINTS_AT_ONCE = 1 << 18


def invert(
    transform: Transform,
    *,
    refinement: float = 1.0,
    near: Transform | None = None,
    device: str = "cpu",
    poll: Poll = keep_going,
) -> Transform:
    """Return the inverse: moving points to fixed points.

    Linear parts are inverted exactly; a displacement field by a damped Newton iteration at every voxel of a grid,
    which holds where plain fixed-point iteration diverges. A field with folds has no inverse there; use
    `inverse_error` to see what was reached.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    refinement
        How many times finer than the field's own grid the inverse's is. Between its voxels an inverse is interpolated,
        an error that falls with the square of this number.
    near
        An earlier inverse of the same transform, from which the solution is reached in fewer steps.
    device
        Where the fields are solved: ``"cpu"``, ``"cuda"``, ``"mps"``.
    poll
        Called at every iteration; may raise to stop.
    """
    inverted: list[Transform] = []
    starts = [None] * len(parts_of(transform)) if near is None else parts_of(near)
    for part, start in zip(reversed(parts_of(transform)), starts, strict=True):
        if isinstance(part, LinearTransform):
            inverted.append(part.inverse())
        else:
            known = start if isinstance(start, DisplacementField) else None
            inverted.append(
                invert_displacement_field(part, refinement=refinement, near=known, device=device, poll=poll)
            )
    return compose(*inverted)


def inverse_error(transform: Transform, inverse: Transform, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance in mm between points and their way there and back, shape ``(n,)``."""
    returned = inverse.apply_to_points(transform.apply_to_points(points))
    return np.asarray(np.linalg.norm(returned - points, axis=-1))


def invert_displacement_field(
    field: DisplacementField,
    *,
    refinement: float = 1.0,
    near: DisplacementField | None = None,
    device: str = "cpu",
    poll: Poll = keep_going,
) -> DisplacementField:
    """Return v with x + v(x) + u(x + v(x)) = x at the voxels of the field's grid, or of a finer one."""
    import torch

    from DeepRegLib.transforms.sampling import field_gradient, identity_grid

    grid = _refined(field.geometry, refinement)
    if refinement > 1 and near is None:
        # Few voxels to bring all of the finer ones within a step or two of their solution.
        near = invert_displacement_field(field, device=device, poll=poll)
    to_index, to_world = (_matrix(m, device) for m in (field.geometry.world_to_index, field.geometry.index_to_world))

    def in_voxels(millimetres: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(millimetres.astype(np.float32, copy=False)).to(device) @ to_index.T

    volume = in_voxels(field.array).movedim(-1, 0).contiguous()
    known = None if near is None else DisplacementPlanes(near, grid, poll=poll)
    poll()
    gradient = field_gradient(volume).reshape(9, *volume.shape[1:])
    matrix = field.geometry.world_to_index @ grid.index_to_world
    turn, shift = _matrix(matrix, device), torch.from_numpy(matrix[:3, 3].astype(np.float32)).to(device)
    inverse = np.empty((*grid.shape, 3), dtype=np.float32)
    thickness = max(1, POINTS_AT_ONCE // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], thickness):
        poll()
        slab = slice(start, min(start + thickness, grid.shape[0]))
        nodes = identity_grid((slab.stop - start, *grid.shape[1:]), torch.device(device)).reshape(-1, 3)
        nodes[:, 2] += start
        points = nodes @ turn.T + shift
        guess = -_at(volume, points) if known is None else in_voxels(known[slab]).reshape(-1, 3)
        solved = _solve(volume, gradient, points, guess, poll)
        inverse[slab] = (solved @ to_world.T).cpu().numpy().reshape(inverse[slab].shape)
    return DisplacementField(inverse, grid)


def _matrix(affine: NDArray[np.float64], device: str) -> Tensor:
    """Return the linear part of an affine matrix in float32."""
    import torch

    return torch.from_numpy(affine[:3, :3].astype(np.float32)).to(device)


def _refined(geometry: Geometry, refinement: float) -> Geometry:
    if refinement == 1:
        return geometry
    return geometry.resized(np.array(geometry.spacing) / refinement)


def _solve(field: Tensor, gradient: Tensor, points: Tensor, guess: Tensor, poll: Poll) -> Tensor:
    """Find v with v + u(p + v) = 0 at every point p, from a guess: damped Newton, each point with its own step length.

    Points that have converged are left out of the next iteration; `field` is ``(3, D, H, W)``, its `gradient`
    ``(9, D, H, W)``, the rest ``(n, 3)``.
    """
    import torch

    result = guess
    active = torch.arange(len(points), device=points.device)
    best, candidate = result, result
    best_residual = torch.full_like(result, torch.inf)
    best_norm = torch.full_like(result[:, 0], torch.inf)
    damping = torch.ones_like(best_norm)
    for _ in range(MAXIMUM_ITERATIONS):
        poll()
        residual = candidate + _at(field, points + candidate)
        norm = residual.square().sum(1)
        better = norm < best_norm
        best = torch.where(better[:, None], candidate, best)
        best_residual = torch.where(better[:, None], residual, best_residual)
        best_norm = torch.where(better, norm, best_norm)
        damping = torch.where(better, torch.ones_like(damping), damping * 0.5)
        result[active] = best
        left = best_norm > TOLERANCE_VOXELS**2
        if not bool(left.any()):
            break
        active, points, best, best_residual = active[left], points[left], best[left], best_residual[left]
        best_norm, damping = best_norm[left], damping[left]
        step = _newton_step(_at(gradient, points + best).reshape(-1, 3, 3), best_residual)
        candidate = best - damping[:, None] * step
    return result


def _at(volume: Tensor, points: Tensor) -> Tensor:
    """Sample ``(C, D, H, W)`` at voxel indices ``(n, 3)``; returns ``(n, C)``."""
    from DeepRegLib.transforms.sampling import sample

    return sample(volume, points[:, None, None, :])[:, :, 0, 0].T


def _newton_step(gradient: Tensor, residual: Tensor) -> Tensor:
    """Solve (I + grad u) step = residual by Cramer's rule; the plain residual where that matrix is near singular."""
    import torch

    a, b, c = (gradient + torch.eye(3, device=gradient.device, dtype=gradient.dtype)).unbind(2)
    bc = torch.linalg.cross(b, c)
    determinant = (a * bc).sum(1)
    numerators = [bc, torch.linalg.cross(c, a), torch.linalg.cross(a, b)]
    step = torch.stack([(residual * n).sum(1) for n in numerators], dim=1) / determinant[:, None]
    return torch.where(determinant.abs()[:, None] > SINGULAR_DETERMINANT, step, residual)
