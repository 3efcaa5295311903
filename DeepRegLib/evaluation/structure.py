"""How well edges run the same way in two images, whatever their contrast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation.grids import comparison_grid, require_one_grid
from DeepRegLib.evaluation.similarity import value_range
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing import finite, smooth_and_resample
from DeepRegLib.preprocessing.arrays import float_array
from DeepRegLib.transforms.banded import along_axes, gaussian, slope

STRUCTURE_SIGMA = 1.5  # working voxels
FEWEST_EDGES = 100  # working voxels
# An axis shorter than that has no edges to compare.
SHORTEST_AXIS = 4


@dataclass(frozen=True, eq=False)
class FixedEdges:
    """What `structure_agreement` needs of the fixed image alone, for those who compare several images with it.

    Parameters
    ----------
    fixed
        The image.
    inside
        The mask on its grid.
    grid
        The working grid.
    keep
        The mask on the working grid.
    gradients
        Of the fixed image where `keep` is set, shape ``(n, 3)``.
    sigma
        Of the Gaussian that both images are smoothed by, working voxels.
    """

    fixed: Image
    inside: NDArray[np.bool_]
    grid: Geometry
    keep: NDArray[np.bool_]
    gradients: NDArray[np.float32]
    sigma: float = STRUCTURE_SIGMA

    def are_of(self, fixed: Image, mask: Image) -> bool:
        """Tell whether these are the edges of an image inside a mask."""
        return fixed is self.fixed and np.array_equal(self.inside, mask.array)


def fixed_edges(fixed: Image, mask: Image, *, sigma: float = STRUCTURE_SIGMA, poll: Poll = never_cancel) -> FixedEdges:
    """Return what `structure_agreement` needs of the fixed image inside a mask that is not empty.

    `sigma` is that of the Gaussian by which both images are smoothed, in working voxels.

    Raises
    ------
    InputError
        If the grids differ, or the image has no finite voxel.
    """
    require_one_grid(fixed, mask)
    inside = mask.array.astype(np.bool_)
    grid = comparison_grid(mask.with_array(inside))
    keep = float_array(smooth_and_resample(mask.with_array(inside), grid, poll=poll)) > 0.5
    return FixedEdges(fixed, inside, grid, keep, _gradients(fixed, inside, grid, sigma, poll)[keep], sigma)


def structure_agreement(
    fixed: Image, warped: Image, mask: Image, *, edges: FixedEdges | None = None, poll: Poll = never_cancel
) -> float:
    """Return how well edges run the same way in both images, whatever their contrast.

    Both images are brought to cubic voxels (a million at most) and smoothed; where both have a gradient above their
    median, the squared cosine of the angle between the gradients is averaged, weighted by both magnitudes, each
    saturated at its median. The average that two unrelated images with these edge directions would have (1/3 if
    directions are spread evenly, more for thick slices) is taken to 0.

    Parameters
    ----------
    fixed, warped, mask
        Two images and a bool image on one grid. Where the moving field of view ends inside the mask, its border
        counts as an edge of the warped image: leave it out of the mask.
    edges
        What `fixed_edges` returned for this image and mask; None computes it.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    float
        0 (chance) to 1 (parallel everywhere); 0 if there are hardly any edges.

    Raises
    ------
    InputError
        If the grids differ, or an image has no finite voxel.

    References
    ----------
    After Haber and Modersitzki, "Intensity gradient based registration and fusion of multi-modal images", MICCAI 2006.
    """
    require_one_grid(fixed, warped, mask)
    inside = mask.array.astype(np.bool_)
    if not inside.any():
        return 0.0
    of_fixed = edges if edges is not None else fixed_edges(fixed, mask, poll=poll)
    second = _gradients(warped, inside, of_fixed.grid, of_fixed.sigma, poll)[of_fixed.keep]
    poll()
    return _direction_agreement(of_fixed.gradients, second)


def _gradients(
    image: Image, inside: NDArray[np.bool_], grid: Geometry, sigma: float, poll: Poll
) -> NDArray[np.float32]:
    """Smoothed gradients along the axes of `grid`, shape ``(k, j, i, 3)``.

    Angles between gradients are the same in any frame, so they are not turned into the world's.
    """
    whole, _ = finite(image)
    poll()
    low, high = value_range(float_array(whole)[inside])
    poll()
    clamped = whole.with_array(np.clip(float_array(whole), low, high))
    values = float_array(smooth_and_resample(clamped, grid, poll=poll))
    return np.stack([_derivative(values, axis, sigma, poll) for axis in (2, 1, 0)], axis=-1)


def _derivative(values: NDArray[np.float32], derived: int, sigma: float, poll: Poll) -> NDArray[np.float32]:
    if values.shape[derived] < SHORTEST_AXIS:
        return np.zeros_like(values)
    matrices = [
        None if size < SHORTEST_AXIS else (slope if axis == derived else gaussian)(size, sigma)
        for axis, size in enumerate(values.shape)
    ]
    return along_axes(values, matrices, poll=poll)


def _direction_agreement(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    lengths = [np.linalg.norm(g, axis=1) for g in (first, second)]
    noise = [_noise_level(length) for length in lengths]
    edges = (lengths[0] > noise[0]) & (lengths[1] > noise[1])
    if np.count_nonzero(edges) < FEWEST_EDGES:
        return 0.0
    units, weights = [], []
    for gradient, length, level in zip((first, second), lengths, noise, strict=True):
        units.append(gradient[edges].astype(np.float64) / length[edges, None])
        weights.append(length[edges] / np.hypot(length[edges], level))
    cosine = np.einsum("na,na->n", units[0], units[1])
    agreement = float(np.average(cosine**2, weights=weights[0] * weights[1]))
    chance = _chance_agreement(units, weights)
    return float(np.clip((agreement - chance) / max(1 - chance, 1e-6), 0, 1))


def _noise_level(lengths: NDArray[np.floating]) -> float:
    if lengths.size == 0:
        return 0.0
    # The median is zero in an image that is flat in most places; its edges still stand out from 1 % of the strongest.
    return max(float(np.median(lengths)), 0.01 * float(lengths.max()), 1e-12)


def _chance_agreement(units: list[NDArray[np.float64]], weights: list[NDArray[np.float64]]) -> float:
    """Mean squared cosine if one image's directions were shuffled: the trace of both structure tensors' product."""
    tensors = [(u * w[:, None]).T @ u / w.sum() for u, w in zip(units, weights, strict=True)]
    return float(np.trace(tensors[0] @ tensors[1]))
