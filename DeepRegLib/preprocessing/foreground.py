"""Where the anatomy is: a foreground mask for any scan."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.image import Image, execute, to_sitk
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.arrays import float_array
from DeepRegLib.preprocessing.ct import is_ct
from DeepRegLib.preprocessing.resampling import shrink

# HU
BODY_THRESHOLD = -400.0
AIR_LIMIT = -960.0
MASK_VOXELS = 300_000
CLAMP = (0.1, 99.5)
# Shares of the mean brightness of the bright class (above Otsu's threshold), counted from the darkest voxels.
TISSUE_LEVEL = 0.1
DARK_AIR = 0.15
NOISE_MARGIN = 1.5
SPARSE_LEVEL = 0.02
# Shares of the volume.
LEAST_FOREGROUND = 0.01
MOST_FOREGROUND = 0.95
# Shares of the longest edge of the volume: a mouse's head needs other millimetres than a man's body.
OPENING = 0.008
TABLE_OPENING = 0.015
CLOSING = 0.03
SMALLEST_PART = 0.1


def foreground_mask(image: Image, *, poll: Poll = never_cancel) -> Image:
    """Find the anatomy, holes filled.

    Parameters
    ----------
    image
        Finite voxels of any modality. CT is recognised by `is_ct`; its mask is the body, lungs included, without the
        table.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        bool on the image's grid. All True where the anatomy fills the field of view or cannot be told from the
        background.
    """
    # Coarse voxels of about 4 mm in a body: they are quick, and averaging them removes the noise.
    coarse = shrink(image, MASK_VOXELS)
    poll()
    ct = is_ct(image)
    region = _body(coarse) if ct else _brighter_than_air(coarse)
    poll()
    if region.mean() <= MOST_FOREGROUND:
        region = _cleaned(coarse.with_array(region), TABLE_OPENING if ct else OPENING, keep_one=ct)
    poll()
    if not LEAST_FOREGROUND <= region.mean() <= MOST_FOREGROUND:
        return image.with_array(np.ones(image.array.shape, np.bool_))
    return on_grid_of(image, coarse.with_array(region), poll)


def _body(image: Image) -> NDArray[np.bool_]:
    # A lung that the field of view cuts open is no hole to be filled, but even the emptiest is denser than air.
    values = float_array(image)
    dense = values > BODY_THRESHOLD
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(to_sitk(image.with_array(~dense))))
    smallest = int(labels.size * LEAST_FOREGROUND)
    large = np.flatnonzero(np.bincount(labels.ravel())[1:] > smallest) + 1
    lungs = [part for part in large if np.median(values[labels == part]) > AIR_LIMIT]
    return dense | np.isin(labels, lungs)


def _brighter_than_air(image: Image) -> NDArray[np.bool_]:
    picture = to_sitk(image)
    values = sitk.GetArrayViewFromImage(picture)
    low, high = (float(v) for v in np.percentile(values, CLAMP))
    if high <= low:
        return values > low
    sigma = 0.7 * min(image.geometry.spacing)
    smooth = sitk.DiscreteGaussian(sitk.Clamp(picture, lowerBound=low, upperBound=high), [sigma**2] * 3)
    level = (sitk.GetArrayFromImage(smooth).astype(np.float64) - low) / (high - low)
    region = level > _tissue_threshold(level)
    return region if region.mean() >= LEAST_FOREGROUND else level > SPARSE_LEVEL


def _tissue_threshold(level: NDArray[np.float64]) -> float:
    # Otsu halves a scan into bright and dark, which in most scans are bright and dark tissue. Air is what is dark
    # compared with the bright half (as in FSL's BET), and noisy air pushes the threshold up.
    above = level > otsu_threshold(level)
    if above.all() or not above.any():
        return SPARSE_LEVEL
    bright = float(level[above].mean())
    dark = float(np.median(level[~above])) / bright
    return bright * (max(TISSUE_LEVEL, NOISE_MARGIN * dark) if dark < DARK_AIR else TISSUE_LEVEL)


def otsu_threshold(values: NDArray[np.floating]) -> float:
    """Return what parts the values of a volume ``(k, j, i)`` into a dark and a bright class (Otsu 1979)."""
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.Execute(sitk.GetImageFromArray(values))
    return float(otsu.GetThreshold())


def _cleaned(mask: Image, opening: float, *, keep_one: bool) -> NDArray[np.bool_]:
    longest = float(mask.geometry.extent.max())
    picture = to_sitk(mask)
    opened = sitk.BinaryErode(picture, radius_in_voxels(mask, opening * longest), boundaryToForeground=True)
    opened = sitk.BinaryDilate(opened, radius_in_voxels(mask, opening * longest))
    parts = _large_parts(opened, keep_one=keep_one)
    closed = sitk.BinaryMorphologicalClosing(parts, radius_in_voxels(mask, CLOSING * longest))
    filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(closed)).astype(np.bool_)
    return filled_across_axial_slices(mask, filled)


def radius_in_voxels(image: Image, length: float) -> list[int]:
    """Return a length in mm in whole voxels along i, j and k."""
    return [int(r) for r in np.rint(length / np.array(image.geometry.spacing))]


def _large_parts(picture: sitk.Image, *, keep_one: bool) -> sitk.Image:
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(picture), sortByObjectSize=True)
    sizes = np.bincount(sitk.GetArrayViewFromImage(labels).ravel())[1:]
    if sizes.size == 0:
        return picture
    kept = 1 if keep_one else int(np.count_nonzero(sizes >= SMALLEST_PART * sizes[0]))
    return sitk.BinaryThreshold(labels, 1, kept, 1, 0)


def array_axis(image: Image, world: int) -> int:
    """Return the axis of an image's array that runs along an axis of the world: 0 to the left, 1 back, 2 up."""
    return 2 - int(np.abs(image.geometry.axes[world]).argmax())


def filled_across_axial_slices(image: Image, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the holes of a region, bool on the image's grid, in each axial slice."""
    # Lungs and airways are open at the ends of the scan, so they are no holes in 3-D, but they are in each slice.
    axis = array_axis(image, 2)
    # All slices as one picture, in a frame of background each: what is not connected with the frames is a hole.
    # A filter for each slice takes ten times as long.
    sheet = np.pad(np.moveaxis(region, axis, 0), ((0, 0), (1, 1), (1, 1)))
    background = sitk.GetImageFromArray((~sheet).reshape(-1, sheet.shape[2]).astype(np.uint8))
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(background)).reshape(sheet.shape)
    return np.moveaxis((parts != parts[0, 0, 0])[:, 1:-1, 1:-1], 0, axis)


def on_grid_of(image: Image, mask: Image, poll: Poll) -> Image:
    """Bring a mask from a coarser grid onto that of an image; it goes on as it is past its border."""
    picture = to_sitk(mask.with_array(mask.array.astype(np.float32)))
    geometry = image.geometry
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(geometry.size)
    resampler.SetOutputOrigin(geometry.origin)
    resampler.SetOutputSpacing(geometry.spacing)
    resampler.SetOutputDirection(geometry.direction)
    resampler.SetInterpolator(sitk.sitkLinear)
    # Whole blocks leave up to a block of voxels over at the far faces.
    resampler.UseNearestNeighborExtrapolatorOn()
    return image.with_array(sitk.GetArrayFromImage(execute(resampler, poll, picture)) > 0.5)
