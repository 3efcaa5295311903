"""Preparing images: robust against odd values, right about modality and background, and faithful in mm."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from DeepRegLib import preprocessing
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image
from DeepRegLib.preprocessing import foreground
from DeepRegLib.recipes import DENOISING_METHODS
from Testing.synthetic import geometry_in

TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def picture(array: NDArray[np.generic], spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> Image:
    k, j, i = array.shape
    return Image(array, Geometry((i, j, k), spacing, (-30.0, 12.0, 7.0), TURNED), "scan.nii.gz")


def ball(shape: tuple[int, int, int], radius: float, centre: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> NDArray:
    """Return True inside a ball; radius as a share of the shortest axis, centre as shares of each axis."""
    middle = np.array(shape) * np.array(centre) - 0.5
    grid = np.indices(shape) - middle.reshape(3, 1, 1, 1)
    return np.sqrt((grid**2).sum(axis=0)) < radius * min(shape)


def head(noise: float = 0.0, shape: tuple[int, int, int] = (64, 64, 64)) -> tuple[Image, NDArray]:
    """Return a bright ball with a dark middle in air with Rician noise, and where it is."""
    random = np.random.default_rng(3)
    body = ball(shape, 0.38)
    signal = np.where(ball(shape, 0.15), 15.0, np.where(body, 100.0, 0.0))
    magnitude = np.hypot(signal + noise * random.normal(size=shape), noise * random.normal(size=shape))
    return picture(magnitude.astype(np.float32)), body


def torso(noise: float = 20.0) -> tuple[Image, NDArray]:
    """Return a CT of a body with two lungs on a table, and where the body is."""
    shape = (40, 80, 80)
    body = np.broadcast_to(ball((80, 80, 80), 0.35)[40], shape)
    values = np.where(body, 40.0, -1000.0)
    for side in (0.35, 0.65):
        lung = np.broadcast_to(ball((80, 80, 80), 0.12, (0.5, 0.5, side))[40], shape)
        values = np.where(lung, -850.0, values)
    values[:, 74:76] = 200.0
    values += noise * np.random.default_rng(1).normal(size=shape)
    return picture(np.maximum(values, -1024).astype(np.int16), (4.0, 4.0, 4.0)), body


def dice(a: NDArray, b: NDArray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def same_grid(result: Image, image: Image) -> bool:
    return result.geometry == image.geometry and result.name == image.name


# --- values ---


def test_bad_voxels_are_replaced_and_reported() -> None:
    array = np.arange(64, dtype=np.float64).reshape(4, 4, 4) + 5
    array[0, 0, 0], array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf, -np.inf
    repaired, bad = preprocessing.finite(picture(array))
    assert bad is not None
    assert bad.array.dtype == np.bool_
    assert bad.array.sum() == 3
    assert repaired.array.dtype == np.float32
    assert repaired.array[0, 0, 0] == repaired.array[1, 1, 1] == repaired.array[2, 2, 2] == 6
    assert np.isnan(array[0, 0, 0]), "the input was modified"


def test_a_clean_image_has_no_bad_voxels_and_an_empty_one_is_refused() -> None:
    assert preprocessing.finite(picture(np.zeros((3, 3, 3), np.int16)))[1] is None
    with pytest.raises(InputError, match=r"scan\.nii\.gz has no finite voxel"):
        preprocessing.finite(picture(np.full((3, 3, 3), np.nan)))


def test_values_beyond_float32_count_as_bad() -> None:
    array = np.ones((3, 3, 3))
    array[0, 0, 0] = 1e300
    repaired, bad = preprocessing.finite(picture(array))
    assert np.isfinite(repaired.array).all()
    assert bad is not None
    assert bad.array.sum() == 1


@pytest.mark.parametrize("dots", [0, 1, 20])
def test_constant_and_nearly_empty_images_are_refused_by_name(dots: int) -> None:
    array = np.full((20, 20, 20), 7, np.int16)
    array.ravel()[:dots] = 100
    with pytest.raises(InputError, match=r"scan\.nii\.gz is (constant|nearly empty)"):
        preprocessing.check_not_constant(picture(array))


def test_a_constant_with_rounding_noise_is_refused_and_a_small_object_is_not() -> None:
    noise = 1e-5 * np.random.default_rng(0).normal(size=(9, 9, 9))
    with pytest.raises(InputError, match="constant"):
        preprocessing.check_not_constant(picture((1000 + noise).astype(np.float32)))
    array = np.zeros((40, 40, 40), np.uint8)
    array[10:14, 10:14, 10:14] = 1
    preprocessing.check_not_constant(picture(array))


def test_a_single_bright_voxel_does_not_dim_the_image() -> None:
    array = np.random.default_rng(0).uniform(0, 100, (20, 20, 20)).astype(np.float32)
    array[3, 3, 3] = 1e6
    scaled = preprocessing.normalise(picture(array))
    assert scaled.array.max() == 1
    assert np.median(scaled.array) == pytest.approx(0.5, abs=0.05)


def test_a_sparse_image_keeps_its_contrast() -> None:
    array = np.zeros((40, 40, 40), np.uint16)
    array[20, 20, 18:22] = (100, 200, 300, 400)
    scaled = preprocessing.normalise(picture(array)).array
    assert scaled.max() == 1
    assert scaled.min() == 0
    assert 0.2 < scaled[20, 20, 18] < 0.3


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(1e-3, 1e5),
    offset=st.floats(-1e3, 1e3),
    low=st.floats(0, 40),
    high=st.floats(60, 100),
    seed=st.integers(0, 99),
)
def test_normalising_ignores_units_and_keeps_order(
    scale: float, offset: float, low: float, high: float, seed: int
) -> None:
    array = np.random.default_rng(seed).normal(size=(6, 7, 8))
    scaled = preprocessing.normalise(picture(array), low, high).array
    other = preprocessing.normalise(picture(array * scale + offset * scale), low, high).array
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    np.testing.assert_allclose(scaled, other, atol=1e-3)
    order = np.argsort(array.ravel())
    assert (np.diff(scaled.ravel()[order]) >= 0).all()


def test_percentiles_of_a_mask() -> None:
    image, body = head()
    mask = image.with_array(ball(body.shape, 0.38) & ~ball(body.shape, 0.15))
    assert set(np.unique(preprocessing.clamp_percentiles(image, 1, 99, mask).array)) == {100.0}
    assert set(np.unique(preprocessing.clamp_percentiles(image, 0, 100).array)) == {0.0, 15.0, 100.0}


@pytest.mark.parametrize(("low", "high"), [(50, 50), (-1, 99), (1, 101), (99, 1), (float("nan"), 99)])
def test_percentiles_out_of_order_are_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match="percentiles"):
        preprocessing.clamp_percentiles(head()[0], low, high)


def test_a_mask_on_another_grid_or_empty_is_refused() -> None:
    image, _ = head()
    with pytest.raises(InputError, match="grid"):
        preprocessing.normalise(image, mask=picture(np.ones((4, 4, 4), np.bool_)))
    with pytest.raises(InputError, match="empty"):
        preprocessing.normalise(image, mask=image.with_array(np.zeros(image.array.shape, np.bool_)))


# --- CT ---


@pytest.mark.parametrize("padding", [None, -1024, -2000, -3024])
def test_ct_is_recognised_with_any_padding(padding: int | None) -> None:
    image, _ = torso()
    array = image.array.copy()
    if padding is not None:
        array[:, ~ball((80, 80, 80), 0.5)[40]] = padding
    assert preprocessing.is_ct(image.with_array(array))
    assert preprocessing.is_ct(image.with_array(array.astype(np.float64)))


def test_other_scans_are_not_ct() -> None:
    random = np.random.default_rng(0)
    image, _ = head(noise=5)
    hu, _ = torso()
    others = {
        "MR": image.array,
        "z-scored MR": (image.array - image.array.mean()) / image.array.std(),
        "MR with ringing below zero": image.array * 10 - 300,
        "8-bit CT": np.clip((hu.array + 1000.0) / 8, 0, 255).astype(np.uint8),
        "CT without its offset": (hu.array + 1024).astype(np.uint16),
        "MR phase": random.integers(-4096, 4096, (40, 40, 40)).astype(np.int16),
        "demeaned MR": image.array * 40 - 2000,
        "all the same": np.full((5, 5, 5), -1000, np.int16),
        "not finite": np.full((5, 5, 5), np.nan),
    }
    assert [name for name, array in others.items() if preprocessing.is_ct(picture(array))] == []


def test_windows() -> None:
    image, _ = torso()
    for low, high in preprocessing.CT_WINDOWS.values():
        shown = preprocessing.window(image, low, high)
        np.testing.assert_allclose(shown.array, np.clip((image.array - low) / (high - low), 0, 1), atol=1e-5)
        assert same_grid(shown, image)
    with pytest.raises(InputError, match="window"):
        preprocessing.window(image, 100, 100)


def test_a_pair_shares_the_window_that_shows_the_lung() -> None:
    chest, _ = torso()
    abdomen = chest.with_array(np.where((chest.array < -500) & (chest.array > -930), 40, chest.array))
    assert preprocessing.ct_window_for_registration(abdomen)[0] > -1000
    wide = preprocessing.CT_WINDOWS["wide"]
    assert preprocessing.ct_window_for_registration(abdomen, chest) == wide
    assert preprocessing.ct_window_for_registration(chest, abdomen) == wide


# --- background and foreground ---


def test_a_stripped_brain_is_blank_around_and_its_dark_middle_is_not() -> None:
    shape = (48, 48, 48)
    brain = np.where(ball(shape, 0.4), 100.0, 0.0)
    brain[20:28, 20:28, 20:28] = 0
    image = picture(brain.astype(np.float32))
    assert preprocessing.background_is_blank(image)
    region = preprocessing.blank_region(image)
    assert region.array.dtype == np.bool_
    assert same_grid(region, image)
    assert dice(region.array, ~ball(shape, 0.4)) > 0.99
    assert not region.array[24, 24, 24]


def test_padding_around_a_reconstruction_circle_is_blank() -> None:
    image, _ = torso()
    outside = np.broadcast_to(~ball((80, 80, 80), 0.5)[40], image.array.shape)
    padded = image.with_array(np.where(outside, -2000, image.array))
    assert not preprocessing.background_is_blank(image)
    assert preprocessing.background_is_blank(padded)
    assert dice(preprocessing.blank_region(padded).array, outside) > 0.98


def test_air_rounded_to_zero_with_noise_on_it_is_not_blank() -> None:
    random = np.random.default_rng(0)
    image, body = head()
    noisy_air = (random.random(body.shape) > 0.75).astype(np.uint8)
    assert not preprocessing.background_is_blank(image.with_array(np.where(body, 100, noisy_air).astype(np.uint8)))


@pytest.mark.parametrize("noise", [0.0, 2.0, 8.0])
def test_the_mask_of_a_head_is_the_head_with_its_dark_middle(noise: float) -> None:
    image, body = head(noise)
    mask = preprocessing.foreground_mask(image)
    assert mask.array.dtype == np.bool_
    assert same_grid(mask, image)
    assert dice(mask.array, body) > 0.93
    assert mask.array[32, 32, 32]


@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
def test_the_mask_does_not_depend_on_the_size_of_the_animal(scale: float) -> None:
    image, body = head(2.0)
    spacing = (2 * scale, 2 * scale, 2 * scale)
    assert dice(preprocessing.foreground_mask(picture(image.array, spacing)).array, body) > 0.93


def test_the_mask_of_thick_slices() -> None:
    image, body = head(2.0)
    thick = picture(image.array[::8], (2.0, 2.0, 16.0))
    assert dice(preprocessing.foreground_mask(thick).array, body[::8]) > 0.9


def test_the_mask_of_a_ct_is_the_body_with_its_lungs_and_without_the_table() -> None:
    image, body = torso()
    mask = preprocessing.foreground_mask(image).array
    # The volume is turned: its slices are axial all the same.
    assert dice(mask, body) > 0.95
    assert mask[0, 40, 28]
    assert not mask[:, 74:76].any()


@pytest.mark.parametrize("orientation", ["RAS", "oblique"])
def test_each_axial_slice_is_filled_as_a_picture_of_its_own(orientation: str) -> None:
    geometry = geometry_in(orientation, (13, 17, 11), 2.0)
    region = np.random.default_rng(0).random(geometry.shape) < 0.6
    filled = foreground.filled_across_axial_slices(Image(region, geometry), region)
    axial = 2 - int(np.abs(geometry.axes[2]).argmax())
    for index in range(region.shape[axial]):
        alone = sitk.GetImageFromArray(region.take(index, axial).astype(np.uint8))
        np.testing.assert_array_equal(filled.take(index, axial), sitk.GetArrayFromImage(sitk.BinaryFillhole(alone)))


def test_a_lung_cut_open_by_the_field_of_view_stays_in_the_mask() -> None:
    image, _ = torso()
    cut = picture(image.array[:, :70, :26], (4.0, 4.0, 4.0))
    assert preprocessing.foreground_mask(cut).array[20, 40, 20:].all()


def test_a_crop_inside_the_body_is_all_foreground() -> None:
    random = np.random.default_rng(0)
    crop = picture((60 + 15 * random.normal(size=(35, 51, 35))).astype(np.float32), (1.0, 1.0, 1.0))
    assert preprocessing.foreground_mask(crop).array.all()


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 40, 40), (1, 30, 30)])
def test_tiny_and_flat_volumes_have_a_mask(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    assert preprocessing.foreground_mask(picture(random.normal(size=shape))).array.any()
    assert preprocessing.foreground_mask(picture(np.zeros(shape))).array.all()


@pytest.mark.slow
def test_a_large_head_is_masked_quickly() -> None:
    image, _ = head(2.0, (256, 256, 256))
    begun = time.perf_counter()
    preprocessing.foreground_mask(image)
    assert time.perf_counter() - begun < 5, "1 s on an idle machine"


# --- filters ---


@pytest.mark.parametrize("method", DENOISING_METHODS)
def test_denoising_brings_the_image_nearer_to_the_truth(method: str) -> None:
    clean, _ = head()
    noisy = clean.with_array(clean.array + np.random.default_rng(0).normal(0, 12, clean.array.shape))
    quiet = preprocessing.denoise(noisy, method, 1.0)
    assert same_grid(quiet, noisy)
    assert quiet.array.dtype == np.float32
    assert np.std(quiet.array - clean.array) < 0.8 * np.std(noisy.array - clean.array)


def test_denoising_does_not_mix_thick_slices() -> None:
    array = np.zeros((6, 20, 20), np.float32)
    array[3] = 100
    slices = picture(array, (1.0, 1.0, 8.0))
    for method in ("median", "gaussian"):
        np.testing.assert_allclose(preprocessing.denoise(slices, method, 1.0).array, array, atol=2)


def test_unknown_methods_and_strengths_are_refused() -> None:
    image, _ = head()
    with pytest.raises(InputError, match="median, gaussian, curvature"):
        preprocessing.denoise(image, "magic")
    for strength in (0, -1, float("nan")):
        with pytest.raises(InputError, match="strength"):
            preprocessing.denoise(image, "median", strength)


def test_a_bias_field_is_removed_and_the_brightness_kept() -> None:
    shape = (26, 32, 32)
    image = picture(np.where(ball(shape, 0.25), 60.0, np.where(ball(shape, 0.45), 100.0, 0.0)).astype(np.float32))
    mask = image.with_array(ball(shape, 0.45))
    field = np.exp(0.35 * np.linspace(-1, 1, shape[2])).astype(np.float32)
    biased = image.with_array(image.array * field)
    corrected = preprocessing.bias_field_corrected(biased, mask)
    shell = ball(shape, 0.43) & ~ball(shape, 0.27)
    assert corrected.array[shell].std() < 0.4 * biased.array[shell].std()
    assert corrected.array[mask.array].mean() == pytest.approx(biased.array[mask.array].mean(), rel=1e-3)


def test_equalising_spreads_the_values_and_keeps_their_order() -> None:
    random = np.random.default_rng(0)
    array = np.where(ball((30, 30, 30), 0.45), random.exponential(10, (30, 30, 30)), 0)
    even = preprocessing.equalise_histogram(picture(array)).array
    inside = even[array > 0]
    np.testing.assert_allclose(np.percentile(inside, [25, 50, 75]), [0.25, 0.5, 0.75], atol=0.03)
    assert (even[array == 0] == 0).all()
    assert (np.diff(even.ravel()[np.argsort(array.ravel())]) >= 0).all()


def test_matching_gives_the_reference_its_twin() -> None:
    image, body = head(2.0)
    brighter = image.with_array(image.array * 7 + 3)
    matched = preprocessing.match_histogram(image, brighter)
    assert matched.array[body].mean() == pytest.approx(brighter.array[body].mean(), rel=0.05)


# --- resampling ---


def test_a_fine_pattern_fades_instead_of_aliasing() -> None:
    stripes = np.zeros((32, 32, 32), np.float32)
    stripes[:, :, ::2] = 100
    coarse = preprocessing.isotropic(picture(stripes), 8.0).array
    assert np.abs(coarse[2:-2, 2:-2, 2:-2] - 50).max() < 2


@settings(max_examples=15, deadline=None)
@given(spacing=st.floats(0.7, 9.0), thickness=st.sampled_from([1.0, 2.5, 8.0]))
def test_a_ramp_in_the_world_stays_where_it_is(spacing: float, thickness: float) -> None:
    empty = picture(np.zeros((12, 30, 24), np.float32), (1.5, 1.0, thickness))
    x, y, z = np.moveaxis(empty.geometry.points(), -1, 0)
    ramp = empty.with_array((x + 2 * y - 3 * z).astype(np.float32))
    coarse = preprocessing.isotropic(ramp, spacing)
    assert np.all(coarse.geometry.extent >= empty.geometry.extent - 1e-3)
    points = coarse.geometry.points()
    index = empty.geometry.to_index(points)
    margin = np.maximum(2, 2 * spacing / np.array(empty.geometry.spacing))
    inner = np.all((index > margin) & (index < np.array(empty.geometry.size) - 1 - margin), axis=-1)
    expected = points @ np.array([1.0, 2.0, -3.0])
    np.testing.assert_allclose(coarse.array[inner], expected[inner], atol=0.15 * max(spacing, thickness))


def test_outside_the_field_of_view_is_the_darkest_value() -> None:
    image, _ = torso()
    grown = preprocessing.smooth_and_resample(image, image.geometry.resized(10, margin=100))
    assert grown.array[0, 0, 0] == image.array.min()
    assert grown.array.dtype == np.float32


def test_a_mask_becomes_the_share_of_each_voxel() -> None:
    body = ball((40, 40, 40), 0.3)
    share = preprocessing.isotropic(picture(body), 8.0)
    assert share.array.min() >= 0
    assert share.array.max() <= 1
    assert share.array.sum() * 64 == pytest.approx(body.sum(), rel=0.05)


def test_spacing_must_be_positive() -> None:
    with pytest.raises(InputError, match="spacing"):
        preprocessing.isotropic(head()[0], 0)


# --- real scans ---

CT_SCANS = ("abdomen_ct_totalseg_amos0336/fixed", "lung_ct_elastix_baseline_followup/moving")
OTHER_SCANS = {
    # scan: blank background, least and most foreground
    "brain_t1_nirep_na02_na03/fixed": (True, 0.3, 0.4),
    "head_t1_freesurfer_sub01_sub02/fixed": (True, 0.4, 0.6),
    "brain_multimodal_brainweb_t1tps_t2/fixed": (False, 0.5, 0.7),
    "cardiac_cine_acdc_patient110_ED_ES/fixed": (False, 0.7, 1.0),
    "hippocampus_mr_msd_001_003/moving": (False, 0.9, 1.0),
    "mouse_skull_ct_A_J_C57BL6_J/fixed": (True, 0.15, 0.4),
    "liver_mr_breathing_eth18_cyc_1_10/fixed": (False, 0.5, 0.9),
    "lung_proton_mr_0004_0006/fixed": (False, 0.4, 0.75),
}


@pytest.mark.data
@pytest.mark.parametrize("scan", CT_SCANS)
def test_real_ct(shared_data: Path, scan: str) -> None:
    image = read_image(shared_data / f"{scan}.nii.gz")
    labels = read_image(shared_data / f"{scan}_labels.nii.gz")
    assert preprocessing.is_ct(image)
    mask = preprocessing.foreground_mask(image).array
    assert mask.mean() < 0.95
    assert mask[labels.array > 0].mean() > 0.99


@pytest.mark.data
@pytest.mark.parametrize("scan", OTHER_SCANS)
def test_real_scans_that_are_not_ct(shared_data: Path, scan: str) -> None:
    image = read_image(shared_data / f"{scan}.nii.gz")
    blank, least, most = OTHER_SCANS[scan]
    assert not preprocessing.is_ct(image)
    assert preprocessing.background_is_blank(image) == blank
    mask = preprocessing.foreground_mask(image).array
    assert least <= mask.mean() <= most
    labels = shared_data / f"{scan}_labels.nii.gz"
    if labels.exists():
        assert mask[read_image(labels).array > 0].mean() > 0.98
