"""Organs that slide: across a surface the tangential part of a field may jump, the normal part may not.

A field here is a float tensor ``(3, D, H, W)`` in voxels of its own grid. The tangential part is smoothed among the
voxels on one side only (normalised convolution), the normal part among all.

References
----------
Schmidt-Richberg et al., "Estimation of slipping organ motion by registration with direction-dependent regularization",
Medical Image Analysis 2012.
Risser et al., "Piecewise-diffeomorphic image registration: application to the motion estimation between 3D CT lung
images with sliding conditions", Medical Image Analysis 2013.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.field_grid import RATIO, to_image_grid
from DeepRegLib.optimization.regularity import LEAST_DETERMINANT, REPAIR_SIGMA, corner_determinants, smooth_locally
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.transforms.sampling import central_difference, sample

# How widely the share of the organ is blurred before its gradient is taken for the normal, in voxels of the field.
NORMAL_SIGMA = 1.5
# Farther away than the blur reaches there is no normal, and none is needed.
LEAST_GRADIENT = 1e-3
# A step is much shorter than that, so no place beyond what is continued is asked for.
CONTINUATION_SIGMA = 1.0
LEAST_SHARE = 1e-4
# How wide the jump that is delivered may get, sigma in voxels of the images: 0.8 did for a slip of 4 voxels along an
# oblique cylinder, 1.5 for one of 8.
JUMP_WIDTHS = (0.8, 1.1, 1.5, 2.0, 3.0)
# Share of the cells about the surface; so few are repaired without regard to sliding.
FEW_FOLDS = 0.005
REPAIR_ROUNDS, ROUNDS_A_REACH = 6, 2


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface along which an organ slides, on the grid of a field.

    Parameters
    ----------
    inside
        Bool, shape ``(D, H, W)``: the voxels of the organ.
    normal
        Unit vectors ``(3, D, H, W)``, components (i, j, k); zero away from the surface.
    """

    inside: Tensor
    normal: Tensor

    def tangential(self, vectors: Tensor) -> Tensor:
        """Return vectors ``(3, D, H, W)`` less their normal part; zero away from the surface."""
        near = self.normal.square().sum(0)
        return near * vectors - self.normal * (self.normal * vectors).sum(0)


def surface_of(share: Tensor) -> Surface:
    """Return the surface of an organ.

    Parameters
    ----------
    share
        Shape ``(D, H, W)``, 0 to 1: how much of each voxel of the field's grid belongs to the organ.
    """
    blurred = _blurred(share, NORMAL_SIGMA)
    gradient = torch.stack([central_difference(blurred, dim) for dim in (-1, -2, -3)])
    length = gradient.square().sum(0).sqrt()
    return Surface(share > 0.5, torch.where(length > LEAST_GRADIENT, gradient / length.clamp_min(LEAST_GRADIENT), 0))


class SlidingSmoothing:
    """Smoothing that respects a surface, for fields ``(3, D, H, W)``.

    Parameters
    ----------
    surface
        On the grid of the fields.
    sigma
        In voxels.
    """

    def __init__(self, surface: Surface, sigma: float) -> None:
        self.surface = surface
        self.sigma = sigma
        self._inner = surface.inside.to(surface.normal.dtype)
        self._total = smooth(torch.ones_like(self._inner), sigma)
        self._inner_share = smooth(self._inner, sigma)

    def __call__(self, field: Tensor) -> Tensor:
        """Return the smoothed field; away from the surface it is what `smooth` gives."""
        across, inner, outer = self._means(field)
        own = torch.where(self.surface.inside, inner, outer) * self._total
        return across + self.surface.tangential(own - across)

    def continued(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Return the field with what lies outside replaced by a continuation of the inside, and the other way round.

        Only the tangential part is replaced, and only next to the surface.
        """
        _, inner, outer = self._means(field)
        inside = self.surface.inside
        from_inside, from_outside = (field + self.surface.tangential(side - field) for side in (inner, outer))
        return torch.where(inside, field, from_inside), torch.where(inside, from_outside, field)

    def _means(self, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean over all, over the inside and over the outside; the field where there is none of a side."""
        across, inner = smooth(field, self.sigma), smooth(field * self._inner, self.sigma)
        means = []
        for total, share in ((inner, self._inner_share), (across - inner, self._total - self._inner_share)):
            means.append(torch.where(share > LEAST_SHARE, total / share.clamp_min(LEAST_SHARE), field))
        return across, means[0], means[1]


def smoothing(surface: Surface | None, sigma: float) -> Callable[[Tensor], Tensor]:
    """Return the smoothing of fields by `sigma` voxels that respects a surface, if there is one."""
    return functools.partial(smooth, sigma=sigma) if surface is None else SlidingSmoothing(surface, sigma)


def sharpened(field: Tensor, surface: Surface, share: Tensor, *, poll: Poll = never_cancel) -> Tensor:
    """Bring a field to the grid of its images, with a jump as narrow as it can be with hardly a fold.

    A jump that is wider than its strength asks for is given away; a narrower one folds where it is not quite a shear.
    So the field is smoothed on both sides where it folds, and if that does not help the next width is tried.

    Parameters
    ----------
    field
        Shape ``(3, d, h, w)``, in its voxels.
    surface
        On its grid.
    share
        Shape ``(2 d, 2 h, 2 w)``, on the grid of the images: how much of each voxel belongs to the organ.
    poll
        Called at every round; may raise to stop.

    Returns
    -------
    Tensor
        Shape ``(3, 2 d, 2 h, 2 w)``, in voxels of the images; what few folds there are must be repaired.
    """
    smoothing = SlidingSmoothing(surface, REPAIR_SIGMA)
    for width in JUMP_WIDTHS:
        blend = _blurred(share, width)
        few = FEW_FOLDS * float(((blend > 0.05) & (blend < 0.95)).sum())
        calmed = field
        for attempt in range(REPAIR_ROUNDS):
            poll()
            sharp = with_sharp_jump(calmed, surface, blend)
            bad = corner_determinants(sharp) < LEAST_DETERMINANT
            if float(bad.sum()) <= few:
                return sharp
            calmed = smooth_locally(calmed, _coarser(bad), reach=1 + attempt // ROUNDS_A_REACH, smoothing=smoothing)
    return sharp


def with_sharp_jump(field: Tensor, surface: Surface, blend: Tensor) -> Tensor:
    """Interpolate a field to the grid of its images, each side with its own continuation, and blend both.

    Where the level sets of the blend lie along the surface the jump is a shear, which folds nothing, however strong; a
    step from voxel to voxel would be stairs.

    Parameters
    ----------
    field
        Shape ``(3, d, h, w)``, in its voxels.
    surface
        On its grid.
    blend
        Shape ``(D, H, W)``, on the grid of the images: 1 inside, 0 outside, smooth in between.

    Returns
    -------
    Tensor
        Shape ``(3, D, H, W)``, in voxels of the images.
    """
    depth, height, width = blend.shape
    sides = SlidingSmoothing(surface, CONTINUATION_SIGMA).continued(field)
    inner, outer = (to_image_grid(side, (depth, height, width)) for side in sides)
    return torch.lerp(outer, inner, blend)


class SlidingSteps:
    """The field is a displacement that jumps at a surface.

    A composition looks the field up a step away, which may lie behind the surface. There it takes the continuation of
    the field on the near side, or each step would blur the jump and carry it off the surface.

    Parameters
    ----------
    grid
        `identity_grid` of the field.
    surface
        On that grid.
    sigma
        Smoothing of the field after each step, in its voxels.
    """

    def __init__(self, grid: Tensor, surface: Surface, sigma: float) -> None:
        self._grid = grid
        self._inside = surface.inside
        self._smooth = SlidingSmoothing(surface, sigma)
        self._continue = SlidingSmoothing(surface, CONTINUATION_SIGMA).continued

    def displacement(self, field: Tensor) -> Tensor:
        """Return the field."""
        return field

    def stepped(self, field: Tensor, update: Tensor) -> Tensor:
        """Return the composition with the step, each side with its own continuation, smoothed."""
        sides = sample(torch.cat(self._continue(field)), self._grid + update.permute(1, 2, 3, 0))
        return self._smooth(update + torch.where(self._inside, sides[:3], sides[3:]))


def _blurred(share: Tensor, sigma: float) -> Tensor:
    return smooth(share, sigma) / smooth(torch.ones_like(share), sigma)


def _coarser(cells: Tensor) -> Tensor:
    """Mark the cells of the field's grid in which there are marked cells of the grid twice as fine."""
    d, h, w = ((n + 1) // RATIO for n in cells.shape)
    blocks = functional.pad(cells, (0, 1, 0, 1, 0, 1)).reshape(d, RATIO, h, RATIO, w, RATIO)
    return blocks.any(5).any(3).any(1)[:-1, :-1, :-1]
