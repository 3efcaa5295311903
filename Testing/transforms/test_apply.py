"""Transforms applied to images and label maps."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.transforms import (
    LinearTransform,
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
