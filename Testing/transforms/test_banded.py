"""Gaussians, slopes and interpolation as banded matrices, beside ITK's filters and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from DeepRegLib.errors import CancelledError
from DeepRegLib.image import Image, resample_sitk, to_sitk
from DeepRegLib.preprocessing import smooth_and_resample, smoothed_for
from DeepRegLib.transforms.banded import along_axes, gaussian, interpolation, slope
from Testing.synthetic import ORIENTATIONS, geometry_in

SHAPE = (70, 41, 90)


def noise(shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.5])
@pytest.mark.parametrize("kind", ["gaussian", "slope"])
def test_smoothing_along_an_axis_is_that_of_the_recursive_filter(axis, sigma, kind):
    volume = along_axes(noise(), [gaussian(n, 2.0) for n in SHAPE])
    matrices = [None, None, None]
    matrices[axis] = (gaussian if kind == "gaussian" else slope)(SHAPE[axis], sigma)
    filters = sitk.RecursiveGaussianImageFilter
    order = filters.ZeroOrder if kind == "gaussian" else filters.FirstOrder
    expected = sitk.RecursiveGaussian(sitk.GetImageFromArray(volume), sigma, False, order, 2 - axis)
    # Inside: ITK's first derivative treats the ends in another way.
    inside = tuple(slice(8, -8) if other == axis else slice(None) for other in range(3))
    difference = along_axes(volume, matrices)[inside] - sitk.GetArrayFromImage(expected)[inside]
    assert np.abs(difference).max() < 0.015 * np.abs(sitk.GetArrayFromImage(expected)).max()


def test_each_axis_is_the_product_with_its_matrix():
    matrices = [np.random.default_rng(n).normal(size=(n + 33, size)).astype(np.float32) for n, size in enumerate(SHAPE)]
    expected = np.einsum("Kk,Jj,Ii,kji->KJI", *matrices, noise(), optimize=True)
    np.testing.assert_allclose(along_axes(noise(), matrices), expected, atol=1e-4 * np.abs(expected).max())
    assert along_axes(noise(), [None, None, None]).shape == SHAPE


@given(st.integers(1, 80), st.floats(0, 6))
def test_a_constant_stays_and_a_ramp_has_its_slope(size, sigma):
    np.testing.assert_allclose(gaussian(size, sigma).sum(1), 1, atol=1e-5)
    reach = int(np.ceil(5 * sigma))
    if sigma > 0.2 and size > 2 * reach + 1:
        rise = slope(size, sigma) @ np.arange(size, dtype=np.float32)
        np.testing.assert_allclose(rise[reach : size - reach], 1, atol=1e-4)


@given(st.integers(1, 30), st.floats(-3, 33))
def test_interpolation_is_linear_between_voxels_and_ends_half_a_voxel_past_the_last(size, at):
    row = interpolation(size, np.array([at]))[0]
    if at < -0.5 or at >= size - 0.5:
        assert not row.any()
        return
    assert row.sum() == pytest.approx(1)
    assert row @ np.arange(size) == pytest.approx(np.clip(at, 0, size - 1), abs=1e-4)


@pytest.mark.parametrize("orientation", sorted(ORIENTATIONS))
@pytest.mark.parametrize("spacing", [1.0, 2.7, 6.0])
def test_a_grid_with_parallel_axes_gets_what_resampling_onto_any_grid_gives(orientation, spacing):
    geometry = geometry_in(orientation, (24, 30, 27), 2.0)
    image = Image(noise(geometry.shape), geometry, "noise")
    grid = geometry.resized(spacing, 3 * spacing)
    smoothed = smoothed_for(image, grid)
    expected = sitk.GetArrayFromImage(resample_sitk(smoothed.picture, grid, None, background=smoothed.lowest))
    found = smooth_and_resample(image, grid)
    np.testing.assert_allclose(found.array, expected, atol=1e-4)
    assert found.geometry == grid
    assert found.array[0, 0, 0] == image.array.min(), "beyond the image is its minimum"


@pytest.mark.parametrize("turn", ["turned", "flipped"])
def test_other_axes_are_resampled_in_space(turn):
    geometry = geometry_in("LPS", (24, 30, 27), 2.0)
    image = Image(noise(geometry.shape), geometry, "noise")
    other = geometry_in("oblique" if turn == "turned" else "RAS", (24, 30, 27), 2.0)
    expected = resample_sitk(to_sitk(image), other, None, background=float(image.array.min()))
    found = smooth_and_resample(image, other)
    np.testing.assert_allclose(found.array, sitk.GetArrayFromImage(expected), atol=1e-4)


def test_it_can_be_stopped_at_every_product():
    def stop() -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        along_axes(noise(), [gaussian(n, 1.0) for n in SHAPE], poll=stop)
