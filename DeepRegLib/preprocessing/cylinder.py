"""The cylinder that a cone-beam scanner reconstructs: outside of it nothing was scanned, and its file has one value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image

LEAST_OUTSIDE = 0.02  # of the voxels
ROUND = 0.03  # by which the area of a slice may differ from that of a disc as wide


def scanned_cylinder(image: Image) -> Image | None:
    """Return where a scan was reconstructed, if that is a cylinder along one of its axes; else None.

    Parameters
    ----------
    image
        Outside of the cylinder its voxels have one value, the smallest of all.

    Returns
    -------
    Image or None
        Bool on the image's grid.
    """
    inside = np.not_equal(image.array, image.array.min())
    if inside.mean() > 1 - LEAST_OUTSIDE or not inside.any():
        return None
    for axis in range(3):
        # Air has the smallest value here and there too: a slice of the cylinder is what any of its slices shows.
        disc = inside.any(axis=axis)
        shown = inside.any(axis=tuple(other for other in range(3) if other != axis))
        if _is_disc(disc, image, axis):
            length = np.expand_dims(shown, tuple(other for other in range(3) if other != axis))
            return image.with_array(np.logical_and(np.expand_dims(disc, axis), length))
    return None


def _is_disc(region: NDArray[np.bool_], image: Image, axis: int) -> bool:
    """Tell whether a region of a slice is a disc, in mm, as wide as high."""
    spacing = [step for other, step in enumerate(image.geometry.spacing[::-1]) if other != axis]
    places = np.argwhere(region)
    if not len(places):
        return False
    high, wide = (places.max(axis=0) - places.min(axis=0) + 1) * spacing
    area = len(places) * spacing[0] * spacing[1]
    return bool(abs(area / (np.pi / 4 * high * wide) - 1) <= ROUND and abs(high / wide - 1) <= 2 * ROUND)
