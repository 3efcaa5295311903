"""Noise, bias field and histogram: optional repairs before the comparison."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, execute, to_sitk
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.arrays import (
    check_same_grid,
    float_array,
    float_picture,
    require_one_of,
    with_picture,
)
from DeepRegLib.preprocessing.resampling import shrink_factors
from DeepRegLib.recipes import DENOISING_METHODS

BIAS_GRID_VOXELS = 60_000
BIAS_ITERATIONS = (30, 30, 20)
CURVATURE_ITERATIONS = 5
HISTOGRAM_BINS = 1024
SLICES_AT_ONCE = 16


def denoise(image: Image, method: str, strength: float = 1.0) -> Image:
    """Smooth noise away.

    Parameters
    ----------
    image
        Finite voxels.
    method
        ``"median"`` (keeps edges, removes single bright voxels), ``"gaussian"``, or ``"curvature"`` (anisotropic
        diffusion: keeps edges).
    strength
        Above 0. Radius of the median or sigma of the Gaussian, in units of the smallest voxel spacing; thick
        slices are mixed correspondingly less. For the curvature method a multiple of five iterations.

    Returns
    -------
    Image
        float32.

    Raises
    ------
    InputError
        If the method is unknown or the strength is not positive.
    """
    require_one_of("denoising method", method, DENOISING_METHODS)
    if not (np.isfinite(strength) and strength > 0):
        raise InputError(f"A denoising strength of {strength:g} is not positive.", "Give a number above 0, such as 1.")
    picture = float_picture(image)
    spacing = np.array(image.geometry.spacing)
    width = strength * float(spacing.min())
    if method == "median":
        radius = np.maximum(np.rint(width / spacing), spacing == spacing.min()).astype(int)
        return with_picture(image, sitk.Median(picture, radius.tolist()))
    if method == "gaussian":
        return with_picture(image, sitk.DiscreteGaussian(picture, [width**2] * 3, 64))
    step = float(spacing.min()) / 16  # the largest stable one in 3-D
    iterations = max(1, round(CURVATURE_ITERATIONS * strength))
    return with_picture(image, sitk.CurvatureAnisotropicDiffusion(picture, step, 3.0, 1, iterations))


def bias_field_corrected(image: Image, mask: Image, *, poll: Poll = never_cancel) -> Image:
    """Remove a slow intensity drift with N4 (Tustison et al. 2010).

    The field is estimated on a coarse grid and applied to every voxel; the mean intensity inside the mask is kept.

    Parameters
    ----------
    image
        An MR volume with finite voxels.
    mask
        The anatomy, on the image's grid (bool).
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        float32.

    Raises
    ------
    InputError
        If the mask is empty or on another grid.
    """
    check_same_grid(image, mask)
    inside = mask.array.astype(np.bool_)
    if not inside.any():
        raise InputError(f"The mask for {image.name} is empty.", "Draw the mask over the anatomy.")
    array = float_array(image)
    # N4 works on logarithms, so the darkest voxel becomes 0.
    lowest = array.min()
    shifted = array - lowest
    field = _bias_field(to_sitk(image.with_array(shifted)), to_sitk(mask.with_array(inside)), poll)
    corrected = shifted / field
    before, after = shifted[inside].mean(dtype=np.float64), corrected[inside].mean(dtype=np.float64)
    gain = before / after if after > 0 else 1.0
    return image.with_array((corrected * gain + lowest).astype(np.float32))


def equalise_histogram(image: Image) -> Image:
    """Spread the values evenly over [0, 1], as float32, keeping their order.

    Voxels at the minimum stay 0 and do not count, so an empty background does not use up the range.
    """
    array = float_array(image)
    lowest, highest = float(array.min()), float(array.max())
    if highest <= lowest:
        return image.with_array(np.zeros_like(array))
    counts, edges = np.histogram(array[array > lowest], bins=HISTOGRAM_BINS, range=(lowest, highest))
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    return image.with_array(np.interp(array, edges, cumulative).astype(np.float32))


def match_histogram(image: Image, reference: Image) -> Image:
    """Give an image the intensity distribution of a reference of the same modality (Nyul et al. 2000), as float32."""
    matched = sitk.HistogramMatching(float_picture(image), float_picture(reference), 256, 15, True)
    return with_picture(image, matched)


def _bias_field(picture: sitk.Image, mask: sitk.Image, poll: Poll) -> NDArray[np.float32]:
    factors = shrink_factors(picture.GetSize(), picture.GetSpacing(), BIAS_GRID_VOXELS)
    small, small_mask = sitk.BinShrink(picture, factors), sitk.Shrink(mask, factors)
    small_mask.CopyInformation(small)
    if not sitk.GetArrayViewFromImage(small_mask).any():
        return np.ones(picture.GetSize()[::-1], np.float32)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(BIAS_ITERATIONS)
    execute(corrector, poll, small, small_mask)
    slabs = []
    for start in range(0, picture.GetDepth(), SLICES_AT_ONCE):
        poll()
        slab = picture[:, :, start : start + SLICES_AT_ONCE]
        slabs.append(np.exp(sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(slab))))
    return np.concatenate(slabs)
