"""What the descent of the deformable stage changes: a displacement, or a velocity whose flow is the displacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from DeepRegLib.optimization.sliding import SlidingSteps, Surface
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.velocity import bracket, exponential, squarings_for
from DeepRegLib.recipes import VELOCITY, Deformable
from DeepRegLib.transforms.sampling import compose_fields, identity_grid

# The number of squarings is looked up now and then only, since that makes the host wait.
SQUARINGS_REFRESH = 10


class Parametrisation(Protocol):
    """How a field ``(3, D, H, W)``, in voxels of its grid, moves points and is itself changed by a step."""

    def displacement(self, field: Tensor) -> Tensor:
        """Return by how much the voxels move."""
        ...

    def stepped(self, field: Tensor, update: Tensor) -> Tensor:
        """Return the smoothed field that moves points by `update` first and then as `field` did."""
        ...


@dataclass(frozen=True, eq=False)
class DisplacementSteps:
    """The field is the displacement.

    Parameters
    ----------
    grid
        `identity_grid` of the field.
    sigma
        Smoothing of the field after each step, in its voxels.
    """

    grid: Tensor
    sigma: float

    def displacement(self, field: Tensor) -> Tensor:
        """Return the field."""
        return field

    def stepped(self, field: Tensor, update: Tensor) -> Tensor:
        """Return the composition with the step, smoothed."""
        return smooth(compose_fields(field, update, self.grid), self.sigma)


@dataclass(eq=False)
class VelocitySteps:
    """The field is a stationary velocity, and a step is composed with its flow in the domain of logarithms.

    Of the Baker-Campbell-Hausdorff series log(exp(v) o exp(d)) = v + d + [v, d] / 2 + ... that much is taken.

    Parameters
    ----------
    grid, sigma
        As in `DisplacementSteps`.
    squarings
        How many the flow takes.
    flows
        How many were computed.

    References
    ----------
    Vercauteren et al., "Symmetric log-domain diffeomorphic registration: a demons-based approach", MICCAI 2008.
    """

    grid: Tensor
    sigma: float
    squarings: int = 0
    flows: int = 0

    def displacement(self, field: Tensor) -> Tensor:
        """Return the displacement by the flow."""
        if self.flows % SQUARINGS_REFRESH == 0:
            self.squarings = squarings_for(field)
        self.flows += 1
        return exponential(field, self.squarings, self.grid)

    def stepped(self, field: Tensor, update: Tensor) -> Tensor:
        """Return the logarithm of the composition with the step, smoothed."""
        return smooth(field + update + 0.5 * bracket(field, update), self.sigma)


def parametrisation(
    recipe: Deformable, shape: tuple[int, int, int], like: Tensor, sigma: float = 0.0, surface: Surface | None = None
) -> Parametrisation:
    """Return the parametrisation a recipe asks for, for fields of a shape that live where `like` does.

    A field that slides along a surface is a displacement: a flow would carry the surface away from where it is.
    """
    grid = identity_grid(shape, like.device)
    if surface is not None:
        return SlidingSteps(grid, surface, sigma)
    return VelocitySteps(grid, sigma) if recipe.parametrisation == VELOCITY else DisplacementSteps(grid, sigma)
