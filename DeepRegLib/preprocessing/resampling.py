"""Anti-aliased resampling onto coarser grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, execute, geometry_of, resample_sitk
from DeepRegLib.monitoring import Poll, keep_going
from DeepRegLib.preprocessing.arrays import float_picture

FWHM_PER_SIGMA = 2.3548
RECURSIVE_MINIMUM = 4


@dataclass(frozen=True, eq=False)
class Smoothed:
    """An image smoothed for a coarser grid, to be resampled onto it; by more than one transform if wanted.

    Parameters
    ----------
    picture
        The smoothed voxels, float32.
    lowest, highest
        The range of the image before: the recursive Gaussian overshoots a little beside sharp edges.
    name
        Of the image.
    """

    picture: sitk.Image
    lowest: float
    highest: float
    name: str

    def resample(
        self, geometry: Geometry, transform: sitk.Transform | None = None, *, poll: Poll = keep_going
    ) -> Image:
        """Resample onto the grid it was smoothed for; parameters and result are those of `smooth_and_resample`."""
        resampled = resample_sitk(self.picture, geometry, transform, background=self.lowest, poll=poll)
        return Image(np.clip(sitk.GetArrayFromImage(resampled), self.lowest, self.highest), geometry, self.name)


def smoothed_for(image: Image, geometry: Geometry, *, poll: Poll = keep_going) -> Smoothed:
    """Smooth an image along the axes where a grid is coarser.

    The Gaussian turns the image's voxel into the grid's: its full width at half maximum is
    ``sqrt(new spacing^2 - old spacing^2)`` (Cardoso et al. 2015).

    Parameters
    ----------
    image
        Finite voxels; a bool image gives the share of each new voxel that is set.
    geometry
        The grid; its orientation may differ.
    poll
        Called now and then; may raise to stop.
    """
    picture = float_picture(image)
    values = sitk.GetArrayViewFromImage(picture)
    lowest, highest = float(values.min()), float(values.max())
    for axis, sigma in enumerate(_sigmas(image.geometry, geometry)):
        picture = _smooth(picture, axis, float(sigma), poll)
    return Smoothed(picture, lowest, highest, image.name)


def smooth_and_resample(
    image: Image, geometry: Geometry, transform: sitk.Transform | None = None, *, poll: Poll = keep_going
) -> Image:
    """Resample onto a grid, smoothing first along the axes where that grid is coarser, as `smoothed_for` does.

    Parameters
    ----------
    image
        Finite voxels; a bool image gives the share of each new voxel that is set.
    geometry
        The grid of the result; its orientation may differ.
    transform
        Takes points of `geometry` to points of the image; None for the identity. The smoothing ignores its scale.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        float32 on `geometry`, within the image's range; the image's minimum outside its field of view.
    """
    return smoothed_for(image, geometry, poll=poll).resample(geometry, transform, poll=poll)


def isotropic(image: Image, spacing: float) -> Image:
    """Resample onto a grid of cubic voxels of `spacing` mm with the same centre and orientation, as float32.

    Raises
    ------
    InputError
        If the spacing is not positive.
    """
    if not (np.isfinite(spacing) and spacing > 0):
        raise InputError(f"A spacing of {spacing:g} mm is not positive.", "Give a spacing above 0 mm.")
    return smooth_and_resample(image, image.geometry.resized(spacing))


def shrink_factors(size: Sequence[int], spacing: Sequence[float], voxels: int) -> list[int]:
    """Return whole factors along i, j, k that leave about `voxels` voxels, as cubic as can be."""
    extent = np.array(size) * np.array(spacing)
    step = float(np.prod(extent) / voxels) ** (1 / 3)
    return [int(f) for f in np.clip(np.rint(step / np.array(spacing)), 1, np.array(size))]


def shrink(image: Image, voxels: int) -> Image:
    """Average blocks of voxels until about `voxels` are left, as float32."""
    factors = shrink_factors(image.geometry.size, image.geometry.spacing, voxels)
    picture = sitk.BinShrink(float_picture(image), factors)
    return Image(sitk.GetArrayFromImage(picture), geometry_of(picture, image.name), image.name)


def _sigmas(old: Geometry, new: Geometry) -> NDArray[np.float64]:
    cosines = old.axes.T @ new.axes
    seen = np.sqrt((cosines**2) @ (np.array(new.spacing) ** 2))
    return np.sqrt(np.maximum(seen**2 - np.array(old.spacing) ** 2, 0)) / FWHM_PER_SIGMA


def _smooth(picture: sitk.Image, axis: int, sigma: float, poll: Poll) -> sitk.Image:
    if sigma < 0.1 * picture.GetSpacing()[axis]:
        return picture
    if picture.GetSize()[axis] >= RECURSIVE_MINIMUM:
        poll()
        return sitk.RecursiveGaussian(picture, sigma, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis)
    variance = [0.0, 0.0, 0.0]
    variance[axis] = sigma**2
    blur = sitk.DiscreteGaussianImageFilter()
    blur.SetVariance(variance)
    blur.SetMaximumKernelWidth(64)
    return execute(blur, poll, picture)
