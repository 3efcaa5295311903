"""A coarse look at every frame: which stands in the middle, which is sharp, and whether the last leads to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll
from DeepRegLib.preprocessing import finite, smooth_and_resample
from DeepRegLib.series.frames import PERCENT, Frames
from DeepRegLib.transforms import Transform, transform_to_sitk

COARSE_VOXELS = 24_000
BINS = 16
LEAST_CYCLE = 4  # frames
CYCLE_PERCENT = 60.0
# The way from the last frame to the first may be this much longer than the longest step between two frames, and must be
# this much shorter than the way to the frame that is farthest from the first.
STEP_MARGIN, FAR_SHARE = 1.25, 0.5


@dataclass(frozen=True, eq=False)
class FrameOverview:
    """All frames on one coarse grid.

    Parameters
    ----------
    pictures
        ``(n, voxels)``, float32.
    sharpness
        ``(n,)``: mean gradient over the spread of the values.
    grid
        The coarse grid.
    """

    pictures: NDArray[np.float32]
    sharpness: NDArray[np.float64]
    grid: Geometry


def look_at(frames: Frames, poll: Poll) -> FrameOverview:
    """Read every frame once, and keep it small."""
    pictures, sharpness, grid = [], [], None
    for frame in frames:
        poll()
        image, _ = finite(frame.read())
        grid = grid or coarse_grid(image.geometry)
        pictures.append(picture(image, grid))
        sharpness.append(_sharpness(image))
    assert grid is not None  # noqa: S101  # for mypy: a series has frames
    return FrameOverview(np.stack(pictures), np.array(sharpness), grid)


def coarse_grid(geometry: Geometry) -> Geometry:
    """Return an isotropic grid of a scan's extent with about as many voxels as a look needs."""
    step = (float(np.prod(geometry.extent)) / COARSE_VOXELS) ** (1 / 3)
    return geometry.resized(np.maximum(np.full(3, step), min(geometry.spacing)))


def picture(image: Image, grid: Geometry, transform: Transform | None = None) -> NDArray[np.float32]:
    """Return a scan on a coarse grid, ``(voxels,)``; `transform` takes points of the grid to points of the scan."""
    chain = None if transform is None else transform_to_sitk(transform)
    return smooth_and_resample(image, grid, chain).array.astype(np.float32).ravel()


def distances(pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return 1 - NCC of every two pictures, ``(n, n)``."""
    values = pictures.astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    values /= np.where(length > 0, length, 1.0)
    return np.asarray(np.clip(1 - values @ values.T, 0, 2))


def central_frame(looks: FrameOverview) -> int:
    """Return the frame that is nearest to all others; of those that are nearly as near, the sharpest counts more."""
    apart = distances(looks.pictures).mean(axis=1)
    return int(np.argmin((apart + 1e-3) / np.maximum(looks.sharpness, 1e-9)))


def is_cyclic(frames: Frames, looks: FrameOverview) -> bool:
    """Tell whether the last frame leads to the first: phases in percent of a cycle, or images that show it."""
    if len(frames) < LEAST_CYCLE:
        return False
    if frames.unit == PERCENT:
        return bool(np.ptp(frames.times) >= CYCLE_PERCENT)
    apart = distances(looks.pictures)
    steps = np.diagonal(apart, 1)
    return bool(apart[0, -1] <= STEP_MARGIN * steps.max() and apart[0, -1] < FAR_SHARE * apart[0].max())


def mutual_information(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the mutual information of two pictures in nats, of any two contrasts."""
    joint, _, _ = np.histogram2d(first, second, BINS)
    joint /= max(joint.sum(), 1.0)
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / product[there])).sum())


def most_alike(fixed: NDArray[np.float32], moving: Image, grid: Geometry, candidates: Sequence[Transform]) -> Transform:
    """Return that of several transforms which makes a moving scan most alike a coarse fixed picture."""
    if len(candidates) == 1:
        return candidates[0]
    image, _ = finite(moving)
    scores = [mutual_information(fixed, picture(image, grid, each)) for each in candidates]
    return candidates[int(np.argmax(scores))]


def _sharpness(image: Image) -> float:
    values = image.array.astype(np.float32)
    spread = float(values.std())
    steps = [float(np.abs(np.diff(values, axis=axis)).mean()) for axis in range(3) if values.shape[axis] > 1]
    return sum(steps) / spread if spread > 0 else 0.0
