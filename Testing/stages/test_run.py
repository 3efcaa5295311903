"""The grids the stages work on."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.stages.run import working_grid
from Testing.synthetic import ORIENTATIONS, geometry_in


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("voxels", [1000, 20_000, 10**7])
def test_the_working_grid_is_isotropic_bounded_and_covers_the_image(orientation, voxels):
    geometry = geometry_in(orientation, (38, 40, 36), 3.0)
    grid = working_grid(geometry, voxels)
    assert np.prod(grid.size) <= voxels
    assert len(set(grid.spacing)) == 1
    assert grid.spacing[0] >= min(geometry.spacing) - 1e-9
    index = grid.to_index(geometry.corners())
    assert index.min() >= -0.5 - 1e-6
    assert np.all(index <= np.array(grid.size) - 0.5 + 1e-6)
