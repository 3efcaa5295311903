"""One scan, 48 ways of storing it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.orientation import AxisOrder, nearest_axes, standard_order

STORED = [
    AxisOrder(axes, mirrored)
    for axes in itertools.permutations(range(3))
    for mirrored in itertools.product((False, True), repeat=3)
]
COS, SIN = np.cos(0.4), np.sin(0.4)
DIRECTIONS = {
    "LPS": np.eye(3),
    "oblique": np.array([[COS, -SIN, 0], [SIN, COS, 0], [0, 0, 1]]),
    "half way between two axes": np.array([[1, -1, 0], [1, 1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2),
}


def scan(direction: np.ndarray) -> Image:
    geometry = Geometry((5, 6, 7), (1.0, 1.5, 2.5), (-20.0, 7.0, 31.0), tuple(direction.ravel().tolist()))
    return Image(np.arange(210, dtype=np.int16).reshape(geometry.shape), geometry, "scan")


def values_by_place(image: Image) -> dict[tuple[float, ...], int]:
    places = np.round(image.geometry.points().reshape(-1, 3), 6) + 0.0
    return dict(zip(map(tuple, places.tolist()), image.array.ravel().tolist(), strict=True))


@pytest.mark.parametrize("order", STORED, ids=str)
def test_every_voxel_stays_where_it_is_in_the_world(order):
    image = scan(DIRECTIONS["oblique"])
    assert values_by_place(order.of_image(image)) == values_by_place(image)


@pytest.mark.parametrize("order", STORED, ids=str)
def test_the_way_back_gives_the_grid_and_the_voxels_as_stored(order):
    image = scan(DIRECTIONS["oblique"])
    back = order.back(order.of_image(image), image.geometry)
    np.testing.assert_array_equal(back.array, image.array)
    assert back.geometry == image.geometry
    assert order.inverse().of_geometry(order.of_geometry(image.geometry)).is_close(image.geometry, 1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_scan_in_standard_order_is_the_same_however_it_was_stored(direction):
    expected = standard_order(scan(direction).geometry).of_image(scan(direction))
    for order in STORED:
        stored = order.of_image(scan(direction))
        found = standard_order(stored.geometry).of_image(stored)
        np.testing.assert_array_equal(found.array, expected.array)
        np.testing.assert_allclose(found.geometry.corners(), expected.geometry.corners(), atol=1e-9)
        np.testing.assert_allclose(found.geometry.axes, expected.geometry.axes, atol=1e-12)


def test_standard_axes_run_to_left_posterior_and_superior():
    stored = AxisOrder((2, 0, 1), (True, False, True)).of_image(scan(np.eye(3)))
    np.testing.assert_array_equal(standard_order(stored.geometry).of_image(stored).geometry.axes, np.eye(3))
    assert standard_order(scan(np.eye(3)).geometry).keeps_all


def test_other_axes_than_the_standard_ones_may_be_wanted():
    to_right_anterior_superior = nearest_axes(scan(np.eye(3)).geometry, np.diag([-1.0, -1.0, 1.0]))
    assert to_right_anterior_superior == AxisOrder((0, 1, 2), (True, True, False))
