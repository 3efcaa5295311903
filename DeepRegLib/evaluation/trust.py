"""Where a result can be trusted: the error to be expected at each place, from how well its surroundings agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.evaluation.grids import require_one_grid
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.similarity.box import box_sum

WINDOW_RADIUS = 2  # voxels
REACH = 3  # voxels to each side at which a window is tried
# Neighbouring voxels say nearly the same: a window of 125 counts like so many independent ones.
INDEPENDENT = 10.0
VARIANCE_FLOOR = 1e-4
LARGEST_SQUARE = 0.999
# Expected error in voxels of the map: a part everywhere, a part for what is unlike, that times the shift at which the
# window fits better, and a part for stretch (|log det J|). All at least 0, so that it grows with each. Least squares
# on scans deformed by known fields, before and after a registration (part `trust` of Testing/benchmarks).
EVERYWHERE, BY_UNLIKENESS, BY_SHIFT, BY_STRETCH = 0.26, 0.43, 0.17, 0.12
LARGEST_STRETCH = 2.0
# What is smoothed keeps some of a bump. Of 50 bumps of 10 mm in right results 20 were told without this, 43 with it.
BY_SURROUNDINGS = 1.5
PLACES = 3
# Two places nearer to each other than this share of the foreground's radius are one.
APART = 0.25


@dataclass(frozen=True, eq=False)
class Signs:
    """What is seen about each voxel, ``(k, j, i)`` each.

    Parameters
    ----------
    unlike
        How much of a window the other image does not explain: sqrt(1 - r^2) of the correlation in it, 0 to 1.
    shift
        Root mean square of the shifts at which a window was tried, each weighted by how likely it makes what is seen,
        in voxels.
    stretch
        |log det J| of the transform without its linear part, `LARGEST_STRETCH` at most.
    inverse_error
        How far a point comes back from where it started by transform and inverse, mm.
    astray
        How far the field leads from where its surroundings would, times how likely those make what is seen, mm.
    """

    unlike: NDArray[np.float32]
    shift: NDArray[np.float32]
    stretch: NDArray[np.float32]
    inverse_error: NDArray[np.float32]
    astray: NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """A place at which much error is to be expected.

    Parameters
    ----------
    position
        LPS mm, in the fixed world.
    expected
        Error in mm.
    unlike, shift, stretch, inverse_error, astray
        What was seen there, as in `Signs`; the shift in mm.
    """

    position: tuple[float, float, float]
    expected: float
    unlike: float
    shift: float
    stretch: float
    inverse_error: float
    astray: float


def window_signs(
    fixed: Image, warped: Image, known: Image, *, poll: Poll = never_cancel
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return `Signs.unlike` and `Signs.shift` of two images on one grid of cubic voxels.

    Where values are a linear function of each other but for Gaussian noise, a shift s makes what is seen likely as
    ``(1 - r(s)^2)^(-n / 2)``, r the correlation in the window and n how many independent voxels it has, and
    -log(1 - r^2) / 2 is their mutual information. Shifts are tried along each axis.

    Parameters
    ----------
    fixed, warped
        Intensities.
    known
        Bool, on their grid: where both were scanned.
    poll
        Called now and then; may raise to stop.

    Raises
    ------
    InputError
        If the grids differ.
    """
    require_one_grid(fixed, warped, known)
    inside = torch.from_numpy(known.array.astype(np.float32))
    windows = _Windows(*(_centred(image, inside) for image in (fixed, warped)))
    here = windows.squared_correlation(0, 0)
    steps = torch.arange(-REACH, REACH + 1, dtype=torch.float32).view(-1, 1, 1, 1)
    total = torch.zeros_like(here)
    for axis in range(3):
        squares = [here if s == 0 else windows.squared_correlation(s, axis) for s in range(-REACH, REACH + 1)]
        poll()
        likely = torch.softmax(torch.stack([-0.5 * INDEPENDENT * torch.log1p(-square) for square in squares]), dim=0)
        total += (likely * steps**2).sum(0)
    return torch.sqrt(1 - here).numpy(), torch.sqrt(total).numpy()


def windowed_correlation(fixed: Image, warped: Image, known: Image) -> NDArray[np.float32]:
    """Return the squared correlation in the window about each voxel, 0 to 1; parameters as of `window_signs`."""
    require_one_grid(fixed, warped, known)
    inside = torch.from_numpy(known.array.astype(np.float32))
    squares = _Windows(*(_centred(image, inside) for image in (fixed, warped))).squared_correlation(0, 0)
    return np.asarray(squares.numpy())


def expected_error(signs: Signs, spacing: float) -> NDArray[np.float32]:
    """Return the error to be expected at each voxel in mm, from its signs and the voxel size in mm."""
    voxels = (
        EVERYWHERE + BY_UNLIKENESS * signs.unlike + BY_SHIFT * signs.unlike * signs.shift + BY_STRETCH * signs.stretch
    )
    by_map = np.hypot(spacing * voxels, signs.inverse_error)
    return np.hypot(by_map, BY_SURROUNDINGS * signs.astray).astype(np.float32)


def worst_places(
    expected: NDArray[np.float32], signs: Signs, inside: NDArray[np.bool_], grid: Geometry, count: int = PLACES
) -> tuple[Place, ...]:
    """Return the places of most expected error inside a mask, the worst first, none near another.

    Parameters
    ----------
    expected
        mm, ``(k, j, i)``.
    signs
        What it came from.
    inside
        Which voxels count.
    grid
        Of the arrays.
    count
        How many at most.
    """
    index = np.argwhere(inside)
    if not len(index):
        return ()
    points = grid.to_world(index[:, ::-1])
    values = expected[inside]
    radius = float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))
    found: list[Place] = []
    left = np.ones(len(values), dtype=np.bool_)
    while left.any() and len(found) < count:
        worst = int(np.where(left, values, -1).argmax())
        found.append(_place(tuple(index[worst]), points[worst], expected, signs, grid))
        left &= np.linalg.norm(points - points[worst], axis=1) > APART * radius
    return tuple(found)


def _place(
    at: tuple[int, ...], point: NDArray[np.float64], expected: NDArray[np.float32], signs: Signs, grid: Geometry
) -> Place:
    x, y, z = (float(value) for value in point)
    return Place(
        (x, y, z),
        float(expected[at]),
        float(signs.unlike[at]),
        float(signs.shift[at]) * grid.spacing[0],
        float(signs.stretch[at]),
        float(signs.inverse_error[at]),
        float(signs.astray[at]),
    )


class _Windows:
    """Two centred images with what of the window sums belongs to one of them."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self._images = first, second
        self._count = float((2 * WINDOW_RADIUS + 1) ** 3)
        self._means = [self._mean(image) for image in self._images]
        self._variances = [
            (self._mean(image * image) - mean * mean).clamp_min(0) + VARIANCE_FLOOR * float((image**2).mean()) + 1e-12
            for image, mean in zip(self._images, self._means, strict=True)
        ]

    def squared_correlation(self, shift: int, axis: int) -> Tensor:
        """Return the squared correlation in each window with the second image moved along an axis of the arrays."""
        moved, mean, variance = (
            _moved(volume, shift, axis) for volume in (self._images[1], self._means[1], self._variances[1])
        )
        covariance = self._mean(self._images[0] * moved) - self._means[0] * mean
        return (covariance * covariance / (self._variances[0] * variance)).clamp(0, LARGEST_SQUARE)

    def _mean(self, volume: Tensor) -> Tensor:
        return box_sum(volume, WINDOW_RADIUS) / self._count


def _moved(volume: Tensor, shift: int, axis: int) -> Tensor:
    """Return v(x + shift) along an axis, the border repeated."""
    if shift == 0:
        return volume
    size = volume.shape[axis]
    return volume.index_select(axis, (torch.arange(size) + shift).clamp(0, size - 1))


def _centred(image: Image, inside: Tensor) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(image.array, dtype=np.float32))
    return (values - (values * inside).sum() / inside.sum().clamp_min(1)) * inside
