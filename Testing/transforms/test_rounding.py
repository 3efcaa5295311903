"""Inverses as multiples of a small step: nothing that counts is lost, and files of them are small and exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms import CompositeTransform, DisplacementField, parts_of, read_transform, write_transform
from DeepRegLib.transforms.rounding import inverse_step, rounded_inverse
from Testing.synthetic import geometry_in, random_linear, smooth_field


@pytest.mark.parametrize("spacing", [0.02, 0.7, 1.0, 6.0])
def test_a_step_is_small_beside_a_voxel_and_beside_what_is_promised(spacing: float) -> None:
    step = inverse_step(Geometry((4, 4, 4), spacing=(spacing, 2 * spacing, 3 * spacing)))
    assert step <= min(2e-3, 2e-3 * spacing)
    assert float(np.log2(step)).is_integer()


def test_rounding_moves_no_point_by_more_than_half_a_step_along_an_axis_and_leaves_linear_parts() -> None:
    field = smooth_field(geometry_in("oblique", (20, 22, 24), 1.5), 5.0, seed=3)
    linear = random_linear(1, 5, 4)
    first, second = parts_of(rounded_inverse(CompositeTransform((linear, field))))
    assert first is linear
    assert isinstance(second, DisplacementField)
    assert second.array.dtype == np.float32
    assert np.abs(second.array - field.array).max() <= 0.5 * inverse_step(field.geometry) * 1.001


def test_a_file_holds_the_very_numbers_and_takes_two_thirds_of_the_bytes(tmp_path: Path) -> None:
    field = smooth_field(geometry_in("LPS", (70, 70, 70), 1.3), 6.0, seed=4)
    inverse = rounded_inverse(field)
    write_transform(field, tmp_path / "as_it_is.h5")
    write_transform(inverse, tmp_path / "rounded.h5")
    read = read_transform(tmp_path / "rounded.h5")
    assert isinstance(read, DisplacementField)
    assert isinstance(inverse, DisplacementField)
    np.testing.assert_array_equal(read.array, inverse.array)
    assert (tmp_path / "rounded.h5").stat().st_size < 0.72 * (tmp_path / "as_it_is.h5").stat().st_size
