"""Displacement fields: interpolated as ITK does, from pure numpy."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import set_geometry
from DeepRegLib.transforms import DisplacementField
from Testing.synthetic import ORIENTATIONS, geometry_in, points_in, smooth_field, trilinear


def random_field(geometry: Geometry, dtype: str = "float64") -> DisplacementField:
    values = np.random.default_rng(5).normal(scale=3, size=(*geometry.shape, 3))
    return DisplacementField(values.astype(dtype), geometry)


def by_itk(field: DisplacementField, points: np.ndarray) -> np.ndarray:
    """Map points with an ITK transform built here, not by the library."""
    picture = sitk.GetImageFromArray(field.array.astype(np.float64), isVector=True)
    set_geometry(picture, field.geometry)
    transform = sitk.DisplacementFieldTransform(picture)
    return np.array([transform.TransformPoint(tuple(p)) for p in points])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_go_where_itk_and_a_textbook_put_them(orientation: str, dtype: str) -> None:
    """A rough field, and a border that is not zero, so that a wrong voxel or a wrong edge rule shows."""
    field = random_field(geometry_in(orientation, (7, 6, 5)), dtype)
    points = points_in(field.geometry, 300, seed=2, margin=-1.5)
    moved = field.apply_to_points(points)
    np.testing.assert_allclose(moved, by_itk(field, points), atol=1e-9)
    index = field.geometry.to_index(points)
    textbook = np.stack([trilinear(field.array[..., a], index) for a in range(3)], axis=-1)
    np.testing.assert_allclose(moved - points, textbook, atol=1e-9)
    assert np.any(np.all(moved == points, axis=1)), "some points lie outside, where nothing moves"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_at_a_voxel_centre_the_stored_vector_counts(orientation: str) -> None:
    field = random_field(geometry_in(orientation, (5, 6, 7)))
    points = field.geometry.points()
    np.testing.assert_allclose(field.apply_to_points(points) - points, field.array, atol=1e-8)


def test_the_voxel_box_is_half_open_as_in_itk() -> None:
    geometry = Geometry((4, 4, 4))
    field = DisplacementField(np.ones((4, 4, 4, 3)), geometry)
    points = np.array([[-0.5, 2, 2], [3.5, 2, 2], [3.499999, 2, 2], [-0.500001, 2, 2]])
    np.testing.assert_array_equal((field.apply_to_points(points) - points).round(6)[:, 0], [1, 0, 1, 0])
    np.testing.assert_allclose(field.apply_to_points(points), by_itk(field, points))


def test_far_away_and_missing_points_do_no_harm() -> None:
    field = smooth_field(geometry_in("LPS", (8, 8, 8)))
    far = np.array([[1e7, 0, 0], [0, -1e300, 0]])
    np.testing.assert_array_equal(field.apply_to_points(far), far)
    moved = field.apply_to_points([[np.nan, 0, 0]])
    assert np.isnan(moved[0, 0])
    assert field.apply_to_points(np.zeros((0, 3))).shape == (0, 3)


def test_a_grid_one_voxel_thick() -> None:
    geometry = Geometry((5, 4, 1))
    field = random_field(geometry)
    points = points_in(geometry, 40, margin=0.01)
    np.testing.assert_allclose(field.apply_to_points(points), by_itk(field, points), atol=1e-9)


def test_many_points_are_the_same_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    field = random_field(geometry_in("oblique", (6, 6, 6)))
    points = points_in(field.geometry, 101)
    whole = field.apply_to_points(points)
    monkeypatch.setattr("DeepRegLib.transforms.displacement.POINTS_AT_ONCE", 7)
    np.testing.assert_array_equal(field.apply_to_points(points), whole)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((5, 6, 7)), "shape"),
        (np.zeros((7, 6, 5, 3)), "shape"),
        (np.full((5, 6, 7, 3), np.nan), "NaN"),
        (np.full((5, 6, 7, 3), np.inf), "NaN"),
    ],
)
def test_an_array_that_is_no_field_is_refused(array: np.ndarray, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        DisplacementField(array, Geometry((7, 6, 5)))
    assert caught.value.hint
