"""Keeping a displacement field free of folds."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.transforms.sampling import field_gradient

LEAST_DETERMINANT = 0.1
# Below, the logarithm of a determinant says more about the few cells that nearly fold than about all others.
LEAST_LOGARITHM = 0.05
MAXIMUM_REACH = 15
# As little as helps: on a brain, smoothing more widely than the few cells that fold cost a fifth of the overlap gained.
REPAIR_SIGMA = 0.8
# How many rounds are tried before smoothing more widely and more strongly. Gentle smoothing over and over drives a
# strong fold outwards, which took the field of a search on heads 79 rounds, and changed half as many voxels again as 12
# do. The folds of a result are few and weak, and patience with them kept 0.005 Dice on an abdomen.
ROUNDS_A_REACH = 2
PATIENT_ROUNDS = 8


def corner_determinants(field: Tensor) -> Tensor:
    """Return the smallest digital Jacobian determinant of each cell of p -> p + u(p).

    A cell is the cube between eight neighbouring voxels. Its determinants are those of the eight corner tetrahedra
    (the forward and backward differences at each voxel) and of the two central ones (Liu et al., "On finite difference
    Jacobian computation in deformable image registration", IJCV 2024).

    Parameters
    ----------
    field
        Shape ``(3, D, H, W)``, components (i, j, k), in voxels.

    Returns
    -------
    Tensor
        Shape ``(D - 1, H - 1, W - 1)``; 1 where nothing moves, 0 or below where the field folds.
    """
    return _smallest_determinant({bits: _corner(field, bits) for bits in _BITS})


def log_jacobian_sd(field: Tensor) -> Tensor:
    """Return the standard deviation of the logarithm of det(I + du/dp), by central differences; how rough a field is.

    Parameters
    ----------
    field
        Shape ``(3, D, H, W)``, components (i, j, k), in voxels. Determinants below 0.05, folds too, count as that.

    Returns
    -------
    Tensor
        Of no axes; 0 for a field that changes no volume.

    Examples
    --------
    >>> float(log_jacobian_sd(torch.ones(3, 4, 4, 4)))
    0.0
    """
    rows = field_gradient(field)
    for axis in range(3):
        rows[axis, axis] += 1
    return _triple(rows[0], rows[1], rows[2]).clamp_min_(LEAST_LOGARITHM).log_().std()


def repair_folds(
    field: Tensor, *, rounds_a_reach: int = ROUNDS_A_REACH, poll: Poll = never_cancel
) -> tuple[Tensor, int]:
    """Smooth the field where it folds or nearly does, until no digital determinant is below `LEAST_DETERMINANT`.

    Parameters
    ----------
    field
        Shape ``(3, D, H, W)``, in voxels.
    rounds_a_reach
        How many rounds are tried before smoothing more widely and more strongly.
    poll
        Called at every round; may raise to stop.

    Returns
    -------
    Tensor, int
        The repaired field and the number of cells that had been below the limit.
    """
    poll()
    bad = corner_determinants(field) < LEAST_DETERMINANT
    found = 0
    for attempt in range(MAXIMUM_REACH * rounds_a_reach):
        count = int(bad.sum())
        found = max(found, count)
        if count == 0:
            break
        poll()
        before = field
        field = smooth_locally(field, bad, reach=1 + attempt // rounds_a_reach)
        poll()
        touched = _cells_of((field != before).any(0)).flatten().nonzero()[:, 0]
        bad.view(-1)[touched] = _determinants_at(field, touched) < LEAST_DETERMINANT
    return field, found


def smooth_locally(
    field: Tensor, cells: Tensor, *, reach: int, smoothing: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Blur the field about the marked cells, or smooth it there as is wanted, fading out over `reach` voxels.

    The blur is the stronger the wider it reaches.
    """
    marked = torch.zeros_like(field[0])
    marked[:-1, :-1, :-1] = cells.to(field.dtype)
    # The same as a maximum over the window, which on a CPU takes 10 to 100 times as long and grows with its volume.
    wide = (box_sum(marked, reach) > 0.5).to(field.dtype)
    share = smooth(wide, reach / 2).clamp(0, 1)
    blurred = smooth(field, REPAIR_SIGMA * (1 + reach) / 2) if smoothing is None else smoothing(field)
    return field.lerp(blurred, share)


_BITS = [(i, j, k) for k in (0, 1) for j in (0, 1) for i in (0, 1)]


def _with(bits: tuple[int, int, int], axis: int, bit: int) -> tuple[int, int, int]:
    i, j, k = (bit if a == axis else b for a, b in enumerate(bits))
    return i, j, k


def _corner(field: Tensor, bits: tuple[int, int, int]) -> Tensor:
    """View what lies at one corner of each cell, on the last three axes."""
    i, j, k = (slice(1, None) if bit else slice(None, -1) for bit in bits)
    return field[..., k, j, i]


def _cells_of(nodes: Tensor) -> Tensor:
    """Mark the cells that have a marked corner."""
    return functools.reduce(torch.logical_or, [_corner(nodes, bits) for bits in _BITS])


def _determinants_at(field: Tensor, cells: Tensor) -> Tensor:
    """Return `corner_determinants` of some cells, given by their numbers in memory's order."""
    _, depth, height, width = field.shape
    i = cells % (width - 1)
    j = cells // (width - 1) % (height - 1)
    k = cells // ((width - 1) * (height - 1))
    nodes = field.reshape(3, depth * height * width)
    return _smallest_determinant({(x, y, z): nodes[:, ((k + z) * height + j + y) * width + i + x] for x, y, z in _BITS})


def _smallest_determinant(corners: dict[tuple[int, int, int], Tensor]) -> Tensor:
    """Return each cell's smallest determinant from the displacements at its corners, ``(3, ...)`` each."""
    # Axis order of differences is (i, j, k); a corner is named by which end of each axis it sits at.
    smallest = torch.minimum(*(_central_determinant(corners, parity) for parity in (0, 1)))
    for bits in _BITS:
        edges = []
        for axis in range(3):
            low, high = _with(bits, axis, 0), _with(bits, axis, 1)
            edge = corners[high] - corners[low]
            edge[axis] += 1
            edges.append(edge)
        smallest = torch.minimum(smallest, _triple(*edges))
    return smallest


def _triple(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return the determinant of the matrix with rows a, b, c, each ``(3, ...)``."""
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])


def _central_determinant(corners: dict[tuple[int, int, int], Tensor], parity: int) -> Tensor:
    """Return the determinant of the tetrahedron of the four corners of one parity, relative to its value at rest."""
    chosen = [bits for bits in _BITS if sum(bits) % 2 == parity]
    first = chosen[0]
    edges = []
    for bits in chosen[1:]:
        edge = corners[bits] - corners[first]
        for axis in range(3):
            edge[axis] += bits[axis] - first[axis]
        edges.append(edge)
    rows = [[b - f for b, f in zip(bits, first, strict=True)] for bits in chosen[1:]]
    return _triple(*edges) / float(np.linalg.det(rows))
