"""The grids on which images are compared."""

from __future__ import annotations

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around

COMPARED_VOXELS = 1_000_000


def require_one_grid(first: Image, *others: Image) -> None:
    """Raise InputError unless all images lie on the grid of the first."""
    for image in others:
        require_on_grid(first.geometry, image, first.name)


def require_on_grid(geometry: Geometry, image: Image, owner: str = "the fixed image") -> None:
    """Raise InputError unless an image lies on a grid, which the message calls that of `owner`."""
    if not geometry.is_close(image.geometry):
        raise InputError(f"{image.name} does not lie on the grid of {owner}.", "Resample it onto that grid first.")


def comparison_grid(mask: Image, voxels: int = COMPARED_VOXELS) -> Geometry:
    """Return a grid of cubic voxels, so many at most, over the box around a mask, no finer than its own."""
    box = box_around(mask)
    return box.resized(max(float(np.prod(box.extent) / voxels) ** (1 / 3), min(box.spacing)))
