"""Series made of one scan by a known motion: breathing with hysteresis, a heart that beats, a head that drifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image, resample
from DeepRegLib.preprocessing import foreground_mask
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    apply_to_image,
    displacement_on_grid,
    invert,
)

Points = NDArray[np.float64]
NOISE = 0.02  # of the range from 1 to 99 %
MARKS = 400
ORGAN = 45.0  # mm


@dataclass(frozen=True, eq=False)
class MadeSeries:
    """Frames whose motion is known.

    Parameters
    ----------
    name
        In the tables.
    frames
        The first is the scan at rest.
    points
        Inside the anatomy of the first frame, ``(n, 3)``, LPS mm.
    truth
        Where they lie at each frame, ``(frames, n, 3)``.
    """

    name: str
    frames: tuple[Image, ...]
    points: Points
    truth: Points


def smaller(image: Image, step: float) -> Image:
    """Return a scan on a grid that is no finer than a step in mm."""
    return resample(image, image.geometry.resized(np.maximum(image.geometry.spacing, step)))


def breathing(
    name: str,
    rest: Image,
    amounts: NDArray[np.float64],
    along: Sequence[Sequence[float]],
    shown: Sequence[Image] | None = None,
) -> MadeSeries:
    """Return a scan that breathes: at frame n by `amounts[n]` mm along each of some directions, fading outward.

    Parameters
    ----------
    name
        In the tables.
    rest
        The scan.
    amounts
        ``(frames, directions)``, mm; the first frame's are 0.
    along
        Unit vectors (LPS).
    shown
        How the scan at rest looks at each frame, where that changes.
    """
    images = [rest] * len(amounts) if shown is None else shown
    centre, size = rest.geometry.centre, np.abs(np.ptp(rest.geometry.corners(), axis=0))
    axes = np.asarray(along, dtype=np.float64)

    def taken_from(at: Points, amount: NDArray[np.float64]) -> Points:
        envelope = np.exp(-0.5 * (((at - centre) / (0.3 * size)) ** 2).sum(-1, keepdims=True))
        return np.asarray(at + envelope * (amount @ axes))

    points = marks(rest)
    frames, truth = [], []
    for number, amount in enumerate(amounts):
        frames.append(_pulled(images[number], lambda at, a=amount: taken_from(at, a), f"{name} {number}", number))  # type: ignore[misc]
        truth.append(_reached(points, lambda at, a=amount: taken_from(at, a)))  # type: ignore[misc]
    return MadeSeries(name, tuple(frames), points, np.stack(truth))


def taking_up_contrast(rest: Image, at: Points, count: int) -> list[Image]:
    """Return a scan at rest while one organ takes up contrast: its vessels early and for short, its tissue late.

    Parameters
    ----------
    rest
        The scan.
    at
        A point in the organ, ``(3,)``, LPS mm. The organ is what lies within `ORGAN` mm of it and is neither darker nor
        brighter than most of that; what is brighter there are its vessels.
    count
        Frames.
    """
    values = rest.array.astype(np.float32)
    apart = np.linalg.norm(rest.geometry.points() - at, axis=-1).reshape(values.shape)
    near = 1 / (1 + np.exp((apart - ORGAN) / 3.0))
    low, high = np.percentile(values[apart < ORGAN], [15, 85])
    width = (high - low) / 10
    tissue = 1 / (1 + np.exp((low - values) / width))
    vessel = 1 / (1 + np.exp((high - values) / width))
    time = np.arange(count) / max(count - 1, 1)
    early = (time / 0.3) * np.exp(1 - time / 0.3)
    late = 1 - np.exp(-3 * time)
    gains = (
        1 + near * (1.5 * quick * vessel + 1.2 * slow * tissue * (1 - vessel))
        for quick, slow in zip(early, late, strict=True)
    )
    return [rest.with_array((values * gain).astype(np.float32)) for gain in gains]


def moved_by(name: str, rest: Image, transforms: Sequence[tuple[Transform, Transform]]) -> MadeSeries:
    """Return a scan moved by transforms from it to each frame, each with its inverse."""
    points = marks(rest)
    frames = tuple(
        _noisy(apply_to_image(back, _as_float(rest), rest.geometry), n, f"{name} {n}")
        for n, (_, back) in enumerate(transforms)
    )
    return MadeSeries(name, frames, points, np.stack([there.apply_to_points(points) for there, _ in transforms]))


def drifting_head(name: str, rest: Image, count: int, seed: int) -> tuple[MadeSeries, NDArray[np.float64]]:
    """Return a head that drifts and twitches, and its poses, ``(frames, 6)``: mm and degrees as `rigid` takes them."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, [0.15, 0.15, 0.2, 0.15, 0.1, 0.1], (count, 6))
    steps[count // 2] += [0.8, -0.6, 1.2, 1.0, -0.5, 0.4]
    pose = np.cumsum(steps, axis=0) - steps[0]
    transforms = [rigid(each, rest.geometry.centre) for each in pose]
    return moved_by(name, rest, [(each, each.inverse()) for each in transforms]), pose


def beating(name: str, rest: Image, contraction: Transform, amounts: Sequence[float]) -> MadeSeries:
    """Return a heart between two phases: at frame n by a share of the displacement that leads from one to the other."""
    grid = rest.geometry
    whole = displacement_on_grid(contraction, grid).astype(np.float32)
    there = [DisplacementField(np.float32(amount) * whole, grid) for amount in amounts]
    return moved_by(name, rest, [(each, invert(each)) for each in there])


def rigid(pose: NDArray[np.float64], centre: Points) -> LinearTransform:
    """Return the motion by three mm and three degrees about a centre."""
    x, y, z = np.deg2rad(pose[3:])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + pose[:3]
    return LinearTransform(matrix)


def marks(image: Image) -> Points:
    """Return points inside the anatomy, away from the border of the scan."""
    inside = np.argwhere(foreground_mask(image).array)[:, ::-1]
    margin = np.minimum(4, np.array(image.geometry.size) // 6)
    kept = inside[((inside >= margin) & (inside < np.array(image.geometry.size) - margin)).all(axis=1)]
    chosen = np.random.default_rng(0).permutation(len(kept))[:MARKS]
    return image.geometry.to_world(kept[chosen])


def _pulled(rest: Image, taken_from: Callable[[Points], Points], name: str, seed: int) -> Image:
    at = rest.geometry.points()
    shift = (taken_from(at) - at).astype(np.float32).reshape(*rest.array.shape, 3)
    pulled = apply_to_image(DisplacementField(shift, rest.geometry), _as_float(rest), rest.geometry)
    return _noisy(pulled, seed, name)


def _noisy(image: Image, seed: int, name: str) -> Image:
    low, high = np.percentile(image.array, [1, 99])
    noise = np.random.default_rng(seed).normal(0, NOISE * (high - low), image.array.shape)
    return Image((image.array + noise).astype(np.float32), image.geometry, name)


def _reached(points: Points, taken_from: Callable[[Points], Points]) -> Points:
    """Return where points of the resting scan lie in a frame, by fixed-point iteration."""
    found = points.copy()
    for _ in range(100):
        found = found - (taken_from(found) - points)
    return found


def _as_float(image: Image) -> Image:
    return image.with_array(image.array.astype(np.float32))
