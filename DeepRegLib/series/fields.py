"""Transforms of many members as displacements on one grid: mixed, averaged, freed of a common part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll
from DeepRegLib.motion.fields import Field, field_of
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    apply_to_image,
    compose,
    field_of_view,
    invert,
)


def weighted_sum(fields: Callable[[int], Field], weights: NDArray[np.float64]) -> Field:
    """Return the sum of fields by number, each by its weight; those of weight 0 are not asked for."""
    used = np.flatnonzero(weights)
    total = weights[used[0]] * fields(int(used[0])).astype(np.float64)
    for number in used[1:]:
        total += weights[number] * fields(int(number))
    return np.asarray(total, dtype=np.float32)


def field_sums(
    transforms: Iterable[tuple[Transform, float]], grid: Geometry, poll: Poll
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted sum of displacements, ``(k, j, i, 3)``, and that of their squared lengths, one at a time."""
    total, squares = np.zeros((*grid.shape, 3)), np.zeros(grid.shape)
    for transform, weight in transforms:
        field = field_of(transform, grid, poll).astype(np.float64)
        total += weight * field
        squares += weight * (field**2).sum(-1)
    return total, squares


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of a group.

    Parameters
    ----------
    image
        float32: the weighted mean of the members' intensities.
    spread
        float32: their standard deviation.
    """

    image: Image
    spread: Image


@dataclass(frozen=True, eq=False)
class Sums:
    """What a mean of images is made of, float64 on its grid; that of two groups together is their sum.

    Parameters
    ----------
    total, squares
        Weighted sums of the intensities and of their squares.
    weight
        Of all images that were scanned there.
    """

    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    weight: NDArray[np.float64]


def mean_image(images: Iterable[tuple[Image, Transform, float]], geometry: Geometry, name: str, poll: Poll) -> Mean:
    """Return the weighted mean and deviation of images brought onto a grid; each counts where it was scanned.

    Parameters
    ----------
    images
        Each with its transform, points of the grid to its own, and its weight.
    geometry
        The grid.
    name
        Of the mean.
    poll
        May raise to stop.
    """
    return mean_of(sums_of(images, geometry, poll), geometry, name)


def sums_of(images: Iterable[tuple[Image, Transform, float]], geometry: Geometry, poll: Poll) -> Sums:
    """Return what `mean_image` is made of."""
    total, squares, weight = (np.zeros(geometry.shape, dtype=np.float64) for _ in range(3))
    for image, transform, share in images:
        values = apply_to_image(transform, _as_float(image), geometry, poll=poll).array.astype(np.float64)
        seen = share * field_of_view(transform, image.geometry, geometry, poll=poll).array.astype(np.float64)
        total += seen * values
        squares += seen * values**2
        weight += seen
    return Sums(total, squares, weight)


def mean_of(sums: Sums, geometry: Geometry, name: str) -> Mean:
    """Return the mean and deviation that sums make; 0 where nothing was scanned."""
    there = sums.weight > 0
    mean = np.divide(sums.total, sums.weight, out=np.zeros_like(sums.total), where=there)
    variance = np.divide(sums.squares, sums.weight, out=np.zeros_like(sums.total), where=there) - mean**2
    spread = np.sqrt(np.maximum(variance, 0))
    return Mean(
        Image(mean.astype(np.float32), geometry, name), Image(spread.astype(np.float32), geometry, "variability")
    )


def centred(
    transforms: Sequence[Transform], weights: Sequence[float], grid: Geometry, device: str, poll: Poll
) -> tuple[list[Transform], float]:
    """Free transforms of what they have in common, so that their weighted mean moves nothing.

    Each T becomes T o m^-1, m(x) = x + weighted mean of T(x) - x; then the mean of the new ones is the identity.

    Returns
    -------
    list of Transform, float
        Linear ones stay linear; and the mean length of the common displacement in mm.
    """
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    linear = [each for each in transforms if isinstance(each, LinearTransform)]
    if len(linear) == len(transforms):
        mean = LinearTransform(np.tensordot(share, np.stack([each.matrix for each in linear]), axes=1))
        points = grid.corners()
        moved = float(np.linalg.norm(mean.apply_to_points(points) - points, axis=-1).mean())
        return [each.after(mean.inverse()) for each in linear], moved
    common = weighted_sum(lambda number: field_of(transforms[number], grid, poll), share)
    moved = float(np.linalg.norm(common, axis=-1).mean())
    back = invert(DisplacementField(common, grid), device=device, poll=poll)
    return [without_mean(back, each, grid, poll) for each in transforms], moved


def without_mean(back: Transform, transform: Transform, grid: Geometry, poll: Poll) -> Transform:
    """Return a transform behind one that undoes what all have in common, as a field on a grid."""
    return DisplacementField(field_of(compose(back, transform), grid, poll), grid)


def _as_float(image: Image) -> Image:
    return image if image.array.dtype.kind == "f" else image.with_array(image.array.astype(np.float32))
