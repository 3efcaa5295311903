"""Whether a place would fit better if it moved as its surroundings do: a bump in the field that nothing speaks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.evaluation.trust import INDEPENDENT, windowed_correlation
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.similarity.box import box_sum
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, displacement_on_grid, linear_part

# How wide the surroundings are: a bump of 10 mm is narrower, what breathing moves is wider. Less in small anatomy.
SURROUNDINGS_MM, SURROUNDINGS_SHARE = 16.0, 0.75
ONE_PLACE = 1  # voxels to each side


@dataclass(frozen=True, eq=False)
class Apart:
    """How a field differs from what its surroundings do.

    Parameters
    ----------
    grid
        Of the arrays.
    millimetres
        Length of the difference, ``(k, j, i)``.
    doubt
        How likely the surroundings' motion makes what is seen, over both, 0 to 1: 0.5 where the images do not tell.
    inside
        The anatomy that both scans show.
    fixed, warped
        Intensities on the grid.
    """

    grid: Geometry
    millimetres: NDArray[np.float32]
    doubt: NDArray[np.float32]
    inside: NDArray[np.bool_]
    fixed: Image
    warped: Image


def motion_of_surroundings(
    transform: Transform, grid: Geometry, inside: NDArray[np.bool_]
) -> tuple[DisplacementField, NDArray[np.float32]]:
    """Return a transform as its surroundings have it at each place, and how far from it that is.

    Parameters
    ----------
    transform
        With a field.
    grid
        Of what is returned.
    inside
        The anatomy on the grid, not empty: how large it is counts.

    Returns
    -------
    DisplacementField, NDArray
        The linear part and the smoothed rest; millimetres, ``(k, j, i)``.
    """
    by_pose = _displacement_of(linear_part(transform), grid)
    rest = displacement_on_grid(transform, grid) - by_pose
    places = np.argwhere(inside) * grid.spacing[::-1]
    radius = float(np.sqrt(((places - places.mean(0)) ** 2).sum(1).mean()))
    sigma = min(SURROUNDINGS_MM, SURROUNDINGS_SHARE * radius) / grid.spacing[0]
    volume = torch.from_numpy(np.moveaxis(rest, -1, 0).astype(np.float32))
    blurred = smooth(volume, sigma) / smooth(torch.ones(grid.shape), sigma).clamp_min(1e-6)
    smoothed = np.moveaxis(blurred.numpy(), 0, -1)
    field = DisplacementField((by_pose + smoothed).astype(np.float32), grid)
    return field, np.linalg.norm(rest - smoothed, axis=-1).astype(np.float32)


def _displacement_of(pose: LinearTransform, grid: Geometry) -> NDArray[np.float64]:
    """Return the displacements of a linear transform on a grid, ``(k, j, i, 3)``, mm."""
    along_i, along_j, along_k, first = ((pose.matrix - np.eye(4)) @ grid.index_to_world)[:3].T
    k, j, i = (np.arange(size)[:, None] for size in grid.shape)
    return np.asarray((k * along_k)[:, None, None] + (j * along_j)[:, None] + (i * along_i) + first)


def doubt_of(fixed: Image, warped: Image, otherwise: Image, known: Image) -> NDArray[np.float32]:
    """Return `Apart.doubt` from windows of the fixed image, the warped one, and the one warped otherwise.

    A window's correlation r makes what is seen likely as ``(1 - r^2)^(-n / 2)``, see `window_signs`.

    Parameters
    ----------
    fixed, warped, otherwise
        Intensities on one grid.
    known
        Bool: where all of them were scanned.
    """
    here, there = (windowed_correlation(fixed, image, known) for image in (warped, otherwise))
    ratio = 0.5 * INDEPENDENT * (np.log1p(-here) - np.log1p(-there))
    return (1 / (1 + np.exp(-ratio))).astype(np.float32)


def led_astray(apart: Apart) -> float:
    """Return by how much the worst place differs from its surroundings where those fit better, mm.

    It is the mean over a cube of three voxels; what fits no better either way does not count.
    """
    weighted = np.maximum(2 * apart.doubt - 1, 0) * apart.millimetres * apart.inside
    mean = box_sum(torch.from_numpy(weighted.astype(np.float32)), ONE_PLACE) / (2 * ONE_PLACE + 1) ** 3
    return float(mean.numpy()[apart.inside].max()) if apart.inside.any() else 0.0
