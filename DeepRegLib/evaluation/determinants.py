"""Digital Jacobian determinants of a sampled transform: the kernels behind `digital_folds`."""

# optimization/regularity.py computes the same determinants on torch fields in voxels of its working grid, to repair
# folds. This one judges the delivered field on the fixed image's own grid and shares no code with it on purpose: an
# error there must not hide itself here.

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll
from DeepRegLib.transforms.planes import PLANES_VOXELS

Slab = NDArray[np.float32]


class Planes(Protocol):
    """Displacements in mm (LPS), ``(k, j, i, 3)``: an array, or what gives some planes of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(k, j, i, 3)``."""

    def __getitem__(self, planes: slice, /) -> NDArray[np.floating]:
        """Return some planes k."""


# Looked at by one thread in one go: what stays in the processor's cache. Of numpy, because torch's threads stall each
# other on a busy machine.
SLAB_VOXELS = 1 << 16


def folds_and_determinants(
    displacement: Planes,
    geometry: Geometry,
    inside: NDArray[np.bool_] | None,
    *,
    mirrored: bool,
    poll: Poll,
) -> tuple[NDArray[np.bool_], Slab]:
    """Return the folded voxels, and the central-difference determinants of the voxels `inside` as a flat array.

    In the index space of the grid a determinant equals that in the world, also on a mirrored grid. `poll` may
    raise to stop.
    """
    folded = np.zeros(geometry.shape, dtype=np.bool_)
    values = []
    orientation = -1.0 if mirrored else 1.0
    plane = geometry.shape[1] * geometry.shape[2]

    def look_at(slab: slice, field: Slab) -> Slab:
        steps = _steps(field, orientation)
        smallest = _smallest_corner_determinant(steps)
        _include_central_tetrahedra(smallest, field, slab, geometry, orientation)
        np.less_equal(smallest, 0, out=folded[slab])
        if inside is None or not inside[slab].any():
            return np.empty(0, dtype=np.float32)
        centred = [np.float32(0.5) * (behind + ahead) for behind, ahead in steps]
        return _determinant(centred[0], centred[1], centred[2])[inside[slab]]

    with ThreadPoolExecutor(sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()) as pool:
        for window in _slabs(slice(0, geometry.shape[0]), PLANES_VOXELS // plane):
            poll()
            field = _index_displacement(displacement, geometry, window)
            field[0] *= orientation
            jobs = [
                pool.submit(look_at, slab, field[:, slab.start - window.start : slab.stop - window.start + 2])
                for slab in _slabs(window, SLAB_VOXELS // plane)
            ]
            for job in jobs:
                poll()
                values.append(job.result())
    return folded, np.concatenate(values)


def _slabs(planes: slice, thickness: int) -> list[slice]:
    step = max(1, thickness)
    return [slice(start, min(start + step, planes.stop)) for start in range(planes.start, planes.stop, step)]


def _index_displacement(displacement: Planes, geometry: Geometry, slab: slice) -> Slab:
    """Displacement in voxels (i, j, k) on a slab and one voxel around it, ``(3, n + 2, J + 2, I + 2)``.

    The voxel past the border of the grid continues the field linearly, so that both one-sided differences there are
    the one that exists.
    """
    first, last = max(slab.start - 1, 0), min(slab.stop + 1, displacement.shape[0])
    depth, height, width = slab.stop - slab.start, displacement.shape[1], displacement.shape[2]
    field = np.zeros((3, depth + 2, height + 2, width + 2), dtype=np.float32)
    at = first - (slab.start - 1)
    planes = displacement[first:last]
    for component, row in zip(field, geometry.world_to_index[:3, :3], strict=True):
        inner = component[at : at + last - first, 1:-1, 1:-1]
        for axis in np.flatnonzero(row):  # one alone where the grid is not oblique
            inner += planes[..., axis] * row[axis].astype(planes.dtype)
    _continue_linearly(field, 3, before=True, after=True)
    _continue_linearly(field, 2, before=True, after=True)
    _continue_linearly(field, 1, before=first == slab.start, after=last == slab.stop)
    return field


def _continue_linearly(field: Slab, axis: int, *, before: bool, after: bool) -> None:
    layers = np.moveaxis(field, axis, 0)
    inner = 2 if len(layers) > 3 or not (before and after) else 1  # an axis of one voxel has nothing to continue
    if before:
        layers[0] = 2 * layers[1] - layers[inner]
    if after:
        layers[-1] = 2 * layers[-2] - layers[-1 - inner]


def _steps(field: Slab, orientation: float) -> list[tuple[Slab, Slab]]:
    """Backward and forward differences of the positions along i, j, k, each ``(3, n, J, I)``."""
    along_i = np.diff(field[:, 1:-1, 1:-1, :], axis=3)
    along_j = np.diff(field[:, 1:-1, :, 1:-1], axis=2)
    along_k = np.diff(field[:, :, 1:-1, 1:-1], axis=1)
    along_i[0] += np.float32(orientation)
    along_j[1] += 1
    along_k[2] += 1
    return [
        (along_i[..., :-1], along_i[..., 1:]),
        (along_j[:, :, :-1], along_j[:, :, 1:]),
        (along_k[:, :-1], along_k[:, 1:]),
    ]


def _smallest_corner_determinant(steps: list[tuple[Slab, Slab]]) -> Slab:
    smallest = np.full(steps[0][0].shape[1:], np.inf, dtype=np.float32)
    for along_i, along_j in itertools.product(steps[0], steps[1]):
        normal = _cross(along_i, along_j)
        for along_k in steps[2]:
            np.minimum(smallest, _dot(normal, along_k), out=smallest)
    return smallest


def _include_central_tetrahedra(
    smallest: Slab, field: Slab, slab: slice, geometry: Geometry, orientation: float
) -> None:
    """Lower `smallest` to the determinants J*2 (cell above a voxel) and J*1 (cell below), where the cell exists."""
    whole = (slab, slice(0, geometry.shape[1]), slice(0, geometry.shape[2]))
    for side in (1, -1):
        home = tuple(_with_neighbour(part, n, side) for part, n in zip(whole, geometry.shape, strict=True))
        target = smallest[home]
        if target.size == 0:
            continue
        edges = []
        for step in ((1, 1, 0), (0, 1, 1), (1, 0, 1)):
            end = tuple(_padded(part, side * n) for part, n in zip(home, reversed(step), strict=True))
            start = tuple(_padded(part, 0) for part in home)
            edge = field[(slice(None), *end)] - field[(slice(None), *start)]
            for axis, n in enumerate(step):
                edge[axis] += np.float32(side * n * (orientation if axis == 0 else 1.0))
            edges.append(edge)
        # The three edges of the cell below are reversed, which turns the sign around.
        np.minimum(target, side * _determinant(edges[0], edges[1], edges[2]), out=target)


def _with_neighbour(part: slice, size: int, side: int) -> slice:
    """Where in a slab, counted from its start, a voxel has a neighbour on that side within the grid."""
    start, stop = (part.start, min(part.stop, size - 1)) if side == 1 else (max(part.start, 1), part.stop)
    return slice(start - part.start, max(stop, start) - part.start)


def _padded(part: slice, shift: int) -> slice:
    return slice(part.start + 1 + shift, part.stop + 1 + shift)


def _cross(a: Slab, b: Slab) -> list[Slab]:
    return [_minor(a[1], a[2], b[1], b[2]), _minor(a[2], a[0], b[2], b[0]), _minor(a[0], a[1], b[0], b[1])]


def _minor(a: Slab, b: Slab, c: Slab, d: Slab) -> Slab:
    product = a * d
    product -= b * c
    return product


def _dot(a: list[Slab], b: Slab) -> Slab:
    product = a[0] * b[0]
    product += a[1] * b[1]
    product += a[2] * b[2]
    return product


def _determinant(a: Slab, b: Slab, c: Slab) -> Slab:
    return _dot(_cross(a, b), c)
