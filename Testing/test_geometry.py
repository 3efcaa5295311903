"""Grids and frames."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import set_geometry
from Testing.synthetic import ORIENTATIONS, geometry_in, points_in, rotation

NUMBERS = st.floats(-1000, 1000)
geometries = st.builds(
    lambda size, spacing, origin, turn, mirror: Geometry(
        size, spacing, origin, tuple((rotation(turn) @ np.diag([mirror, 1.0, 1.0])).ravel().tolist())
    ),
    st.tuples(*[st.integers(1, 400)] * 3),
    st.tuples(*[st.floats(0.05, 20)] * 3),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.sampled_from([1.0, -1.0]),
)


@settings(deadline=None, max_examples=40)
@given(geometry=geometries, fraction=st.tuples(*[st.floats(-0.5, 1.5)] * 3))
def test_world_and_index_round_trip(geometry: Geometry, fraction: tuple[float, ...]) -> None:
    index = np.array(fraction) * np.array(geometry.size)
    world = geometry.to_world(index)
    np.testing.assert_allclose(geometry.to_world(geometry.to_index(world)), world, atol=1e-7)
    np.testing.assert_allclose(geometry.to_index(world), index, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(geometry=geometries, spacing=st.floats(0.3, 30), margin=st.floats(0, 40))
def test_a_resized_grid_covers_the_old_one_and_keeps_its_place(
    geometry: Geometry, spacing: float, margin: float
) -> None:
    resized = geometry.resized(spacing, margin)
    assert resized.direction == geometry.direction
    np.testing.assert_allclose(resized.centre, geometry.centre, atol=1e-6)
    reach = resized.extent - geometry.extent - 2 * margin
    assert np.all(reach > -1e-5 * spacing - 1e-6)
    assert np.all(reach < spacing + 1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_some_planes_lie_where_they_lie_in_the_whole(orientation: str) -> None:
    geometry = geometry_in(orientation, (5, 7, 4), (0.9, 1.1, 2.5))
    np.testing.assert_allclose(geometry.planes(1, 3).points(), geometry.points(slice(1, 3)), atol=1e-10)
    i, j, k = geometry.size
    assert geometry.planes(k - 1, k + 5).size == (i, j, 1)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_voxels_lie_where_itk_puts_them(orientation: str) -> None:
    geometry = geometry_in(orientation, (5, 7, 4), (0.9, 1.1, 2.5))
    picture = sitk.Image(list(geometry.size), sitk.sitkUInt8)
    set_geometry(picture, geometry)
    for index in [(0, 0, 0), (4, 0, 0), (0, 6, 0), (0, 0, 1), (2, 3, 1)]:
        np.testing.assert_allclose(geometry.to_world(index), picture.TransformIndexToPhysicalPoint(index), atol=1e-10)
    for point in points_in(geometry, 10, seed=1):
        expected = picture.TransformPhysicalPointToContinuousIndex(tuple(point))
        np.testing.assert_allclose(geometry.to_index(point), expected, atol=1e-10)


def test_arrays_are_ordered_k_j_i() -> None:
    geometry = geometry_in("oblique", (3, 4, 5), (1.0, 2.0, 3.0))
    assert geometry.shape == (5, 4, 3)
    points = geometry.points()
    assert points.shape == (5, 4, 3, 3)
    np.testing.assert_allclose(points[4, 1, 2], geometry.to_world((2, 1, 4)))


def test_extent_centre_and_corners_count_whole_voxels() -> None:
    geometry = Geometry((10, 4, 2), (1.0, 2.0, 5.0), (0.5, 1.0, 2.5))
    np.testing.assert_allclose(geometry.extent, (10, 8, 10))
    np.testing.assert_allclose(geometry.centre, (5, 4, 5))
    np.testing.assert_allclose(geometry.corners().min(axis=0), (0, 0, 0), atol=1e-12)
    np.testing.assert_allclose(geometry.corners().max(axis=0), (10, 8, 10))


def test_is_close_accepts_rounding_and_nothing_more() -> None:
    geometry = geometry_in("oblique")
    shifted = np.add(geometry.origin, (0.001, 0, 0))
    moved = np.add(geometry.origin, (1.0, 0, 0))
    turned = rotation([0, 0, 0.02]) @ geometry.axes
    assert geometry.is_close(Geometry(geometry.size, geometry.spacing, tuple(shifted), geometry.direction))
    assert not geometry.is_close(Geometry(geometry.size, geometry.spacing, tuple(moved), geometry.direction))
    assert not geometry.is_close(Geometry(geometry.size, geometry.spacing, geometry.origin, tuple(turned.ravel())))
    assert not geometry.is_close(geometry_in("oblique", (24, 26, 21)))


IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"size": (4, 4)}, "3-D"),
        ({"size": (4, 0, 4)}, "3-D"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, -1.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "finite"),
        ({"origin": (float("inf"), 0.0, 0.0)}, "finite"),
        ({"direction": (0.0,) * 9}, "direction"),
        ({"direction": (1.0, 0.3, 0.0, *IDENTITY[3:])}, "direction"),
        ({"direction": (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)}, "direction"),
        ({"direction": (1.0, 0.0, 0.0, 1.0)}, "direction"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_one_line(wrong: dict, word: str) -> None:
    good = {"size": (4, 4, 4), "spacing": (1.0, 1.0, 1.0), "origin": (0.0, 0.0, 0.0), "direction": IDENTITY}
    with pytest.raises(InputError, match=word) as caught:
        Geometry(**(good | wrong))
    assert isinstance(caught.value, DeepRegError)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
