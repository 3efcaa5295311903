"""Whether a transform folds, how much it stretches space, and how well its inverse undoes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation.determinants import folds_and_determinants
from DeepRegLib.evaluation.grids import require_on_grid
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms import DisplacementPlanes, LinearTransform, Transform, compose, linear_part, parts_of
from DeepRegLib.transforms.inversion import inverse_error


@dataclass(frozen=True)
class JacobianStatistics:
    """How much a transform stretches and folds space.

    Parameters
    ----------
    folds
        Voxels of the whole grid where `digital_folds` finds one.
    log_sd
        Standard deviation of log det J of the deformation without its linear part, inside the foreground, over
        positive determinants.
    minimum, maximum
        det J of the whole transform inside the foreground; negative values are folds.
    """

    folds: int
    log_sd: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class InverseConsistency:
    """Distance between points and their way there and back.

    Parameters
    ----------
    mean, p99
        Mean and 99th percentile in mm; NaN for an empty foreground.
    """

    mean: float
    p99: float


def digital_folds(transform: Transform, geometry: Geometry, mask: Image | None = None) -> int:
    """Count the voxels of a grid where the sampled transform folds.

    A voxel counts if any of its ten finite-difference Jacobian determinants is zero or negative: eight from forward
    and backward differences along the three axes, and the central tetrahedra of the cells above and below it. Where
    none is, the transform is invertible as a piecewise linear map. Central differences would miss many folds.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    geometry
        The fixed grid; it may be mirrored.
    mask
        Where to count, on `geometry`; None for all voxels.

    Returns
    -------
    int
        0 for a linear transform, mirroring ones included: a determinant's sign is compared with the linear part's.

    Raises
    ------
    InputError
        If the mask lies on another grid.

    References
    ----------
    Liu et al., "On finite difference Jacobian computation in deformable image registration", IJCV 2024.
    """
    if mask is not None:
        require_on_grid(geometry, mask)
    folded = folded_voxels(transform, geometry)
    return int(np.count_nonzero(folded if mask is None else folded & mask.array.astype(np.bool_)))


def folded_voxels(transform: Transform, geometry: Geometry, *, poll: Poll = never_cancel) -> NDArray[np.bool_]:
    """Return where a transform, sampled on a grid, folds, as `digital_folds` counts.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    geometry
        The fixed grid.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    NDArray
        bool, shape ``(k, j, i)``.
    """
    if isinstance(transform, LinearTransform):
        return np.zeros(geometry.shape, dtype=np.bool_)
    return _folds_and_determinants(transform, geometry, None, poll)[0]


def jacobian_statistics(
    transform: Transform, geometry: Geometry, foreground: Image, *, poll: Poll = never_cancel
) -> JacobianStatistics:
    """Return folds and stretch of a transform on a grid; the second half of `folds_and_statistics`."""
    return folds_and_statistics(transform, geometry, foreground, poll=poll)[1]


def folds_and_statistics(
    transform: Transform, geometry: Geometry, foreground: Image, *, poll: Poll = never_cancel
) -> tuple[NDArray[np.bool_], JacobianStatistics]:
    """Return where a transform, sampled on a grid, folds, as `digital_folds` counts, and how much it stretches space.

    Determinants are central differences on the grid (one-sided at the border), relative to the sign of the linear
    part. The linear part scales every determinant alike, so it shifts log det J and leaves its spread alone.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    geometry
        The fixed grid.
    foreground
        Bool image on `geometry`.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    NDArray, JacobianStatistics
        Bool, ``(k, j, i)``; and NaN for the determinants of an empty foreground, and for the spread where none is
        positive.

    Raises
    ------
    InputError
        If the foreground lies on another grid.
    """
    require_on_grid(geometry, foreground)
    inside = foreground.array.astype(np.bool_)
    if not inside.any():
        folded = folded_voxels(transform, geometry, poll=poll)
        return folded, JacobianStatistics(int(np.count_nonzero(folded)), math.nan, math.nan, math.nan)
    if isinstance(transform, LinearTransform):
        determinant = abs(float(np.linalg.det(transform.matrix[:3, :3])))
        return np.zeros(geometry.shape, dtype=np.bool_), JacobianStatistics(0, 0.0, determinant, determinant)
    folded, values = _folds_and_determinants(transform, geometry, inside, poll)
    poll()
    logs = values[values > 0]
    np.log(logs, out=logs)
    return folded, JacobianStatistics(
        folds=int(np.count_nonzero(folded)),
        log_sd=float(logs.std(dtype=np.float64)) if logs.size else math.nan,
        minimum=float(values.min()),
        maximum=float(values.max()),
    )


def inverse_consistency(
    transform: Transform,
    inverse: Transform,
    foreground: Image,
    samples: int = 50_000,
    seed: int = 0,
    *,
    poll: Poll = never_cancel,
) -> InverseConsistency:
    """Return how far foreground points end from where they started after going there and back.

    Parameters
    ----------
    transform, inverse
        Fixed points to moving points, and back.
    foreground
        Bool image on the fixed grid.
    samples
        Voxel centres to test; fewer foreground voxels are tested all.
    seed
        Of the choice of voxels.
    poll
        Called between the steps; may raise to stop.
    """
    candidates = np.flatnonzero(foreground.array)
    if candidates.size == 0:
        return InverseConsistency(math.nan, math.nan)
    if candidates.size > samples:
        candidates = np.random.default_rng(seed).choice(candidates, samples, replace=False)
    poll()
    k, j, i = np.unravel_index(candidates, foreground.array.shape)
    points = foreground.geometry.to_world(np.stack([i, j, k], axis=-1))
    errors = inverse_error(transform, inverse, points)
    return InverseConsistency(float(errors.mean()), float(np.percentile(errors, 99)))


def _folds_and_determinants(
    transform: Transform, geometry: Geometry, inside: NDArray[np.bool_] | None, poll: Poll
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Look at what comes before the last linear transform, which scales all determinants alike and folds nothing."""
    *first, last = parts_of(transform)
    scale = 1.0
    if first and isinstance(last, LinearTransform):
        transform, scale = compose(*first), abs(float(np.linalg.det(last.matrix[:3, :3])))
    displacement = DisplacementPlanes(transform, geometry, poll=poll)
    folded, values = folds_and_determinants(displacement, geometry, inside, mirrored=_mirrors(transform), poll=poll)
    values *= np.float32(scale)
    return folded, values


def _mirrors(transform: Transform) -> bool:
    return bool(np.linalg.det(linear_part(transform).matrix[:3, :3]) < 0)
