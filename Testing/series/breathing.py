"""A small body that breathes: frames whose motion is known."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.recipes import Recipe
from Testing.small import small_recipe
from Testing.synthetic import blob_values, geometry_in

GRID = geometry_in("LPS", (20, 22, 18), 2.4)
AMPLITUDE = 6.0  # mm


def displaced(points: NDArray[np.float64], amount: float) -> NDArray[np.float64]:
    """Return where points of the resting body are taken from in a frame: by `amount` mm along z, fading outward."""
    offset = (points - GRID.centre) / (GRID.extent / 2)
    within = np.prod(np.cos(np.pi / 2 * np.clip(offset, -1, 1)) ** 2, axis=-1)
    result = points.copy()
    result[..., 2] += amount * within
    return result


def amounts(count: int, cycles: float = 1.0) -> NDArray[np.float64]:
    """Return the amplitude at each frame of a breath, 0 at the first."""
    return AMPLITUDE * (1 - np.cos(2 * np.pi * cycles * np.arange(count) / count)) / 2


def frame(amount: float, name: str = "frame", gain: float = 1.0) -> Image:
    """Return the body displaced; the resting body at x lies in the frame where x + u(x) - x is undone.

    The frame holds at y what the resting body holds at x(y), so a transform from rest to frame is the inverse of
    `displaced`; points are checked with `true_position`.
    """
    values = blob_values(displaced(GRID.points(), amount)).reshape(GRID.shape)
    return Image((gain * values).astype(np.float32), GRID, name)


def true_position(points: NDArray[np.float64], amount: float) -> NDArray[np.float64]:
    """Return where points of the resting body lie in a frame, by fixed-point iteration."""
    found = points.copy()
    for _ in range(60):
        found = found - (displaced(found, amount) - points)
    return found


@functools.cache
def breath(count: int = 6) -> tuple[Image, ...]:
    """Return the frames of one breath."""
    return tuple(frame(float(amount), f"breath {n}") for n, amount in enumerate(amounts(count)))


def quick_recipe() -> Recipe:
    """Return a deformable recipe that takes a blink."""
    small = small_recipe()
    return replace(
        small,
        linear=replace(small.linear, model="none"),
        deformable=replace(small.deformable, iterations=(12, 8)),
    )


def rigid_recipe() -> Recipe:
    """Return a rigid recipe that takes a blink."""
    small = small_recipe()
    return replace(
        small,
        name="rigid small",
        linear=replace(small.linear, iterations=30),
        deformable=replace(small.deformable, enabled=False),
    )


def inner_points(count: int = 60) -> NDArray[np.float64]:
    """Return points in the middle of the body, ``(n, 3)``."""
    random = np.random.default_rng(5)
    return GRID.centre + random.uniform(-0.25, 0.25, (count, 3)) * GRID.extent
