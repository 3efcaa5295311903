"""Exhaustive search for the starting pose: every rotation of a grid, every translation by FFT.

All rotations are tried on cubes of 16 voxels a side, the best of them on cubes of 32.

Masked normalised cross correlation after Padfield, "Masked object registration in the Fourier domain", IEEE TIP 2012.
Why so: docs/decisions/search-by-fft.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.rotations import rotation_distance
from DeepRegLib.optimization.working import WorkingImage, weighted_centroid
from DeepRegLib.transforms.sampling import central_difference, identity_grid, sample_images

COARSE_SIDE, FINE_SIDE = 16, 32
# On 54 searches in pairs of scans the best rotation of all 304 on the fine cubes was among the best 8 on the coarse.
FINE_ROTATIONS = 16
# What a CPU computes of so many stays in its cache: a sixth faster than four times as many. A card wants more at once.
VOXELS_AT_ONCE, VOXELS_AT_ONCE_ON_A_CARD = 2 * FINE_SIDE**3, 8 * FINE_SIDE**3
MINIMUM_OVERLAP = 0.3
# From here on more overlap is no better: at most rotations the corners of a box lie outside the other.
AMPLE_OVERLAP = 0.6
SAME_ROTATION_DEGREES = 12.0
PEAKS_PER_ROTATION = 2


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid map of fixed to moving world points (LPS, mm) with the score it was found by."""

    matrix: NDArray[np.float64]
    score: float


@dataclass(frozen=True, eq=False)
class _Cube:
    """An image resampled on a cube about its centre of mass, axes along the world's, the sides of one length."""

    intensity: Tensor
    weight: Tensor
    centre: NDArray[np.float64]
    spacing: float

    @property
    def side(self) -> int:
        """Voxels a side."""
        return len(self.weight)


def search_poses(
    fixed: WorkingImage,
    moving: WorkingImage,
    rotations: NDArray[np.float64],
    *,
    count: int,
    edges: bool,
    on_step: Callable[[float], None],
) -> list[Pose]:
    """Return the best rigid poses over all `rotations` and all translations.

    Parameters
    ----------
    fixed, moving
        Working images; weights above zero mark what was scanned.
    rotations
        Trial rotations, shape ``(n, 3, 3)``.
    count
        How many distinct poses to return at most.
    edges
        Compare gradient magnitudes instead of intensities (across modalities).
    on_step
        Called with the fraction done after every batch; may raise to stop.

    Returns
    -------
    list of Pose
        Best first; scores are masked NCC, -1 to 1, lowered where the overlap is small.
    """
    rough = _poses_of_each(fixed, moving, rotations, COARSE_SIDE, edges, lambda done: on_step(done / 2))
    best = np.argsort([-poses[0].score for poses in rough], kind="stable")[:FINE_ROTATIONS]
    found = _poses_of_each(fixed, moving, rotations[best], FINE_SIDE, edges, lambda done: on_step((1 + done) / 2))
    return _distinct_of(fixed, moving, found, FINE_SIDE, count)


def rough_poses(
    fixed: WorkingImage,
    moving: WorkingImage,
    rotations: NDArray[np.float64],
    *,
    count: int,
    edges: bool,
    on_step: Callable[[float], None],
) -> list[Pose]:
    """Return what `search_poses` finds on the coarse cubes alone, in half the time and to a few voxels of theirs."""
    found = _poses_of_each(fixed, moving, rotations, COARSE_SIDE, edges, on_step)
    return _distinct_of(fixed, moving, found, COARSE_SIDE, count)


def _distinct_of(
    fixed: WorkingImage, moving: WorkingImage, found: list[list[Pose]], side: int, count: int
) -> list[Pose]:
    """Return the best of the poses found on cubes of a side, those a voxel or so apart once."""
    distance = 1.5 * _cube_spacing(fixed, moving, side)
    return distinct_poses([pose for poses in found for pose in poses], count, distance, weighted_centroid(fixed))


def distinct_poses(poses: list[Pose], count: int, distance: float, centre: NDArray[np.float64]) -> list[Pose]:
    """Return the best poses that differ by more than `distance` mm at `centre` or noticeably in rotation."""
    kept: list[Pose] = []
    for pose in sorted(poses, key=lambda p: -p.score):
        if not any(_same(pose, other, distance, centre) for other in kept):
            kept.append(pose)
        if len(kept) == count:
            break
    return kept


def _poses_of_each(
    fixed: WorkingImage,
    moving: WorkingImage,
    rotations: NDArray[np.float64],
    side: int,
    edges: bool,
    on_step: Callable[[float], None],
) -> list[list[Pose]]:
    """Return the best few translations of every rotation, best first, found on cubes of `side` voxels a side."""
    spacing = _cube_spacing(fixed, moving, side)
    fixed_cube, moving_cube = (_cube(image, side, spacing, edges) for image in (fixed, moving))
    correlate = _MaskedCorrelation(fixed_cube)
    voxels = VOXELS_AT_ONCE if fixed.device.type == "cpu" else VOXELS_AT_ONCE_ON_A_CARD
    at_once = max(voxels // side**3, 1)
    found: list[list[Pose]] = []
    for start in range(0, len(rotations), at_once):
        found += correlate.best_poses(moving_cube, rotations[start : start + at_once])
        on_step(len(found) / len(rotations))
    return found


def _same(a: Pose, b: Pose, distance: float, centre: NDArray[np.float64]) -> bool:
    angle = float(rotation_distance(a.matrix[:3, :3], b.matrix[:3, :3]))
    point = np.append(centre, 1.0)
    return angle < SAME_ROTATION_DEGREES and float(np.linalg.norm((a.matrix - b.matrix) @ point)) < distance


class _MaskedCorrelation:
    """Correlates one fixed cube with rotated moving cubes; the fixed spectra are computed once."""

    def __init__(self, fixed: _Cube) -> None:
        self.fixed = fixed
        self.padded = (fixed.side * 3 // 2,) * 3
        weight, image = fixed.weight, fixed.intensity
        stack = torch.stack([weight, weight * image, weight * image * image])
        self.spectra = torch.fft.rfftn(stack, s=self.padded, dim=(-3, -2, -1))
        self.mass = float(weight.sum())

    def best_poses(self, moving: _Cube, rotations: NDArray[np.float64]) -> list[list[Pose]]:
        """Return the best translations of each rotation, best first."""
        intensity, weight = _rotated(moving, rotations)
        ncc = self._ncc(intensity, weight)
        values, places = ncc.flatten(1).topk(PEAKS_PER_ROTATION, dim=1)
        return [
            [Pose(self._pose(matrix, moving, place), value) for value, place in zip(*row, strict=True)]
            for matrix, *row in zip(rotations, values.tolist(), places.tolist(), strict=True)
        ]

    def _ncc(self, intensity: Tensor, weight: Tensor) -> Tensor:
        stack = torch.stack([weight, weight * intensity, weight * intensity * intensity])
        w_m, m, mm = torch.fft.rfftn(stack, s=self.padded, dim=(-3, -2, -1)).conj_physical_()
        w_f, f, ff = self.spectra[:, None]
        products = w_m.new_empty(6, *w_m.shape)
        for n, (one, other) in enumerate(((w_f, w_m), (f, w_m), (ff, w_m), (w_f, m), (w_f, mm), (f, m))):
            torch.mul(one, other, out=products[n])
        count, sum_f, sum_ff, sum_m, sum_mm, sum_fm = torch.fft.irfftn(products, s=self.padded, dim=(-3, -2, -1))
        mass = torch.clamp(weight.sum(dim=(-3, -2, -1)), max=self.mass).view(-1, 1, 1, 1)
        enough = count > MINIMUM_OVERLAP * mass
        count = count.clamp_min(1e-3)
        mean_f = sum_f / count
        covariance = sum_fm.sub_(mean_f * sum_m)
        variance_f = sum_ff.sub_(mean_f.mul_(sum_f)).clamp_min_(0)
        variance_m = sum_mm.sub_(sum_m.square_().div_(count)).clamp_min_(0)
        # A patch of even tissue correlates by accident, so both must vary as much as a hundredth of full contrast.
        floor = 1e-3 * count
        ncc = covariance.div_(variance_f.add_(floor).mul_(variance_m.add_(floor)).sqrt_())
        coverage = count.div_((AMPLE_OVERLAP * mass).clamp_min(1e-3)).clamp_(max=1.0)
        return ncc.mul_(coverage.sqrt_().sqrt_()).masked_fill_(~enough, -1.0)

    def _pose(self, rotation: NDArray[np.float64], moving: _Cube, place: int) -> NDArray[np.float64]:
        shift = np.array(np.unravel_index(place, self.padded), dtype=np.float64)[::-1]
        shift = np.where(shift >= self.padded[0] / 2, shift - self.padded[0], shift) * self.fixed.spacing
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        # The fixed content at c_f + s + y is the moving content at c_m + R y.
        matrix[:3, 3] = moving.centre - rotation @ (self.fixed.centre + shift)
        return matrix


def _cube_spacing(fixed: WorkingImage, moving: WorkingImage, side: int) -> float:
    reach = 0.0
    for image in (fixed, moving):
        offset = image.geometry.corners() - weighted_centroid(image)
        # The sphere of the box's half extents holds nearly all content at any rotation.
        reach = max(reach, float(np.sqrt(np.mean(np.sum(offset**2, axis=1)))))
    return 2 * reach * 0.85 / side


def _cube(image: WorkingImage, side: int, spacing: float, edges: bool) -> _Cube:
    centre = weighted_centroid(image)
    origin = centre - (side - 1) / 2 * spacing
    grid = Geometry((side,) * 3, (spacing,) * 3, (float(origin[0]), float(origin[1]), float(origin[2])))
    source = _blurred_channels(image, spacing, edges)
    index = _grid_index(grid, image.geometry, image.device)
    intensity, weight = sample_images(source, index, padding="zeros")
    weight = weight.clamp(0, 1)
    value = torch.where(weight > 1e-3, intensity / weight.clamp_min(1e-3), torch.zeros_like(intensity))
    return _Cube(value, weight, centre, spacing)


def _blurred_channels(image: WorkingImage, spacing: float, edges: bool) -> Tensor:
    """Return intensity x weight and weight, averaged over a cell of the coming grid."""
    intensity = image.intensity
    if edges:
        slopes = [central_difference(intensity, dim).square() for dim in (-1, -2, -3)]
        intensity = torch.sqrt(slopes[0] + slopes[1] + slopes[2])
        intensity = intensity / intensity.mean().clamp_min(1e-6)
        intensity = intensity / (1 + intensity)
    channels = torch.stack([intensity * image.weight, image.weight])[None]
    for axis, (size, step) in enumerate(zip(image.geometry.size, image.geometry.spacing, strict=True)):
        # A scan smaller than a cell of the grid is averaged over as much as there is.
        width = min(2 * round(spacing / step / 2) + 1, size - 1 + size % 2)
        if width > 1:
            kernel = [1, 1, 1]
            kernel[2 - axis] = width
            padding = [n // 2 for n in kernel]
            channels = torch.nn.functional.avg_pool3d(channels, kernel, stride=1, padding=padding)
    return channels[0]


def _grid_index(grid: Geometry, geometry: Geometry, device: torch.device) -> Tensor:
    matrix = torch.tensor(geometry.world_to_index @ grid.index_to_world, dtype=torch.float32, device=device)
    return identity_grid(grid.shape, device) @ matrix[:3, :3].T + matrix[:3, 3]


def _rotated(cube: _Cube, rotations: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Sample the cube at R y for every offset y from its centre; shapes ``(n, side, side, side)``."""
    device = cube.intensity.device
    side = cube.side
    middle = (side - 1) / 2
    offsets = (identity_grid((side,) * 3, device) - middle).reshape(-1, 3)
    matrices = torch.tensor(rotations, dtype=torch.float32, device=device)
    # All rotations look up the same cube, so they are one tall grid; each component of it is contiguous.
    index = torch.einsum("nab,pb->anp", matrices, offsets).add_(middle).reshape(3, -1, side, side).permute(1, 2, 3, 0)
    channels = torch.stack([cube.intensity * cube.weight, cube.weight])
    product, weight = sample_images(channels, index, padding="zeros").unflatten(1, (len(rotations), side))
    return torch.where(weight > 1e-3, product / weight.clamp_min(1e-3), 0 * weight), weight
