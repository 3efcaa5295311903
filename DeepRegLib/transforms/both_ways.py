"""One way between two scans out of a transform there and one back, of which neither is favoured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.composite import Transform, compose
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.inversion import invert_displacement_field
from DeepRegLib.transforms.itk import displacement_on_grid
from DeepRegLib.transforms.linear import LinearTransform

if TYPE_CHECKING:
    from torch import Tensor

ROOT_ROUNDS = 30
ROOT_TOLERANCE = 1e-9
# Of the square root of a displacement, in voxels; each round takes half of what is missing at least.
FIELD_ROUNDS = 20
FIELD_TOLERANCE = 1e-3


def linear_between(there: LinearTransform, back: LinearTransform) -> LinearTransform | None:
    """Return the linear transform between two scans that swapping them turns into its inverse.

    It is ``A (B A)^(-1/2)`` of the way there A and the way back B; A itself where B is its inverse.

    Parameters
    ----------
    there
        Fixed points to moving points.
    back
        Moving points to fixed points.

    Returns
    -------
    LinearTransform or None
        None where the two lie half a turn apart, so that there is no way between.

    Examples
    --------
    >>> there = LinearTransform(np.diag([4.0, 1.0, 1.0, 1.0]))
    >>> linear_between(there, LinearTransform.identity()).matrix.diagonal().round(6).tolist()
    [2.0, 1.0, 1.0, 1.0]
    """
    root = square_root(back.matrix @ there.matrix)
    return None if root is None else LinearTransform(there.matrix @ np.linalg.inv(root))


def square_root(matrix: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the principal square root of a ``(4, 4)`` affine matrix; None where it turns by 180 degrees or mirrors.

    References
    ----------
    Denman and Beavers, "The matrix sign function and computations in systems", Appl Math Comput 1976.

    Examples
    --------
    >>> square_root(np.diag([9.0, 4.0, 1.0, 1.0])).diagonal().round(6).tolist()
    [3.0, 2.0, 1.0, 1.0]
    """
    root, inverse = matrix, np.eye(4)
    for _ in range(ROOT_ROUNDS):
        if min(abs(np.linalg.det(root)), abs(np.linalg.det(inverse))) < ROOT_TOLERANCE:
            return None
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
        if np.allclose(root @ root, matrix, rtol=ROOT_TOLERANCE, atol=ROOT_TOLERANCE):
            return root
    return None


def disagreement(
    there: Transform, back: Transform, grid: Geometry, *, poll: Poll = never_cancel
) -> NDArray[np.floating]:
    """Return how far points end from where they began on the way there and back, ``(k, j, i, 3)``, mm, LPS.

    Parameters
    ----------
    there, back
        Fixed points to moving points, and moving points to fixed points.
    grid
        The points, in the fixed world.
    poll
        Called now and then; may raise to stop.

    Examples
    --------
    >>> there, back = np.eye(4), np.eye(4)
    >>> there[0, 3], back[0, 3] = 5.0, -4.0  # mm
    >>> disagreement(LinearTransform(there), LinearTransform(back), Geometry((1, 1, 1))).ravel().tolist()
    [1.0, 0.0, 0.0]
    """
    return displacement_on_grid(compose(there, back), grid, poll=poll)


def between(
    there: Transform, apart: NDArray[np.floating], grid: Geometry, *, device: str = "cpu", poll: Poll = never_cancel
) -> Transform:
    """Return the way half between a way there and the inverse of a way back.

    With f the way there, b the way back and ``h = b o f``, which leads from a fixed point to where it ends, the way
    ``f o h^(-1/2)`` is f where b undoes it, and what swapping the scans makes of it is its inverse: from ``f o h = h' o
    f`` with ``h' = f o b`` follows ``b o h'^(-1/2) o f o h^(-1/2) = b o h'^(-1) o f = id``.

    Parameters
    ----------
    there
        f, fixed points to moving points.
    apart
        ``h - id`` on a grid, from `disagreement`.
    grid
        That grid.
    device
        Where to compute.
    poll
        Called now and then; may raise to stop.

    Examples
    --------
    >>> there, back = np.eye(4), np.eye(4)
    >>> there[0, 3], back[0, 3] = 5.0, -4.0  # mm
    >>> there, back, grid = LinearTransform(there), LinearTransform(back), Geometry((1, 1, 1))
    >>> between(there, disagreement(there, back, grid), grid).apply_to_points([[0.0, 0.0, 0.0]]).round(2).tolist()
    [[4.5, 0.0, 0.0]]
    """
    if not apart.any():
        return there
    undone = invert_displacement_field(DisplacementField(apart, grid), device=device, poll=poll)
    half = _half(displacement_on_grid(undone, grid, poll=poll), grid, device, poll)
    return compose(DisplacementField(half, grid), there)


def _half(whole: NDArray[np.floating], grid: Geometry, device: str, poll: Poll) -> NDArray[np.float32]:
    """Return s with ``s(x) + s(x + s(x)) = w(x)`` for a displacement w, both ``(k, j, i, 3)`` in mm on a grid."""
    import torch

    to_index, to_world = (
        torch.from_numpy(matrix[:3, :3].astype(np.float32)).to(device)
        for matrix in (grid.world_to_index, grid.index_to_world)
    )
    wanted = (torch.from_numpy(whole.astype(np.float32)).to(device) @ to_index.T).movedim(-1, 0).contiguous()
    half = _square_root_of(wanted, poll)
    found: NDArray[np.float32] = (half.movedim(0, -1) @ to_world.T).cpu().numpy()
    return found


def _square_root_of(wanted: Tensor, poll: Poll) -> Tensor:
    from DeepRegLib.transforms.sampling import compose_fields, identity_grid

    _, depth, height, width = wanted.shape
    nodes = identity_grid((depth, height, width), wanted.device)
    half = 0.5 * wanted
    for _ in range(FIELD_ROUNDS):
        poll()
        missing = wanted - compose_fields(half, half, nodes)
        half = half + 0.5 * missing
        if float(missing.abs().max()) < FIELD_TOLERANCE:
            break
    return half
