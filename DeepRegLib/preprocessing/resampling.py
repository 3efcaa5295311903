"""Anti-aliased resampling onto coarser grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, geometry_of, resample_sitk, to_sitk
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.arrays import float_array, float_picture
from DeepRegLib.transforms.banded import FWHM_PER_SIGMA, along_axes, gaussian, interpolation_between

# In voxels; a narrower Gaussian changes nothing.
LEAST_SIGMA = 0.1


@dataclass(frozen=True, eq=False)
class Smoothed:
    """An image smoothed for a coarser grid, to be resampled onto it; by more than one transform if wanted.

    Parameters
    ----------
    picture
        The smoothed voxels, float32.
    lowest, highest
        The range of the image before.
    name
        Of the image.
    """

    picture: sitk.Image
    lowest: float
    highest: float
    name: str

    def resample(
        self, geometry: Geometry, transform: sitk.Transform | None = None, *, poll: Poll = never_cancel
    ) -> Image:
        """Resample onto the grid it was smoothed for; parameters and result are those of `smooth_and_resample`."""
        resampled = resample_sitk(self.picture, geometry, transform, background=self.lowest, poll=poll)
        return Image(np.clip(sitk.GetArrayFromImage(resampled), self.lowest, self.highest), geometry, self.name)

    def resample_with_view(
        self, geometry: Geometry, transform: sitk.Transform | None = None, *, poll: Poll = never_cancel
    ) -> tuple[Image, Image]:
        """Return what `resample` does, and a bool image that tells where that lies inside; looked up once."""
        values = sitk.GetArrayFromImage(resample_sitk(self.picture, geometry, transform, background=np.nan, poll=poll))
        seen = np.logical_not(np.isnan(values))
        warped = np.where(seen, np.clip(values, self.lowest, self.highest), values.dtype.type(self.lowest))
        return Image(warped, geometry, self.name), Image(seen, geometry, "field of view")


def smoothed_for(image: Image, geometry: Geometry, *, poll: Poll = never_cancel) -> Smoothed:
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
    values = float_array(image)
    matrices = [
        gaussian(size, sigma) if sigma else None
        for size, sigma in zip(values.shape, _sigmas(image.geometry, geometry), strict=True)
    ]
    smoothed = along_axes(values, matrices, poll=poll)
    return Smoothed(to_sitk(image.with_array(smoothed)), float(values.min()), float(values.max()), image.name)


def smooth_and_resample(
    image: Image, geometry: Geometry, transform: sitk.Transform | None = None, *, poll: Poll = never_cancel
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
    if transform is None and image.geometry.has_axes_of(geometry):
        return _on_parallel_grid(image, geometry, poll)
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


def _on_parallel_grid(image: Image, geometry: Geometry, poll: Poll) -> Image:
    """Do what `smooth_and_resample` does where the axes of both grids are parallel: each can be treated alone."""
    values = float_array(image)
    between = interpolation_between(image.geometry, geometry)
    matrices = [
        matrix @ gaussian(size, sigma) if sigma else matrix
        for matrix, size, sigma in zip(between, values.shape, _sigmas(image.geometry, geometry), strict=True)
    ]
    result = along_axes(values, matrices, poll=poll)
    lowest, highest = values.min(), values.max()
    np.clip(result, lowest, highest, out=result)  # rounding
    for axis, matrix in enumerate(between):
        np.moveaxis(result, axis, 0)[~matrix.any(axis=1)] = lowest
    return Image(result, geometry, image.name)


def _sigmas(old: Geometry, new: Geometry) -> list[float]:
    """Return the Gaussians along k, j and i in old voxels; 0 where one would change nothing."""
    cosines, spacing = old.axes.T @ new.axes, np.array(old.spacing)
    seen = np.sqrt((cosines**2) @ (np.array(new.spacing) ** 2))
    sigmas = np.sqrt(np.maximum(seen**2 - spacing**2, 0)) / FWHM_PER_SIGMA / spacing
    return [float(sigma) if sigma >= LEAST_SIGMA else 0.0 for sigma in sigmas[::-1]]
