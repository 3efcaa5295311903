"""Transforms applied to images and label maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.transforms import (
    LinearTransform,
    Transform,
    apply_to_image,
    apply_to_labels,
    background_value,
    compose,
    field_of_view,
    image_and_view,
)
from Testing.synthetic import (
    ORIENTATIONS,
    blobs,
    geometry_in,
    label_map,
    random_linear,
    smooth_field,
    trilinear,
)

FIXED = geometry_in("oblique", (14, 15, 13), 3.0)
FIELD = smooth_field(FIXED, 5.0, seed=2)


def shift(x: float, y: float = 0.0, z: float = 0.0) -> LinearTransform:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return LinearTransform(matrix)


def brute_force_labels(transform: Transform, labels: Image, geometry: Geometry) -> np.ndarray:
    """Interpolate each label's indicator linearly, take the largest; the nearest voxel's label where two are equal."""
    index = labels.geometry.to_index(transform.apply_to_points(geometry.points()))
    present = np.unique(labels.array)
    scores = np.stack([trilinear((labels.array == label).astype(float), index) for label in present])
    # Rounding must not decide a tie, so what differs by less than 1e-9 counts as equal.
    first = scores > scores.max(axis=0) - 1e-6
    winner = present[np.argmax(first, axis=0)]
    near = np.floor(index + 0.5 + 1e-6).astype(int)
    near = np.clip(near, 0, np.array(labels.geometry.size) - 1)
    nearest = labels.array[near[..., 2], near[..., 1], near[..., 0]]
    ties = np.take_along_axis(first, np.searchsorted(present, nearest)[None], axis=0)[0]
    winner = np.where(ties, nearest, winner)
    return np.where(scores.sum(axis=0) > 0, winner, 0)


# Images


def test_the_transform_leads_from_fixed_to_moving() -> None:
    """A point of the moving image at x = 5 appears at x = 2 when the transform adds 3."""
    geometry = Geometry((9, 4, 4))
    array = np.zeros(geometry.shape, dtype=np.int16)
    array[2, 2, 5] = 100
    warped = apply_to_image(shift(3), Image(array, geometry, "moving"), geometry)
    assert warped.array[2, 2, 2] == 100
    assert warped.array.sum() == 100
    assert warped.name == "moving"
    assert warped.geometry == geometry


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_intensities_and_type_are_the_moving_images_own(dtype: str) -> None:
    moving = blobs(geometry_in("LAS", (20, 20, 20)))
    moving = moving.with_array((moving.array / 6).astype(dtype))
    transform = compose(random_linear(1), FIELD)
    warped = apply_to_image(transform, moving, FIXED)
    assert warped.array.dtype == moving.array.dtype
    exact = trilinear(moving.array, moving.geometry.to_index(transform.apply_to_points(FIXED.points())))
    step = 1 if np.dtype(dtype).kind in "iu" else 1e-4
    assert np.abs(warped.array - exact).max() <= step


@pytest.mark.parametrize(("background", "expected"), [(None, -1000), (7.0, 7)])
def test_outside_the_moving_field_of_view_is_background(background: float | None, expected: int) -> None:
    geometry = Geometry((10, 5, 5))
    moving = Image(np.full(geometry.shape, 40, dtype=np.int16), geometry)
    moving.array[0, 0, 0] = -1000
    warped = apply_to_image(shift(4), moving, geometry, background=background)
    assert np.all(warped.array[..., 6:] == expected)
    assert np.all(warped.array[1:, 1:, :5] == 40)


def test_background_is_the_smallest_finite_value_and_0_in_a_signed_map() -> None:
    geometry = Geometry((2, 2, 2))
    values = np.array([np.nan, -np.inf, np.inf, 3, 5, 7, 1, 2], dtype=np.float32).reshape(2, 2, 2)
    assert background_value(Image(values, geometry)) == 1
    assert background_value(Image(values - 4, geometry)) == 0
    assert background_value(Image(values - 40, geometry)) == -39
    scan = np.array([-1000, -1000, -990, 40, 60, 30, 800, -100], dtype=np.float32).reshape(2, 2, 2)
    assert background_value(Image(scan, geometry)) == -1000
    assert background_value(Image(scan.astype(np.int16), geometry)) == -1000
    assert background_value(Image(np.full((2, 2, 2), np.nan), geometry)) == 0
    assert background_value(Image(np.full((2, 2, 2), 9, dtype=np.uint8), geometry)) == 9


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_field_of_view_is_the_moving_voxel_box(orientation: str) -> None:
    moving = geometry_in(orientation, (12, 11, 10), 3.0)
    transform = compose(random_linear(4, 30, 15), FIELD)
    view = field_of_view(transform, moving, FIXED)
    index = moving.to_index(transform.apply_to_points(FIXED.points()))
    clear = np.all(np.abs(np.abs(index - (np.array(moving.size) - 1) / 2) - np.array(moving.size) / 2) > 1e-6, axis=-1)
    inside = np.all((index >= -0.5) & (index < np.array(moving.size) - 0.5), axis=-1)
    assert view.array.dtype == np.bool_
    assert 0.2 < view.array.mean() < 1
    np.testing.assert_array_equal(view.array[clear], inside[clear])


@pytest.mark.parametrize("at_once", [1, 1 << 22])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "float32", "float64"])
def test_image_and_view_are_the_image_and_the_view(dtype: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DeepRegLib.transforms.apply.PLANES_VOXELS", at_once)
    moving = blobs(geometry_in("LAS", (20, 20, 20)))
    moving = moving.with_array((5 + moving.array / 6).astype(dtype))
    for transform in (shift(0.5), compose(random_linear(1), FIELD)):
        warped, view = image_and_view(transform, moving, FIXED)
        expected = apply_to_image(transform, moving, FIXED), field_of_view(transform, moving.geometry, FIXED)
        for found, known in zip((warped, view), expected, strict=True):
            assert found.array.dtype == known.array.dtype
            assert (found.geometry, found.name) == (known.geometry, known.name)
            np.testing.assert_allclose(found.array, known.array, rtol=0, atol=1e-9)


def test_the_input_is_not_changed() -> None:
    moving, labels = blobs(FIXED), label_map(FIXED)
    field = FIELD.array.copy()
    before, before_labels = moving.array.copy(), labels.array.copy()
    apply_to_image(FIELD, moving, FIXED)
    apply_to_labels(FIELD, labels, FIXED)
    np.testing.assert_array_equal(moving.array, before)
    np.testing.assert_array_equal(labels.array, before_labels)
    np.testing.assert_array_equal(FIELD.array, field)


# Labels


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    names=st.lists(st.integers(0, 255), min_size=1, max_size=6, unique=True),
    orientation=st.sampled_from(ORIENTATIONS),
    bend=st.booleans(),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
)
def test_labels_are_the_brute_force_winners_and_none_is_invented(
    seed: int, names: list[int], orientation: str, bend: bool, shape: tuple[int, int, int]
) -> None:
    grid = geometry_in(orientation, shape, 5.0)
    values = np.random.default_rng(seed).choice(names, size=grid.shape).astype(np.uint8)
    labels = Image(values, grid)
    target = geometry_in("oblique", (7, 6, 5), 4.0)
    transform: Transform = random_linear(seed, 25, 6)
    if bend:
        transform = compose(transform, FIELD)
    warped = apply_to_labels(transform, labels, target)
    assert warped.array.dtype == np.uint8
    assert set(np.unique(warped.array)) <= {0, *names}
    assert np.mean(warped.array == brute_force_labels(transform, labels, target)) > 0.999


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "uint16", "int64"])
def test_label_types_are_kept(dtype: str) -> None:
    labels = label_map(FIXED)
    labels = labels.with_array((labels.array > 0).astype(dtype) if dtype == "bool" else labels.array.astype(dtype))
    for smooth in (True, False):
        warped = apply_to_labels(random_linear(1), labels, FIXED, smooth=smooth)
        assert warped.array.dtype == labels.array.dtype
        assert set(np.unique(warped.array)) <= set(np.unique(labels.array))
        assert warped.array.any()


def test_large_and_negative_labels_stay_exact() -> None:
    """FreeSurfer's numbers run into the thousands, and a neighbour's number must never be averaged in."""
    values = np.array([-5, 2**40 + 1, 12101, 0], dtype=np.int64)
    array = np.repeat(values, 2)[None, None, :] * np.ones((3, 3, 1), dtype=np.int64)
    geometry = Geometry((8, 3, 3))
    for smooth in (True, False):
        warped = apply_to_labels(shift(0.3), Image(array, geometry), geometry, smooth=smooth)
        np.testing.assert_array_equal(warped.array, array)


def test_on_a_tie_the_nearest_voxel_wins_so_that_labels_keep_their_size() -> None:
    array = np.zeros((2, 2, 6), dtype=np.uint8)
    array[..., :3], array[..., 3:] = 9, 4
    geometry = Geometry((6, 2, 2))
    warped = apply_to_labels(shift(0.5), Image(array, geometry), geometry)
    np.testing.assert_array_equal(warped.array[0, 0], [9, 9, 4, 4, 4, 0])


def test_labels_outside_the_field_of_view_are_zero() -> None:
    geometry = Geometry((6, 3, 3))
    labels = Image(np.full(geometry.shape, 3, dtype=np.uint8), geometry)
    for smooth in (True, False):
        warped = apply_to_labels(shift(2.8), labels, geometry, smooth=smooth)
        np.testing.assert_array_equal(warped.array[0, 0], [3, 3, 3, 0, 0, 0])


def test_an_identity_leaves_every_label_in_place() -> None:
    labels = label_map(FIXED, 3)
    for smooth in (True, False):
        warped = apply_to_labels(LinearTransform.identity(), labels, FIXED, smooth=smooth)
        np.testing.assert_array_equal(warped.array, labels.array)


def test_smooth_labels_have_less_jagged_borders_than_nearest_neighbour() -> None:
    """Brought from a coarse grid to a fine one, a ball keeps its shape better."""
    coarse, fine = geometry_in("LPS", (12, 12, 12), 4.0), geometry_in("oblique", (40, 40, 40), 1.2)
    smooth = apply_to_labels(LinearTransform.identity(), label_map(coarse, 1), fine).array
    nearest = apply_to_labels(LinearTransform.identity(), label_map(coarse, 1), fine, smooth=False).array
    truth = label_map(fine, 1).array
    assert np.mean(smooth == truth) > np.mean(nearest == truth)


def test_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = label_map(FIXED, 2)
    whole = apply_to_labels(FIELD, labels, FIXED).array
    monkeypatch.setattr("DeepRegLib.transforms.apply.VOXELS_AT_ONCE", 3 * FIXED.shape[1] * FIXED.shape[2])
    np.testing.assert_array_equal(apply_to_labels(FIELD, labels, FIXED).array, whole)
