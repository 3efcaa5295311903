"""Stationary velocity fields: their flow, the same backwards, and the velocity behind a displacement.

A velocity is a float tensor of shape ``(3, D, H, W)`` in voxels of its own grid, components (i, j, k), interpolated
linearly and continued past the border by the values there. Its flow takes the voxel p to p + u(p) in a unit of time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.sampling import compose_fields, field_gradient, identity_grid, sample

# The longest first step in voxels. With the midpoint rule shorter ones change the flow by less than interpolation does.
FIRST_STEP = 1.0
FEWEST_SQUARINGS = 2
LOGARITHM_ROUNDS = 20
LOGARITHM_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class Logarithm:
    """A velocity ``(3, D, H, W)`` and how far its flow ends from the displacement it was sought for, in voxels."""

    velocity: Tensor
    mean_error: float
    largest_error: float


def squarings_for(velocity: Tensor) -> int:
    """Return how often to double a step that is at most `FIRST_STEP` long at first. Makes the host wait."""
    longest = float(velocity.square().sum(0).max().sqrt())
    return max(FEWEST_SQUARINGS, math.ceil(math.log2(max(longest / FIRST_STEP, 1.0))))


def exponential(velocity: Tensor, squarings: int, grid: Tensor, *, poll: Poll = never_cancel) -> Tensor:
    """Return the displacement by the flow of a velocity: scaling and squaring.

    Parameters
    ----------
    velocity
        Shape ``(3, D, H, W)``, in voxels.
    squarings
        How often the flow of a short time is composed with itself: `squarings_for` or more.
    grid
        `identity_grid` of that shape.
    poll
        Called at every squaring; may raise to stop.

    Returns
    -------
    Tensor
        Shape ``(3, D, H, W)``, in voxels. The displacement by the flow of ``-velocity`` is its inverse.

    References
    ----------
    Arsigny et al., "A log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006.
    """
    step = velocity / 2**squarings
    flow = sample(step, grid + 0.5 * step.permute(1, 2, 3, 0))
    for _ in range(squarings):
        poll()
        flow = compose_fields(flow, flow, grid)
    return flow


def logarithm(displacement: Tensor, *, poll: Poll = never_cancel) -> Logarithm:
    """Find the velocity whose flow is a displacement, or comes near it where no stationary velocity has that flow.

    What the flow misses was missed somewhere on its way, so a voxel's velocity is corrected by the mean of what those
    miss that start there, are there half way, and end there (Simpson's rule), until that no longer helps.

    Parameters
    ----------
    displacement
        Shape ``(3, D, H, W)``, in voxels, without folds.
    poll
        Called at every squaring; may raise to stop.
    """
    grid = identity_grid(_shape_of(displacement), displacement.device)
    velocity, best = displacement, None
    for _ in range(LOGARITHM_ROUNDS):
        squarings = squarings_for(velocity)
        missing = displacement - exponential(velocity, squarings, grid, poll=poll)
        distance = missing.square().sum(0).sqrt()
        found = Logarithm(velocity, float(distance.mean()), float(distance.max()))
        if best is not None and found.mean_error >= best.mean_error:
            break
        best = found
        if best.largest_error < LOGARITHM_TOLERANCE:
            break
        half_back = exponential(-0.5 * velocity, squarings - 1, grid, poll=poll)
        back = compose_fields(half_back, half_back, grid)
        before, between = (sample(missing, grid + way.permute(1, 2, 3, 0)) for way in (back, half_back))
        velocity = velocity + (missing + 4 * between + before) / 6
    assert best is not None  # noqa: S101  # for mypy: there are rounds
    return best


def bracket(first: Tensor, second: Tensor) -> Tensor:
    """Return the Lie bracket (D first) second - (D second) first of two fields ``(3, D, H, W)``."""
    return (field_gradient(first) * second[None] - field_gradient(second) * first[None]).sum(1)


def _shape_of(field: Tensor) -> tuple[int, int, int]:
    depth, height, width = field.shape[1:]
    return depth, height, width
