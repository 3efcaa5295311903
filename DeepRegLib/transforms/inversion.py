"""Inverses: exact for linear transforms, solved to a stated error for displacement fields."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.composite import Transform, compose, parts_of
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.planes import DisplacementPlanes

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

# A tenth of what interpolating the inverse between its voxels costs.
TOLERANCE_VOXELS = 5e-3
# The rest of the tolerance is float32's, which tells positions on a large grid no further apart.
SOLVED_VOXELS = 0.95 * TOLERANCE_VOXELS
USUAL_ITERATIONS, MAXIMUM_ITERATIONS = 4, 40
SINGULAR_DETERMINANT = 0.05
# An inverse fades out over so many times the length of what moves there: it is then compressed by half at most.
FADING = 2.0
# Voxels beyond the margins in which nothing fades yet: a field leads up to half a voxel out of them.
UNFADED = 1
# Bounds the memory of a solve, and the time between two polls.
POINTS_AT_ONCE = 1 << 18


def invert(
    transform: Transform,
    *,
    refinement: float = 1.0,
    near: Transform | None = None,
    within: Geometry | None = None,
    device: str = "cpu",
    poll: Poll = never_cancel,
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
    within
        A grid of moving points, the moving scan's, in which the inverse is to be continuous; see
        `invert_displacement_field`.
    device
        Where the fields are solved: ``"cpu"``, ``"cuda"``, ``"mps"``.
    poll
        Called at every iteration; may raise to stop.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> invert(LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))).apply_to_points([6.0, 1.0, 1.0]).tolist()
    [3.0, 1.0, 1.0]
    """
    inverted: list[Transform] = []
    starts = [None] * len(parts_of(transform)) if near is None else parts_of(near)
    corners = None if within is None else within.corners()
    for part, start in zip(reversed(parts_of(transform)), starts, strict=True):
        if isinstance(part, LinearTransform):
            inverted.append(part.inverse())
        else:
            known = start if isinstance(start, DisplacementField) else None
            inverted.append(
                invert_displacement_field(
                    part, refinement=refinement, near=known, reaching=corners, device=device, poll=poll
                )
            )
        corners = None if corners is None else inverted[-1].apply_to_points(corners)
    return compose(*inverted)


def inverse_error(transform: Transform, inverse: Transform, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance in mm between points and their way there and back, shape ``(n,)``.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> wider, nearly = np.diag([2.0, 1.0, 1.0, 1.0]), np.diag([0.5, 1.0, 1.0, 1.0])
    >>> nearly[0, 3] = 0.25  # mm too far
    >>> inverse_error(LinearTransform(wider), LinearTransform(nearly), np.zeros((2, 3))).tolist()
    [0.25, 0.25]
    """
    returned = inverse.apply_to_points(transform.apply_to_points(points))
    return np.asarray(np.linalg.norm(returned - points, axis=-1))


def invert_displacement_field(
    field: DisplacementField,
    *,
    refinement: float = 1.0,
    near: DisplacementField | None = None,
    reaching: NDArray[np.float64] | None = None,
    device: str = "cpu",
    poll: Poll = never_cancel,
) -> DisplacementField:
    """Return v with x + v(x) + u(x + v(x)) = x at the voxels of a grid that covers where the field leads.

    That is the field's own grid, or one as fine or finer that is wider by as much as the field leads out of its box, at
    most by the box on each side. Beyond what it covers, and where the field leads from nowhere, nothing moves.

    So the inverse jumps where the field's box ends, which a moving scan that shows more than the fixed one would see as
    folds. With `reaching`, points (mm, LPS, ``(n, 3)``), it is that of the field continued by the values at its border,
    and fades out beyond where the field leads, as far as these points lie.

    Examples
    --------
    >>> grid = Geometry((8, 8, 8))
    >>> field = DisplacementField(np.full((8, 8, 8, 3), 0.5, dtype=np.float32), grid)
    >>> inverse = invert_displacement_field(field)
    >>> inverse.apply_to_points(field.apply_to_points([[3.0, 3.0, 3.0]])).round(3).tolist()
    [[3.0, 3.0, 3.0]]
    """
    import torch

    from DeepRegLib.transforms.sampling import field_gradient, identity_grid

    margins = _margins(field)
    fading = None if reaching is None else _fading(field, margins)
    wider = (
        margins if fading is None or reaching is None else margins + _needed(field.geometry, margins, fading, reaching)
    )
    grid = _refined(field.geometry.padded(*wider) if wider.any() else field.geometry, refinement)
    if refinement > 1 and near is None:
        # Few voxels to bring all of the finer ones within a step or two of their solution.
        near = invert_displacement_field(field, reaching=reaching, device=device, poll=poll)
    to_index, to_world = (_matrix(m, device) for m in (field.geometry.world_to_index, field.geometry.index_to_world))

    def in_voxels(millimetres: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(millimetres.astype(np.float32, copy=False)).to(device) @ to_index.T

    volume = in_voxels(field.array).movedim(-1, 0).contiguous()
    known = None if near is None else DisplacementPlanes(near, grid, poll=poll)
    poll()
    slopes = field_gradient(volume).reshape(9, -1).T.contiguous()
    matrix = field.geometry.world_to_index @ grid.index_to_world
    turn, shift = _matrix(matrix, device), torch.from_numpy(matrix[:3, 3:].astype(np.float32)).to(device)
    inverse = np.empty((*grid.shape, 3), dtype=np.float32)
    solutions = inverse.reshape(-1, 3)

    def solve(numbers: slice | NDArray[np.intp], nodes: Tensor, guess: Tensor | None, iterations: int) -> Tensor:
        points = turn @ nodes + shift
        start = -_at(volume, points) if guess is None else guess.T.contiguous()
        solved, left = _solve(volume, slopes, points, start, iterations, poll)
        if fading is not None:
            solved *= _faded(points, field.geometry.size, margins, fading)
        elif margins.any():
            lost = _outside(points, volume, 0.5) & _outside(points + solved, volume, 1.0)
            solved = torch.where(lost, 0.0, solved)
        solutions[numbers] = (to_world @ solved).T.cpu().numpy()
        return left

    plane = grid.shape[1] * grid.shape[2]
    thickness = max(1, POINTS_AT_ONCE // plane)
    unsolved = []
    for first in range(0, grid.shape[0], thickness):
        poll()
        last = min(first + thickness, grid.shape[0])
        nodes = identity_grid((last - first, *grid.shape[1:]), torch.device(device)).reshape(-1, 3).T
        nodes[2] += first
        guess = None if known is None else in_voxels(known[first:last]).reshape(-1, 3)
        left = solve(slice(first * plane, last * plane), nodes, guess, USUAL_ITERATIONS)
        unsolved.append(left.cpu().numpy() + first * plane)
    # Every slab has a few points that need many iterations, which are cheaper for those of all slabs together.
    stubborn = np.concatenate(unsolved)
    for start in range(0, len(stubborn), POINTS_AT_ONCE):
        some = stubborn[start : start + POINTS_AT_ONCE]
        index = np.stack(np.unravel_index(some, grid.shape)[::-1]).astype(np.float32)
        solve(some, torch.from_numpy(index).to(device), in_voxels(solutions[some]), MAXIMUM_ITERATIONS)
    return DisplacementField(inverse, grid)


def _margins(field: DisplacementField) -> NDArray[np.int_]:
    """Return how many voxels a field leads out of its box, before and behind along i, j, k, shape ``(2, 3)``."""
    to_index = field.geometry.world_to_index[:3, :3].astype(field.array.dtype)
    last = np.array(field.geometry.size) - 1
    low, high = np.zeros(3), np.zeros(3)
    for number, plane in enumerate(field.array):  # a plane at a time, for the sake of memory
        moved = plane.reshape(-1, 3) @ to_index.T
        moved[:, 0] += np.tile(np.arange(last[0] + 1), last[1] + 1)
        moved[:, 1] += np.repeat(np.arange(last[1] + 1), last[0] + 1)
        moved[:, 2] += number
        low, high = np.minimum(low, moved.min(axis=0)), np.maximum(high, moved.max(axis=0) - last)
    # A field holds for half a voxel beyond the centres of its outermost voxels.
    wanted = np.ceil(np.stack([-low, high]) - 0.5).astype(int)
    margins = np.clip(wanted, 0, last + 1)
    if (wanted > margins).any():
        logger.warning("A field leads farther out of its box than the box is long; its inverse does not reach there.")
    return margins


def _fading(field: DisplacementField, margins: NDArray[np.int_]) -> NDArray[np.int_]:
    """Return over how many voxels beyond the margins the inverse fades out, shape as of `_margins`.

    Long beside what the field moves at that side of its box, so that fading out folds nothing.
    """
    sides = np.zeros(margins.shape, dtype=int)
    for axis in range(3):
        for side, end in enumerate((0, -1)):
            border = np.take(field.array, end, axis=2 - axis).reshape(-1, 3) @ field.geometry.world_to_index[:3, :3].T
            sides[side, axis] = np.ceil(FADING * np.linalg.norm(border, axis=-1).max())
    return sides


def _needed(
    geometry: Geometry, margins: NDArray[np.int_], fading: NDArray[np.int_], points: NDArray[np.float64]
) -> NDArray[np.int_]:
    """Return how many voxels beyond the margins are needed to reach points or the end of the fading, the nearer one."""
    index, last = geometry.to_index(points), np.array(geometry.size) - 1
    beyond = np.stack([-index.min(axis=0), index.max(axis=0) - last])
    return np.clip(np.ceil(beyond - margins).astype(int), 0, np.minimum(fading + UNFADED, last + 1))


def _faded(points: Tensor, size: Sequence[int], margins: NDArray[np.int_], fading: NDArray[np.int_]) -> Tensor:
    """Return the share of the displacement that has not faded at voxel indices ``(3, n)``, 0 to 1."""
    import torch

    share = torch.ones_like(points[0])
    for axis in range(3):
        before, behind = -margins[0, axis] - points[axis], points[axis] - (size[axis] - 1 + margins[1, axis])
        for beyond, length in ((before, fading[0, axis]), (behind, fading[1, axis])):
            share *= 1 - ((beyond - UNFADED) / max(float(length), 1.0)).clamp(0, 1)
    return share


def _outside(points: Tensor, volume: Tensor, tolerance: float) -> Tensor:
    """Tell which voxel indices ``(3, n)`` lie farther outside a volume than so many voxels."""
    import torch

    last = torch.tensor([[n - 1.0] for n in reversed(volume.shape[1:])], device=points.device)
    return ((points < -tolerance) | (points > last + tolerance)).any(0)


def _matrix(affine: NDArray[np.float64], device: str) -> Tensor:
    """Return the linear part of an affine matrix in float32."""
    import torch

    return torch.from_numpy(affine[:3, :3].astype(np.float32)).to(device)


def _refined(geometry: Geometry, refinement: float) -> Geometry:
    if refinement == 1:
        return geometry
    return geometry.resized(np.array(geometry.spacing) / refinement)


def _solve(
    field: Tensor, slopes: Tensor, points: Tensor, guess: Tensor, iterations: int, poll: Poll
) -> tuple[Tensor, Tensor]:
    """Find v with v + u(p + v) = 0 at every point p, from a guess: damped Newton, each point with its own step length.

    Points that have converged are left out of the next iteration. The gradient is that of the nearest node: it only
    says how far to step.

    Parameters
    ----------
    field
        ``(3, D, H, W)``.
    slopes
        Its gradient node by node, ``(D H W, 9)``.
    points, guess
        ``(3, n)``.
    iterations
        The most that are tried.
    poll
        Called at each of them.

    Returns
    -------
    Tensor, Tensor
        The nearest to a solution that was reached, ``(3, n)``, and the numbers of the points that have none yet.
    """
    import torch

    result = guess
    active = torch.arange(points.shape[1], device=points.device)
    best = candidate = guess.clone()
    best_residual = torch.full_like(best, torch.inf)
    best_norm = torch.full_like(best[0], torch.inf)
    damping = torch.ones_like(best_norm)
    for iteration in range(iterations):
        poll()
        residual = _at(field, points + candidate).add_(candidate)
        norm = residual.square().sum(0)
        better = norm < best_norm
        best = torch.where(better, candidate, best)
        best_residual = torch.where(better, residual, best_residual)
        best_norm = torch.where(better, norm, best_norm)
        damping = torch.where(better, 1.0, damping * 0.5)
        result[:, active] = best
        left = (best_norm > SOLVED_VOXELS**2).nonzero()[:, 0]
        active = active[left]
        if len(left) == 0 or iteration + 1 == iterations:
            break
        if len(left) < len(best_norm):
            points, best, best_residual = points[:, left], best[:, left], best_residual[:, left]
            best_norm, damping = best_norm[left], damping[left]
        gradient = slopes[_nearest(points + best, field.shape[1:])].T.reshape(3, 3, -1)
        candidate = best - damping * _newton_step(gradient, best_residual)
    return result, active


def _at(field: Tensor, points: Tensor) -> Tensor:
    """Sample a field at voxel indices ``(3, n)``; returns ``(3, n)``."""
    from DeepRegLib.transforms.sampling import sample

    return sample(field, points.T[None, None])[:, 0, 0]


def _nearest(points: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the number of the node nearest to voxel indices ``(3, n)``, of those of a grid one after the other."""
    depth, height, width = shape
    i, j, k = (
        index.round().long().clamp_(0, size - 1) for index, size in zip(points, (width, height, depth), strict=True)
    )
    return k.mul_(height).add_(j).mul_(width).add_(i)


def _newton_step(gradient: Tensor, residual: Tensor) -> Tensor:
    """Solve (I + grad u) step = residual by Cramer's rule; the plain residual where that matrix is near singular.

    Parameters
    ----------
    gradient
        du_a/dp_b, ``(3, 3, n)``.
    residual
        ``(3, n)``.
    """
    import torch

    matrix = gradient + torch.eye(3, device=gradient.device, dtype=gradient.dtype)[..., None]
    a, b, c = matrix.unbind(1)
    bc = _cross(b, c)
    determinant = (a * bc).sum(0)
    numerators = [bc, _cross(c, a), _cross(a, b)]
    step = torch.stack([(residual * n).sum(0) for n in numerators]) / determinant
    return torch.where(determinant.abs() > SINGULAR_DETERMINANT, step, residual)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the cross products of vectors ``(3, n)``; torch's own wants theirs contiguous."""
    import torch

    return torch.stack([a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))])
