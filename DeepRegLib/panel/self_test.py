"""Two small made-up volumes: what the engine is tried with before a real scan is at stake."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.recipes import Recipe, Search, load_recipe

SIZE = 40
SPACING_MM = 3.0
SHIFT_MM = (6.0, -3.0, 3.0)  # x, y, z
LARGEST_ERROR_MM = 1.0


def example_pair() -> tuple[Image, Image]:
    """Return a fixed image and the same thing `SHIFT_MM` away: 40^3 voxels of 3 mm, float32."""
    geometry = Geometry((SIZE,) * 3, (SPACING_MM,) * 3)
    points = geometry.points()
    return (
        Image(_body(points), geometry, "self-test fixed"),
        Image(_body(points - np.asarray(SHIFT_MM)), geometry, "self-test moving"),
    )


def example_recipe() -> Recipe:
    """Return a recipe that finds the shift in a second or two."""
    return replace(load_recipe("rigid"), name="self-test", search=Search(enabled=False))


def _body(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return an ellipsoid with three balls inside at (k, j, i, 3) points in mm: no symmetry to trip over."""
    middle = np.full(3, SPACING_MM * (SIZE - 1) / 2)
    offset = points - middle
    image = 100.0 * (np.sum((offset / (45.0, 36.0, 40.0)) ** 2, axis=-1) < 1)
    for centre, radius, value in (((15, 8, 5), 9, 80), ((-18, 4, -10), 11, -50), ((2, -15, 14), 7, 120)):
        image += value * (np.sum((offset - centre) ** 2, axis=-1) < radius**2)
    return image.astype(np.float32)
