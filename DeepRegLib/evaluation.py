"""Measures of a registration: overlap, distances, folds, inverse error, similarity. Pure functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, to_sitk
from DeepRegLib.preprocessing import finite, smooth_and_resample
from DeepRegLib.preprocessing.arrays import float_array
from DeepRegLib.transforms import LinearTransform, Transform, displacement_on_grid, linear_part
from DeepRegLib.transforms.inversion import inverse_error

Slab = NDArray[np.float32]

SLAB_VOXELS = 1 << 16
LARGEST_HISTOGRAM = 1 << 24
TAILS = (0.1, 99.9)  # percentiles; a few voxels of metal must not squeeze the histogram
STRUCTURE_VOXELS = 1_000_000
STRUCTURE_SIGMA = 1.5  # working voxels
FEWEST_EDGES = 100  # working voxels


@dataclass(frozen=True)
class SurfaceDistance:
    """How far two surfaces of one label are apart.

    Parameters
    ----------
    mean
        Average symmetric surface distance in mm.
    hausdorff95
        The larger of both directions' 95th percentiles in mm.
    """

    mean: float
    hausdorff95: float


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


def dice(fixed_labels: Image, other: Image) -> dict[int, float]:
    """Return the Dice overlap of every nonzero label that is in either label map.

    Parameters
    ----------
    fixed_labels, other
        Label maps on one grid.

    Returns
    -------
    dict
        Label to 2 |A and B| / (|A| + |B|), in [0, 1], labels ascending.

    Raises
    ------
    InputError
        If the grids differ, or a voxel is not a whole number.

    References
    ----------
    Dice, Ecology 1945.
    """
    _require_one_grid(fixed_labels, other)
    first, second = _label_array(fixed_labels), _label_array(other)
    in_first, in_second = _counts(first), _counts(second)
    in_both = _counts(first[first == second])
    labels = sorted((in_first.keys() | in_second.keys()) - {0})
    return {n: 2 * in_both.get(n, 0) / (in_first.get(n, 0) + in_second.get(n, 0)) for n in labels}


def mean_dice(scores: Mapping[int, float]) -> float:
    """Return the mean over labels of what `dice` returned; NaN if there was no label."""
    return math.fsum(scores.values()) / len(scores) if scores else math.nan


def surface_distances(fixed_labels: Image, other: Image) -> dict[int, SurfaceDistance]:
    """Return the symmetric surface distances of every nonzero label that is in either label map.

    A surface is the set of a label's voxels with a face neighbour outside it; distances run between voxel centres.

    Parameters
    ----------
    fixed_labels, other
        Label maps on one grid.

    Returns
    -------
    dict
        Label to distances in mm, labels ascending; NaN where the label is missing in one of the maps.

    Raises
    ------
    InputError
        If the grids differ, or a voxel is not a whole number.

    References
    ----------
    Maurer et al., "A linear time algorithm for computing exact Euclidean distance transforms", PAMI 2003.
    """
    _require_one_grid(fixed_labels, other)
    first, second = _label_array(fixed_labels), _label_array(other)
    boxes = _bounding_boxes(first), _bounding_boxes(second)
    result = {}
    for label in sorted(boxes[0].keys() | boxes[1].keys()):
        if label not in boxes[0] or label not in boxes[1]:
            result[label] = SurfaceDistance(math.nan, math.nan)
            continue
        low = np.minimum(boxes[0][label][0], boxes[1][label][0])
        high = np.maximum(boxes[0][label][1], boxes[1][label][1])
        crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        result[label] = _surface_distance(first[crop] == label, second[crop] == label, fixed_labels.geometry.spacing)
    return result


def target_registration_error(
    transform: Transform, fixed_points: ArrayLike, moving_points: ArrayLike
) -> NDArray[np.float64]:
    """Return the distance in mm between each transformed fixed landmark and its moving landmark.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    fixed_points, moving_points
        Corresponding landmarks, shape ``(n, 3)``, LPS mm.

    Returns
    -------
    NDArray
        Shape ``(n,)``.

    Raises
    ------
    InputError
        If the landmarks are not two equally long lists of 3-D points.

    References
    ----------
    Fitzpatrick and West, "The distribution of target registration error in rigid-body point-based registration",
    TMI 2001.
    """
    fixed = np.asarray(fixed_points, dtype=np.float64)
    moving = np.asarray(moving_points, dtype=np.float64)
    if fixed.ndim != 2 or fixed.shape[1] != 3 or fixed.shape != moving.shape:
        raise InputError(
            f"The landmarks have shapes {fixed.shape} and {moving.shape}.", "Give two (n, 3) lists in the same order."
        )
    return np.asarray(np.linalg.norm(transform.apply_to_points(fixed) - moving, axis=1))


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
    if mask is not None and not geometry.is_close(mask.geometry):
        raise InputError(f"The mask {mask.name} does not lie on the fixed grid.", "Resample it onto the fixed grid.")
    if isinstance(transform, LinearTransform):
        return 0
    folded = folded_voxels(displacement_on_grid(transform, geometry), geometry, mirrored=_mirrors(transform))
    return int(np.count_nonzero(folded if mask is None else folded & mask.array.astype(np.bool_)))


def folded_voxels(
    displacement: NDArray[np.floating], geometry: Geometry, *, mirrored: bool = False
) -> NDArray[np.bool_]:
    """Return where a displacement field on a grid folds, as `digital_folds` counts.

    Parameters
    ----------
    displacement
        T(x) - x in mm (LPS), shape ``(k, j, i, 3)``.
    geometry
        The grid of the field.
    mirrored
        True if the transform is meant to mirror space, so that its determinants should be negative.

    Returns
    -------
    NDArray
        bool, shape ``(k, j, i)``.
    """
    folded, _ = _folds_and_determinants(displacement, geometry, None, mirrored=mirrored)
    return folded


def jacobian_statistics(transform: Transform, geometry: Geometry, foreground: Image) -> JacobianStatistics:
    """Return folds and stretch of a transform on a grid.

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

    Returns
    -------
    JacobianStatistics
        NaN for the determinants of an empty foreground, and for the spread where none is positive.

    Raises
    ------
    InputError
        If the foreground lies on another grid.
    """
    if not geometry.is_close(foreground.geometry):
        raise InputError(f"{foreground.name} does not lie on the fixed grid.", "Resample it onto the fixed grid.")
    inside = foreground.array.astype(np.bool_)
    if not inside.any():
        return JacobianStatistics(digital_folds(transform, geometry), math.nan, math.nan, math.nan)
    if isinstance(transform, LinearTransform):
        determinant = abs(float(np.linalg.det(transform.matrix[:3, :3])))
        return JacobianStatistics(0, 0.0, determinant, determinant)
    displacement = displacement_on_grid(transform, geometry)
    folded, values = _folds_and_determinants(displacement, geometry, inside, mirrored=_mirrors(transform))
    positive = values[values > 0].astype(np.float64)
    return JacobianStatistics(
        folds=int(np.count_nonzero(folded)),
        log_sd=float(np.log(positive).std()) if positive.size else math.nan,
        minimum=float(values.min()),
        maximum=float(values.max()),
    )


def inverse_consistency(
    transform: Transform, inverse: Transform, foreground: Image, samples: int = 100_000, seed: int = 0
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
    """
    candidates = np.flatnonzero(foreground.array)
    if candidates.size == 0:
        return InverseConsistency(math.nan, math.nan)
    if candidates.size > samples:
        candidates = np.random.default_rng(seed).choice(candidates, samples, replace=False)
    k, j, i = np.unravel_index(candidates, foreground.array.shape)
    points = foreground.geometry.to_world(np.stack([i, j, k], axis=-1))
    errors = inverse_error(transform, inverse, points)
    return InverseConsistency(float(errors.mean()), float(np.percentile(errors, 99)))


def ncc(fixed: Image, warped: Image, mask: Image) -> float:
    """Return the normalised cross correlation inside a mask.

    Parameters
    ----------
    fixed, warped, mask
        Two images and a bool image on one grid. Voxels that are not finite are left out.

    Returns
    -------
    float
        -1 to 1; 0 if the mask is empty or one of the images is constant in it.

    Raises
    ------
    InputError
        If the grids differ.
    """
    first, second = _values(fixed, warped, mask)
    if first.size == 0:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    norm = math.sqrt(float(first @ first) * float(second @ second))
    return float(np.clip(float(first @ second) / norm, -1, 1)) if norm > 0 else 0.0


def normalised_mutual_information(fixed: Image, warped: Image, mask: Image, bins: int = 64) -> float:
    """Return (H(fixed) + H(warped)) / H(fixed, warped) inside a mask.

    Parameters
    ----------
    fixed, warped, mask
        Two images and a bool image on one grid. Voxels that are not finite are left out.
    bins
        Grey levels an image, between the 0.1 and 99.9 percentiles.

    Returns
    -------
    float
        1 (independent) to 2 (each determines the other); 1 if the mask is empty or an image is constant in it.

    Raises
    ------
    InputError
        If the grids differ.

    References
    ----------
    Studholme et al., "An overlap invariant entropy measure of 3D medical image alignment", Pattern Recognition 1999.
    """
    first, second = _values(fixed, warped, mask)
    if first.size == 0:
        return 1.0
    levels = _grey_levels(first, bins) * bins + _grey_levels(second, bins)
    joint = np.bincount(levels, minlength=bins * bins).reshape(bins, bins) / first.size
    both = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both if both > 0 else 1.0


def structure_agreement(fixed: Image, warped: Image, mask: Image) -> float:
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
    _require_one_grid(fixed, warped)
    _require_one_grid(fixed, mask)
    inside = mask.array.astype(np.bool_)
    if not inside.any():
        return 0.0
    grid = _structure_grid(fixed.geometry, inside)
    keep = float_array(smooth_and_resample(mask.with_array(inside), grid)) > 0.5
    first, second = (_gradients(image, inside, grid)[keep] for image in (fixed, warped))
    return _direction_agreement(first, second)


def overlap(foreground: Image, field_of_view: Image) -> float:
    """Return the share of a foreground that a field of view covers, 0 to 1; 0 for an empty foreground.

    Parameters
    ----------
    foreground, field_of_view
        Bool images on one grid.

    Raises
    ------
    InputError
        If the grids differ.
    """
    _require_one_grid(foreground, field_of_view)
    inside = foreground.array.astype(np.bool_)
    covered = int(np.count_nonzero(inside & field_of_view.array.astype(np.bool_)))
    return covered / max(int(np.count_nonzero(inside)), 1)


def _require_one_grid(first: Image, second: Image) -> None:
    if not first.geometry.is_close(second.geometry):
        raise InputError(
            f"{second.name} does not lie on the grid of {first.name}.", "Resample it onto that grid first."
        )


def _label_array(labels: Image) -> NDArray[np.integer]:
    array = labels.array
    if array.dtype.kind == "f":
        whole = np.nan_to_num(array).astype(np.int64)
        if not np.array_equal(whole, array):
            raise InputError(f"{labels.name} has voxels that are not whole numbers.", "Give a label map.")
        return whole
    return array.astype(np.uint8 if array.dtype.kind == "b" else array.dtype, copy=False)


def _counts(values: NDArray[np.integer]) -> dict[int, int]:
    if values.size == 0:
        return {}
    low, high = int(values.min()), int(values.max())
    if high - low < LARGEST_HISTOGRAM:
        shifted = values if low == 0 else values.astype(np.int64) - low
        counts = np.bincount(shifted.ravel())
        found = np.flatnonzero(counts)
        return {int(n) + low: int(counts[n]) for n in found}
    labels, counts = np.unique(values, return_counts=True)
    return {int(n): int(c) for n, c in zip(labels, counts, strict=True)}


def _bounding_boxes(labels: NDArray[np.integer]) -> dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """First and one past the last (k, j, i) of every nonzero label."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOff()
    shapes.ComputeOrientedBoundingBoxOff()
    shapes.SetBackgroundValue(0)
    shapes.Execute(sitk.GetImageFromArray(labels))
    boxes = {}
    for label in shapes.GetLabels():
        box = np.array(shapes.GetBoundingBox(label))
        boxes[int(label)] = (box[2::-1], (box[:3] + box[3:])[::-1])
    return boxes


def _surface_distance(
    first: NDArray[np.bool_], second: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> SurfaceDistance:
    surfaces = _surface(first), _surface(second)
    there = _distance_to(surfaces[1], spacing)[surfaces[0]]
    back = _distance_to(surfaces[0], spacing)[surfaces[1]]
    return SurfaceDistance(
        mean=float(np.concatenate([there, back]).mean()),
        hausdorff95=max(float(np.percentile(there, 95)), float(np.percentile(back, 95))),
    )


def _surface(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(region, 1)
    inner = region.copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + region.shape[axis])
            inner &= padded[tuple(window)]
    return region & ~inner


def _distance_to(surface: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    picture = sitk.GetImageFromArray(surface.astype(np.uint8))
    picture.SetSpacing(spacing)
    distance = sitk.SignedMaurerDistanceMap(picture, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0)


def _mirrors(transform: Transform) -> bool:
    return bool(np.linalg.det(linear_part(transform).matrix[:3, :3]) < 0)


def _folds_and_determinants(
    displacement: NDArray[np.floating], geometry: Geometry, inside: NDArray[np.bool_] | None, *, mirrored: bool
) -> tuple[NDArray[np.bool_], Slab]:
    """Folded voxels, and the central-difference determinants of the voxels `inside` as a flat array.

    In the index space of the grid a determinant equals that in the world, also on a mirrored grid.
    """
    depth, height, width = geometry.shape
    folded = np.zeros(geometry.shape, dtype=np.bool_)
    values = []
    # Slabs stay in the processor's cache; numpy, because torch's threads stall each other on a busy machine.
    thickness = max(1, SLAB_VOXELS // (height * width))
    orientation = -1.0 if mirrored else 1.0
    for start in range(0, depth, thickness):
        slab = slice(start, min(start + thickness, depth))
        field = _index_displacement(displacement, geometry, slab)
        field[0] *= orientation
        steps = _steps(field, orientation)
        smallest = _smallest_corner_determinant(steps)
        _include_central_tetrahedra(smallest, field, slab, geometry, orientation)
        np.less_equal(smallest, 0, out=folded[slab])
        if inside is not None and inside[slab].any():
            centred = [np.float32(0.5) * (behind + ahead) for behind, ahead in steps]
            values.append(_determinant(centred[0], centred[1], centred[2])[inside[slab]])
    return folded, np.concatenate(values) if values else np.empty(0, dtype=np.float32)


def _index_displacement(displacement: NDArray[np.floating], geometry: Geometry, slab: slice) -> Slab:
    """Displacement in voxels (i, j, k) on a slab and one voxel around it, ``(3, n + 2, J + 2, I + 2)``.

    The voxel past the border of the grid continues the field linearly, so that both one-sided differences there are
    the one that exists.
    """
    first, last = max(slab.start - 1, 0), min(slab.stop + 1, displacement.shape[0])
    depth, height, width = slab.stop - slab.start, displacement.shape[1], displacement.shape[2]
    field = np.zeros((3, depth + 2, height + 2, width + 2), dtype=np.float32)
    at = first - (slab.start - 1)
    to_index = geometry.world_to_index[:3, :3]
    field[:, at : at + last - first, 1:-1, 1:-1] = np.moveaxis(displacement[first:last] @ to_index.T, -1, 0)
    _continue_linearly(field, 3, before=True, after=True)
    _continue_linearly(field, 2, before=True, after=True)
    _continue_linearly(field, 1, before=first == slab.start, after=last == slab.stop)
    return field


def _continue_linearly(field: Slab, axis: int, *, before: bool, after: bool) -> None:
    layers = np.moveaxis(field, axis, 0)
    inner = 2 if len(layers) > 3 or not (before and after) else 1  # an axis of one voxel has nothing to continue
    if before:
        layers[0] = 2 * layers[1] - layers[inner]
    if after:
        layers[-1] = 2 * layers[-2] - layers[-1 - inner]


def _steps(field: Slab, orientation: float) -> list[tuple[Slab, Slab]]:
    """Backward and forward differences of the positions along i, j, k, each ``(3, n, J, I)``."""
    along_i = np.diff(field[:, 1:-1, 1:-1, :], axis=3)
    along_j = np.diff(field[:, 1:-1, :, 1:-1], axis=2)
    along_k = np.diff(field[:, :, 1:-1, 1:-1], axis=1)
    along_i[0] += np.float32(orientation)
    along_j[1] += 1
    along_k[2] += 1
    return [
        (along_i[..., :-1], along_i[..., 1:]),
        (along_j[:, :, :-1], along_j[:, :, 1:]),
        (along_k[:, :-1], along_k[:, 1:]),
    ]


def _smallest_corner_determinant(steps: list[tuple[Slab, Slab]]) -> Slab:
    smallest = np.full(steps[0][0].shape[1:], np.inf, dtype=np.float32)
    for along_i, along_j in itertools.product(steps[0], steps[1]):
        normal = _cross(along_i, along_j)
        for along_k in steps[2]:
            np.minimum(smallest, _dot(normal, along_k), out=smallest)
    return smallest


def _include_central_tetrahedra(
    smallest: Slab, field: Slab, slab: slice, geometry: Geometry, orientation: float
) -> None:
    """Lower `smallest` to the determinants J*2 (cell above a voxel) and J*1 (cell below), where the cell exists."""
    whole = (slab, slice(0, geometry.shape[1]), slice(0, geometry.shape[2]))
    for side in (1, -1):
        home = tuple(_with_neighbour(part, n, side) for part, n in zip(whole, geometry.shape, strict=True))
        target = smallest[home]
        if target.size == 0:
            continue
        edges = []
        for step in ((1, 1, 0), (0, 1, 1), (1, 0, 1)):
            end = tuple(_padded(part, side * n) for part, n in zip(home, reversed(step), strict=True))
            start = tuple(_padded(part, 0) for part in home)
            edge = field[(slice(None), *end)] - field[(slice(None), *start)]
            for axis, n in enumerate(step):
                edge[axis] += np.float32(side * n * (orientation if axis == 0 else 1.0))
            edges.append(edge)
        # The three edges of the cell below are reversed, which turns the sign around.
        np.minimum(target, side * _determinant(edges[0], edges[1], edges[2]), out=target)


def _with_neighbour(part: slice, size: int, side: int) -> slice:
    """Where in a slab, counted from its start, a voxel has a neighbour on that side within the grid."""
    start, stop = (part.start, min(part.stop, size - 1)) if side == 1 else (max(part.start, 1), part.stop)
    return slice(start - part.start, max(stop, start) - part.start)


def _padded(part: slice, shift: int) -> slice:
    return slice(part.start + 1 + shift, part.stop + 1 + shift)


def _cross(a: Slab, b: Slab) -> list[Slab]:
    return [_minor(a[1], a[2], b[1], b[2]), _minor(a[2], a[0], b[2], b[0]), _minor(a[0], a[1], b[0], b[1])]


def _minor(a: Slab, b: Slab, c: Slab, d: Slab) -> Slab:
    product = a * d
    product -= b * c
    return product


def _dot(a: list[Slab], b: Slab) -> Slab:
    product = a[0] * b[0]
    product += a[1] * b[1]
    product += a[2] * b[2]
    return product


def _determinant(a: Slab, b: Slab, c: Slab) -> Slab:
    return _dot(_cross(a, b), c)


def _values(fixed: Image, warped: Image, mask: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _require_one_grid(fixed, warped)
    _require_one_grid(fixed, mask)
    inside = mask.array.astype(np.bool_)
    first = fixed.array[inside].astype(np.float64)
    second = warped.array[inside].astype(np.float64)
    usable = np.isfinite(first) & np.isfinite(second)
    return (first, second) if usable.all() else (first[usable], second[usable])


def _grey_levels(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    low, high = _value_range(values)
    if high <= low:
        return np.zeros(values.size, dtype=np.int64)
    return np.clip((values - low) * (bins / (high - low)), 0, bins - 1).astype(np.int64)


def _value_range(values: NDArray[np.floating]) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, TAILS))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def _entropy(probabilities: NDArray[np.float64]) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())


def _structure_grid(geometry: Geometry, inside: NDArray[np.bool_]) -> Geometry:
    """Cubic voxels over the box around the mask, no finer than the finest axis of the image."""
    where = [np.flatnonzero(inside.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    low = np.array([w[0] for w in where])
    size = np.array([w[-1] for w in where]) - low + 1
    x, y, z = geometry.to_world(low)
    box = Geometry(
        (int(size[0]), int(size[1]), int(size[2])),
        geometry.spacing,
        (float(x), float(y), float(z)),
        geometry.direction,
    )
    return box.resized(max(float(np.prod(box.extent) / STRUCTURE_VOXELS) ** (1 / 3), min(geometry.spacing)))


def _gradients(image: Image, inside: NDArray[np.bool_], grid: Geometry) -> NDArray[np.float32]:
    """Smoothed gradients along the axes of `grid`, shape ``(k, j, i, 3)``.

    Angles between gradients are the same in any frame, so they are not turned into the world's.
    """
    whole, _ = finite(image)
    low, high = _value_range(float_array(whole)[inside])
    clamped = whole.with_array(np.clip(float_array(whole), low, high))
    picture = to_sitk(smooth_and_resample(clamped, grid))
    sigma = STRUCTURE_SIGMA * grid.spacing[0]
    components = [_derivative(picture, axis, sigma) for axis in range(3)]
    return np.stack(components, axis=-1)


def _derivative(picture: sitk.Image, derived: int, sigma: float) -> NDArray[np.float32]:
    kinds = sitk.RecursiveGaussianImageFilter
    for axis, size in enumerate(picture.GetSize()):
        if size < 4:  # the recursive filter's least; an axis that short has no edges to compare
            if axis == derived:
                return np.zeros(picture.GetSize()[::-1], dtype=np.float32)
            continue
        order = kinds.FirstOrder if axis == derived else kinds.ZeroOrder
        picture = sitk.RecursiveGaussian(picture, sigma, False, order, axis)
    return sitk.GetArrayFromImage(picture)


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
