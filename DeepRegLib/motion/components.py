"""The motion of a series as its principal components: a few fields, and how much of each there is at each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.motion.fields import Field, common_grid, field_of, without_folds
from DeepRegLib.transforms import Transform

COMPONENTS = 3
SAMPLED_POINTS = 4000
LEAST_MOTION = 1e-3  # mm


@dataclass(frozen=True, eq=False)
class PrincipalMotion:
    """The principal components of displacements, by what they are at some points.

    Parameters
    ----------
    points
        ``(n, 3)``, LPS mm, at_even_times over the reference.
    mean
        ``(3 n,)`` mm: the mean displacement there.
    basis
        ``(c, 3 n)``, orthonormal: the components there.
    scores
        ``(frames, c)``, mm: root mean square of a component's displacement over the points, with its sign.
    shares
        ``(c,)``: of the variance.
    weights
        ``(c, frames)``: as which sum of the frames' displacements from the mean a component of score 1 comes about.
    """

    points: NDArray[np.float64]
    mean: NDArray[np.float64]
    basis: NDArray[np.float64]
    scores: NDArray[np.float64]
    shares: NDArray[np.float64]
    weights: NDArray[np.float64]

    def scores_of(self, transform: Transform) -> NDArray[np.float64]:
        """Return how much of each component is in a transform of the reference, ``(c,)``, mm."""
        moved = (transform.apply_to_points(self.points) - self.points).ravel() - self.mean
        return np.asarray(self.basis @ moved / np.sqrt(len(self.points)))


@dataclass(frozen=True, eq=False)
class MotionModel:
    """Principal components as fields.

    Parameters
    ----------
    principal
        By points.
    geometry
        Grid of the reference.
    grid
        Of the fields.
    components
        ``(c, k, j, i, 3)``, mm: the displacement that a score of 1 mm adds.
    """

    principal: PrincipalMotion
    geometry: Geometry
    grid: Geometry
    components: Field

    def moved_on(self, transform: Transform, scores: NDArray[np.float64], *, poll: Poll = never_cancel) -> Transform:
        """Return a transform of the reference after its scores have become others; what is no component stays.

        As much of the way is gone as gives no folds.

        Parameters
        ----------
        transform
            Where the anatomy was seen.
        scores
            ``(c,)``, mm: where it is expected.
        poll
            May raise to stop.
        """
        step = scores - self.principal.scores_of(transform)
        own = field_of(transform, self.grid, poll)
        wanted = own + np.tensordot(step.astype(np.float32), self.components, axes=1)
        return without_folds(wanted, own, self.grid, self.geometry)


def principal_motion(
    transforms: Sequence[Transform], geometry: Geometry, *, count: int = COMPONENTS, poll: Poll = never_cancel
) -> PrincipalMotion:
    """Find the principal components of the displacements of a series, each frame's read once.

    Parameters
    ----------
    transforms
        One a frame: points of the reference to points of the frame.
    geometry
        Grid of the reference.
    count
        How many components at most; those that hardly move anything are left out.
    poll
        May raise to stop.

    Raises
    ------
    InputError
        If nothing moves.
    """
    step = (float(np.prod(geometry.extent)) / SAMPLED_POINTS) ** (1 / 3)
    points = geometry.resized(np.maximum(np.full(3, step), geometry.spacing)).points().reshape(-1, 3)
    rows = []
    for number in range(len(transforms)):
        poll()
        rows.append((transforms[number].apply_to_points(points) - points).ravel())
    displacements = np.stack(rows)
    mean = displacements.mean(axis=0)
    size = np.sqrt(len(points))
    left, values, basis = np.linalg.svd(displacements - mean, full_matrices=False)
    kept = int(np.sum(values[:count] > LEAST_MOTION * size * np.sqrt(len(rows))))
    if kept == 0:
        raise InputError("The frames of the series do not move.", "Give a series of something that moves.")
    # A component points to where most of it is positive: signs do not depend on the linear algebra library.
    signs = np.sign(basis[:kept].sum(axis=1)) + (basis[:kept].sum(axis=1) == 0)
    basis = basis[:kept] * signs[:, None]
    scores = left[:, :kept] * values[:kept] * signs / size
    weights = (left[:, :kept] * signs / values[:kept]).T * size
    return PrincipalMotion(points, mean, basis, scores, values[:kept] ** 2 / np.sum(values**2), weights)


def motion_model(
    transforms: Sequence[Transform], geometry: Geometry, *, count: int = COMPONENTS, poll: Poll = never_cancel
) -> MotionModel:
    """Return the principal components of a series as fields; the transforms are read twice, one at a time.

    Parameters and errors are those of `principal_motion`.
    """
    principal = principal_motion(transforms, geometry, count=count, poll=poll)
    grid = common_grid((transforms[number] for number in range(len(transforms))), geometry)
    components = np.zeros((len(principal.basis), *grid.shape, 3), np.float32)
    # The weights of a component sum to zero, so the mean displacement need not be taken off.
    for number, shares in enumerate(principal.weights.T):
        field = field_of(transforms[number], grid, poll)
        for component, share in zip(components, shares, strict=True):
            component += np.float32(share) * field
    return MotionModel(principal, geometry, grid, components)
