"""Linear transforms: 12 numbers, exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.errors import InputError
from DeepRegLib.transforms import LinearTransform, compose, invert, transform_to_sitk
from Testing.synthetic import CENTRE, geometry_in, points_in, random_linear

POINTS = points_in(geometry_in("oblique"), 50, seed=3)
linears = st.builds(
    random_linear,
    seed=st.integers(0, 10_000),
    angle=st.floats(-180, 180),
    shift=st.floats(0, 200),
    scale=st.floats(0, 0.4),
    shear=st.floats(0, 0.4),
)


@settings(deadline=None, max_examples=40)
@given(transform=linears)
def test_the_inverse_is_exact(transform: LinearTransform) -> None:
    there = transform.apply_to_points(POINTS)
    np.testing.assert_allclose(transform.inverse().apply_to_points(there), POINTS, atol=1e-9)
    inverse = invert(transform)
    assert isinstance(inverse, LinearTransform)
    np.testing.assert_allclose(transform.apply_to_points(inverse.apply_to_points(POINTS)), POINTS, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(a=linears, b=linears)
def test_b_after_a_is_b_of_a(a: LinearTransform, b: LinearTransform) -> None:
    expected = b.apply_to_points(a.apply_to_points(POINTS))
    np.testing.assert_allclose(b.after(a).apply_to_points(POINTS), expected, atol=1e-8)
    composed = compose(a, b)
    assert isinstance(composed, LinearTransform), "linear results stay linear"
    np.testing.assert_allclose(composed.apply_to_points(POINTS), expected, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(transform=linears)
def test_itk_maps_the_same_points_to_the_same_places(transform: LinearTransform) -> None:
    itk = transform_to_sitk(transform)
    expected = [itk.TransformPoint(tuple(p)) for p in POINTS[:10]]
    np.testing.assert_allclose(transform.apply_to_points(POINTS[:10]), expected, atol=1e-9)


def test_points_may_come_in_any_shape() -> None:
    transform = random_linear(1)
    block = POINTS[:24].reshape(2, 3, 4, 3)
    np.testing.assert_array_equal(
        transform.apply_to_points(block).reshape(-1, 3), transform.apply_to_points(POINTS[:24])
    )
    assert transform.apply_to_points([1, 2, 3]).shape == (3,)
    assert transform.apply_to_points(np.zeros((0, 3))).shape == (0, 3)
    np.testing.assert_array_equal(LinearTransform.identity().apply_to_points(CENTRE), CENTRE)


def test_the_matrix_is_the_transforms_own() -> None:
    matrix = np.eye(4)
    transform = LinearTransform(matrix)
    matrix[0, 3] = 100
    np.testing.assert_array_equal(transform.apply_to_points([0, 0, 0]), [0, 0, 0])


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (np.eye(3), "affine"),
        (np.full((4, 4), np.nan), "affine"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "affine"),
        (np.diag([1.0, 1.0, 0.0, 1.0]), "singular"),
    ],
)
def test_a_matrix_that_is_no_transform_is_refused(matrix: np.ndarray, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        LinearTransform(matrix)
    assert caught.value.hint
