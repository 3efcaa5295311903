from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.scene.world import (
    array_from_matrix,
    flipped_matrix,
    flipped_points,
    geometry_from_ras,
    ijk_to_ras,
    image_data,
    matrix_from_array,
    voxels_of,
)
from Testing.synthetic import rotation

NUMBER = st.floats(-300, 300)
VECTOR = st.tuples(NUMBER, NUMBER, NUMBER)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    turn = draw(st.tuples(*[st.floats(-3, 3)] * 3))
    mirror = np.diag(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    direction = rotation(turn) @ mirror
    spacing = draw(st.tuples(*[st.floats(0.05, 20)] * 3))
    size = draw(st.tuples(*[st.integers(1, 400)] * 3))
    return Geometry(size, spacing, draw(VECTOR), tuple(float(d) for d in direction.ravel()))


@given(geometries())
def test_a_grid_comes_back_from_the_scenes_frame_as_it_was(geometry: Geometry) -> None:
    returned = geometry_from_ras(ijk_to_ras(geometry), geometry.size, "it")
    assert returned.size == geometry.size
    np.testing.assert_allclose(returned.index_to_world, geometry.index_to_world, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(returned.spacing, geometry.spacing, rtol=1e-12)


@given(geometries(), VECTOR)
def test_a_voxel_lies_at_the_same_place_in_both_frames(geometry: Geometry, index: tuple) -> None:
    x, y, z = geometry.to_world(index)
    ras = ijk_to_ras(geometry) @ [*index, 1]
    np.testing.assert_allclose(ras, [-x, -y, z, 1], atol=1e-8)


@given(st.lists(NUMBER, min_size=12, max_size=12), VECTOR)
def test_a_matrix_maps_the_same_points_in_both_frames(numbers: list[float], point: tuple) -> None:
    matrix = np.vstack([np.reshape(numbers, (3, 4)), [0, 0, 0, 1]])
    there = matrix @ [*point, 1]
    flipped = flipped_matrix(matrix) @ [*flipped_points(point), 1]
    np.testing.assert_allclose(flipped_points(flipped[:3]), there[:3], atol=1e-6)
    np.testing.assert_array_equal(array_from_matrix(matrix_from_array(matrix)), matrix)


@given(VECTOR)
def test_flipping_points_twice_changes_nothing(point: tuple) -> None:
    np.testing.assert_array_equal(flipped_points(flipped_points(point)), point)


def test_a_sheared_grid_is_refused_by_name() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    with pytest.raises(InputError, match="The volume Head does not lie on a regular grid") as refusal:
        geometry_from_ras(sheared, (3, 3, 3), "The volume Head")
    assert refusal.value.hint


def test_a_grid_without_extent_is_refused() -> None:
    with pytest.raises(InputError):
        geometry_from_ras(np.diag([1.0, 0.0, 1.0, 1.0]), (3, 3, 3), "it")


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", ">i2"])
def test_voxels_keep_their_values_and_type(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    data = image_data(array)
    assert data.GetDimensions() == (4, 3, 2)
    assert voxels_of(data).dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(voxels_of(data), array)


def test_a_mask_becomes_bytes() -> None:
    data = image_data(np.array([[[True, False]]]))
    assert voxels_of(data).dtype == np.uint8
    np.testing.assert_array_equal(voxels_of(data), [[[1, 0]]])
