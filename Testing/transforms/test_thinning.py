"""A smooth field on fewer voxels moves points as the whole one does."""

from __future__ import annotations

import numpy as np

from DeepRegLib.transforms import DisplacementField, LinearTransform
from DeepRegLib.transforms.thinning import MOST_VOXELS, thinned
from Testing.synthetic import geometry_in


def test_a_thinned_field_has_few_voxels_and_moves_as_before() -> None:
    grid = geometry_in("oblique", (61, 50, 47), 2.0)
    offset = (grid.points() - grid.centre).reshape(*grid.shape, 3) / 40
    field = DisplacementField((3 * np.exp(-(offset**2).sum(-1, keepdims=True)) * [1, 2, 0]).astype(np.float32), grid)
    few = thinned(field)
    assert isinstance(few, DisplacementField)
    assert np.prod(few.geometry.size) <= MOST_VOXELS
    points = grid.centre + np.random.default_rng(0).uniform(-20, 20, (50, 3))
    np.testing.assert_allclose(few.apply_to_points(points), field.apply_to_points(points), atol=0.1)


def test_what_is_small_or_linear_stays() -> None:
    grid = geometry_in("LPS", (6, 5, 4), 2.0)
    field = DisplacementField(np.zeros((*grid.shape, 3), np.float32), grid)
    assert thinned(field) is field
    still = LinearTransform.identity()
    assert thinned(still) is still
