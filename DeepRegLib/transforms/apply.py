"""Transforms applied to images and label maps: one resampling, through the whole chain."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, interpolation_type, resample, resample_sitk, rounded, to_sitk
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.composite import Transform
from DeepRegLib.transforms.itk import displacement_on_grid, transform_to_sitk
from DeepRegLib.transforms.planes import PLANES_VOXELS

VOXELS_AT_ONCE = 1 << 17
AIR = (-1100.0, -800.0)  # Hounsfield units
HALF_WAY = 1e-6  # of a voxel, what rounding makes of a half
LEAST_AIR = 0.02  # of all voxels


def background_value(image: Image) -> float:
    """Return the value that stands for "nothing was scanned here".

    It is the image's smallest finite value, air in a CT; but 0 in a map of floating-point numbers on both sides of 0,
    such as a phase, a z-score or a susceptibility, unless it holds Hounsfield units.

    Examples
    --------
    >>> background_value(Image(np.array([[[-1000, 40]]], dtype=np.int16), Geometry((2, 1, 1))))
    -1000.0
    >>> background_value(Image(np.array([[[-1.5, 2.5]]]), Geometry((2, 1, 1))))
    0.0
    """
    if image.array.dtype.kind != "f":
        return float(image.array.min())
    finite: NDArray[np.floating] = image.array[np.isfinite(image.array)]
    if not finite.size:
        return 0.0
    lowest, highest = float(finite.min()), float(finite.max())
    return 0.0 if lowest < 0 < highest and not _has_air(finite, lowest) else lowest


def _has_air(values: NDArray[np.floating], lowest: float) -> bool:
    """Tell whether values are Hounsfield units: many are those of air, or of what lies outside a scanner's circle."""
    if lowest > AIR[1]:
        return False
    air = ((values >= AIR[0]) & (values <= AIR[1])) | (values == lowest)
    return float(np.mean(air)) >= LEAST_AIR


def apply_to_image(
    transform: Transform,
    moving: Image,
    geometry: Geometry,
    *,
    background: float | None = None,
    poll: Poll = never_cancel,
) -> Image:
    """Resample a moving image onto a fixed grid, trilinearly, keeping its intensities and dtype.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    moving
        The original moving image.
    geometry
        The fixed grid.
    background
        Value outside the moving field of view; by default `background_value`.
    poll
        Called now and then; may raise to stop.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 1.0  # what lies one voxel further along x in the moving image comes back by one
    >>> moving = Image(np.array([[[1, 2, 3, 4]]], dtype=np.int16), grid)
    >>> apply_to_image(LinearTransform(matrix), moving, grid, background=0).array.tolist()
    [[[2, 3, 4, 0]]]
    """
    value = background_value(moving) if background is None else background
    return resample(moving, geometry, background=value, transform=transform_to_sitk(transform), poll=poll)


def field_of_view(transform: Transform, moving: Geometry, geometry: Geometry, *, poll: Poll = never_cancel) -> Image:
    """Return a bool image on `geometry`, true where the transform leads into the moving voxel box.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 1.0
    >>> field_of_view(LinearTransform(matrix), grid, grid).array.tolist()
    [[[True, True, True, False]]]
    """
    ones = Image(np.ones(moving.shape, dtype=np.bool_), moving, "field of view")
    return resample(ones, geometry, interpolation="nearest", transform=transform_to_sitk(transform), poll=poll)


def image_and_view(
    transform: Transform,
    moving: Image,
    geometry: Geometry,
    *,
    background: float | None = None,
    poll: Poll = never_cancel,
) -> tuple[Image, Image]:
    """Return what `apply_to_image` and `field_of_view` return, in half the time: each voxel is followed once.

    The voxels of the moving image must be finite. The other parameters are those of `apply_to_image`.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 1.0
    >>> moving = Image(np.array([[[1, 2, 3, 4]]], dtype=np.int16), grid)
    >>> warped, view = image_and_view(LinearTransform(matrix), moving, grid)
    >>> warped.array.tolist(), view.array.tolist()
    ([[[2, 3, 4, 1]]], [[[True, True, True, False]]])
    """
    picture, dtype = to_sitk(moving), moving.array.dtype
    if dtype.kind != "f":  # NaN is the value of voxels that nothing was found for
        picture = sitk.Cast(picture, interpolation_type(dtype))
    outside, chain = background_value(moving) if background is None else background, transform_to_sitk(transform)
    warped, seen = np.empty(geometry.shape, dtype=dtype), np.empty(geometry.shape, dtype=np.bool_)
    thickness = max(1, PLANES_VOXELS // (geometry.shape[1] * geometry.shape[2]))
    for start in range(0, geometry.shape[0], thickness):
        slab = slice(start, start + thickness)
        found = resample_sitk(picture, geometry.planes(slab.start, slab.stop), chain, background=np.nan, poll=poll)
        values = sitk.GetArrayViewFromImage(found)
        np.logical_not(np.isnan(values), out=seen[slab])
        warped[slab] = rounded(np.where(seen[slab], values, values.dtype.type(outside)), dtype)
    return Image(warped, geometry, moving.name), Image(seen, geometry, "field of view")


def apply_to_labels(
    transform: Transform, labels: Image, geometry: Geometry, *, smooth: bool = True, poll: Poll = never_cancel
) -> Image:
    """Bring a label map onto a fixed grid; no label is invented between two others.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    labels
        Label map on the moving side, integer or bool.
    geometry
        The fixed grid.
    smooth
        True: every label is interpolated linearly and the largest wins (on a tie that of the nearest voxel);
        false: nearest neighbour.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        On `geometry`, dtype of `labels`, 0 outside the moving field of view.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 0.6
    >>> labels = Image(np.array([[[5, 5, 9, 9]]], dtype=np.uint8), grid)
    >>> apply_to_labels(LinearTransform(matrix), labels, grid).array.tolist()  # 5 or 9, and nothing between
    [[[5, 9, 9, 0]]]
    """
    if not smooth:
        return resample(labels, geometry, interpolation="nearest", transform=transform_to_sitk(transform), poll=poll)
    displacement = displacement_on_grid(transform, geometry, poll=poll)
    result = np.zeros(geometry.shape, dtype=labels.array.dtype)
    matrix = labels.geometry.world_to_index @ geometry.index_to_world
    to_index = labels.geometry.world_to_index[:3, :3]
    thickness = max(1, VOXELS_AT_ONCE // (geometry.shape[1] * geometry.shape[2]))
    for start in range(0, geometry.shape[0], thickness):
        poll()
        slab = slice(start, min(start + thickness, geometry.shape[0]))
        index = _index_grid(slab, geometry) @ matrix[:3, :3].T + matrix[:3, 3]
        index += displacement[slab] @ to_index.T
        result[slab] = _winning_label(labels.array, index.reshape(-1, 3)).reshape(result[slab].shape)
    return Image(result, geometry, labels.name)


def _index_grid(slab: slice, geometry: Geometry) -> NDArray[np.float64]:
    k, j, i = np.meshgrid(
        np.arange(slab.start, slab.stop, dtype=np.float64),
        np.arange(geometry.shape[1], dtype=np.float64),
        np.arange(geometry.shape[2], dtype=np.float64),
        indexing="ij",
    )
    return np.stack([i, j, k], axis=-1)


def _winning_label(labels: NDArray[np.generic], index: NDArray[np.float64]) -> NDArray[np.generic]:
    """Linear interpolation of every label's indicator at (i, j, k) indices of shape (n, 3), then argmax."""
    size = np.array(labels.shape[::-1])
    inside = np.all((index >= -0.5) & (index < size - 0.5), axis=1)
    index = np.clip(index, 0, size - 1)
    low = np.minimum(index.astype(np.int64), np.maximum(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    fraction = index - low
    flat = labels.reshape(-1)
    corners, weights = [], []
    for corner in range(8):
        upper = [(corner >> axis) & 1 for axis in range(3)]
        i, j, k = ((high if upper[axis] else low)[:, axis] for axis in range(3))
        corners.append(flat[(k * size[1] + j) * size[0] + i])
        weights.append(
            np.prod([fraction[:, a] if upper[a] else 1 - fraction[:, a] for a in range(3)], axis=0, dtype=np.float64)
        )
    mixed = np.flatnonzero(inside & np.any([c != corners[0] for c in corners[1:]], axis=0))
    winner = np.where(inside, corners[0], np.zeros((), dtype=labels.dtype))
    # Half way between two voxels the nearest is the upper one, so that a label keeps its size when it is moved by that.
    nearest = np.where(fraction > 0.5 - HALF_WAY, high, low)
    preferred = flat[(nearest[:, 2] * size[1] + nearest[:, 1]) * size[0] + nearest[:, 0]]
    winner[mixed] = _vote(np.stack(corners)[:, mixed], np.stack(weights)[:, mixed], preferred[mixed])
    return winner


def _vote(
    corners: NDArray[np.generic], weights: NDArray[np.float64], preferred: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Return the label of most weight; on a tie the preferred one if it takes part, else the lowest."""
    best_label = corners[0].copy()
    best_score = np.zeros(corners.shape[1])
    for candidate in corners:
        score = np.sum(weights * (corners == candidate), axis=0)
        tie = np.isclose(score, best_score, rtol=0, atol=HALF_WAY)
        lower = (candidate < best_label) & (best_label != preferred)
        wins = np.where(tie, lower | (candidate == preferred), score > best_score)
        best_label[wins] = candidate[wins]
        best_score[wins] = score[wins]
    return best_label
