"""Values: finite, not constant, clamped, scaled to [0, 1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.arrays import float_array, values_inside

# Fewer voxels than a 3 x 3 x 3 block that differ from the rest hold nothing to align.
FEWEST_VOXELS = 27
VOXELS_AT_ONCE = 1 << 18


def finite(image: Image) -> tuple[Image, Image | None]:
    """Replace NaN and infinite voxels by the smallest finite value.

    Returns
    -------
    Image
        The image as float32.
    Image or None
        True at the voxels that were replaced (bool); None if there were none.

    Raises
    ------
    InputError
        If no finite voxel is left.
    """
    array = float_array(image)
    bad = ~np.isfinite(array)
    if not bad.any():
        return image.with_array(array), None
    if bad.all():
        raise InputError(f"{image.name} has no finite voxel (all are NaN or infinite).", "Export the image again.")
    repaired = np.where(bad, array[~bad].min(), array)
    return image.with_array(repaired), image.with_array(bad)


def check_not_constant(image: Image, *, poll: Poll = never_cancel) -> None:
    """Require an image with something in it. Its voxels must be finite; `poll` may raise to stop.

    Raises
    ------
    InputError
        If all voxels have the same value, or all but a handful.
    """
    array = float_array(image)
    low, high = float(array.min()), float(array.max())
    if high - low <= 4 * np.finfo(np.float32).eps * max(abs(low), abs(high)):
        raise InputError(f"{image.name} is constant: every voxel is {low:g}.", "Give an image that shows anatomy.")
    poll()
    # A value held by more than half of the voxels is the median.
    differing = int(np.count_nonzero(array != np.median(array)))
    if differing < min(FEWEST_VOXELS, array.size // 10):
        raise InputError(
            f"{image.name} is nearly empty: only {differing} of its {array.size} voxels differ from the rest.",
            "Give an image that shows anatomy.",
        )


def clamp_percentiles(image: Image, low: float, high: float, mask: Image | None = None) -> Image:
    """Cut values off below one percentile and above another.

    Parameters
    ----------
    image
        Finite voxels.
    low, high
        Percentiles, ``0 <= low < high <= 100``.
    mask
        Where to take the percentiles (on the image's grid); None for all voxels.

    Returns
    -------
    Image
        float32.

    Raises
    ------
    InputError
        If the percentiles are not in order, or the mask is empty or on another grid.
    """
    bottom, top = _value_range(values_inside(image, mask), low, high)
    return image.with_array(np.clip(float_array(image), bottom, top))


def normalise(
    image: Image, low: float = 0.1, high: float = 99.9, mask: Image | None = None, *, poll: Poll = never_cancel
) -> Image:
    """Scale the values between two percentiles to [0, 1] and cut off the rest.

    A sparse image, whose percentiles coincide, is scaled by the percentiles of the voxels that stand out.

    Parameters
    ----------
    image
        Finite voxels.
    low, high
        Percentiles, ``0 <= low < high <= 100``.
    mask
        Where to take the percentiles (on the image's grid); None for all voxels.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        float32 in [0, 1]; all zero where the voxels asked for are constant.

    Raises
    ------
    InputError
        If the percentiles are not in order, or the mask is empty or on another grid.
    """
    values = values_inside(image, mask)
    poll()
    bottom, top = _value_range(values, low, high)
    poll()
    return rescale(image, bottom, top, poll=poll)


def rescale(image: Image, bottom: float, top: float, *, poll: Poll = never_cancel) -> Image:
    """Take `bottom` to 0 and `top` to 1, as float32, and cut off the rest; `poll` may raise to stop."""
    array = float_array(image)
    scaled = np.zeros(array.shape, dtype=np.float32)
    width = float(np.float32(top)) - float(np.float32(bottom))
    if width > 0:
        thickness = max(1, VOXELS_AT_ONCE // (array.shape[1] * array.shape[2]))
        for start in range(0, len(array), thickness):
            poll()
            slab = slice(start, start + thickness)
            clipped = np.clip(array[slab], bottom, top).astype(np.float64)
            scaled[slab] = (clipped - float(np.float32(bottom))) / width
    return image.with_array(scaled)


def _value_range(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    if not 0 <= low < high <= 100:
        raise InputError(
            f"The percentiles {low:g} and {high:g} cannot be used.", "Give two percentiles, 0 <= low < high <= 100."
        )
    bottom, top = (float(v) for v in np.percentile(values, [low, high]))
    if top > bottom:
        return bottom, top
    above = values[values > top]
    if above.size:
        return bottom, float(np.percentile(above, high))
    below = values[values < bottom]
    return (float(np.percentile(below, low)), top) if below.size else (bottom, top)
