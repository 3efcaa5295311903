"""The field covers the whole fixed image, though it is sought about the anatomy only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around
from DeepRegLib.pipeline import register
from DeepRegLib.stages.deformable import continued, to_displacement_field
from DeepRegLib.stages.run import working_grid
from Testing.small import small_pair, small_recipe
from Testing.synthetic import ORIENTATIONS, blob_values, geometry_in


def anatomy(orientation: str) -> Image:
    """Return a mask that fills a corner of its grid."""
    geometry = geometry_in(orientation, (20, 24, 18), 1.5)
    mask = np.zeros(geometry.shape, dtype=np.bool_)
    mask[1:8, 3:12, 2:13] = True
    return Image(mask, geometry, "mask")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_box_around_the_anatomy_holds_its_voxels_and_no_more(orientation):
    mask = anatomy(orientation)
    box = box_around(mask)
    assert box.size == (11, 9, 7)
    np.testing.assert_allclose(box.origin, mask.geometry.to_world([2, 3, 1]))
    np.testing.assert_allclose(box.spacing, mask.geometry.spacing)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_field_sought_about_the_anatomy_reaches_every_voxel_of_the_image(orientation):
    mask = anatomy(orientation)
    grid = working_grid(box_around(mask), 10**6, 2)
    field = torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(0))
    larger, geometry = continued(field, grid, mask.geometry)
    index = geometry.to_index(mask.geometry.corners())
    assert index.min() >= -0.5 - 1e-6
    assert np.all(index <= np.array(geometry.size) - 0.5 + 1e-6)
    inner, outer = to_displacement_field(field, grid), to_displacement_field(larger, geometry)
    points = grid.points().reshape(-1, 3)
    np.testing.assert_allclose(outer.apply_to_points(points), inner.apply_to_points(points), atol=1e-4)
    last = np.array(grid.size) - 1
    beyond = last + np.array([2, 0, 0])
    np.testing.assert_allclose(
        outer.displacement_at(grid.to_world(beyond)[None]),
        inner.displacement_at(grid.to_world(last)[None]),
        atol=1e-4,
    )


def test_a_field_that_covers_the_image_stays_as_it_is():
    geometry = geometry_in("LPS", (10, 11, 12), 2.0)
    grid = working_grid(geometry, 10**6, 2)
    field = torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(0))
    larger, same = continued(field, grid, geometry)
    assert same == grid
    assert torch.equal(larger, field)


def test_levels_too_coarse_for_the_anatomy_are_left_out_and_the_user_is_told():
    small = small_recipe()
    wanted = replace(small.deformable, voxels=60_000, shrink=(8, 2, 1), iterations=(3, 2, 1))
    result = register(*small_pair()[:2], replace(small, deformable=wanted), device="cpu")
    assert result.recipe.deformable.shrink == (2, 1)
    assert result.recipe.deformable.iterations == (2, 1)
    assert any("shrink 2, 1 only" in decision for decision in result.decisions)
    again = register(*small_pair()[:2], result.recipe, device="cpu")
    points = result.fixed.geometry.points()[::4, ::4, ::4].reshape(-1, 3)
    assert np.array_equal(again.transform.apply_to_points(points), result.transform.apply_to_points(points))


def test_the_finest_level_always_stays():
    small = small_recipe()
    coarse = replace(small.deformable, voxels=1500, shrink=(2, 1), iterations=(2, 1))
    result = register(*small_pair()[:2], replace(small, deformable=coarse), device="cpu")
    assert result.recipe.deformable.shrink == (1,)


@pytest.mark.parametrize(("thickness", "radius"), [(10.0, 3), (7.0, 2), (1.5, 2)])
def test_the_window_is_wider_where_slices_are_thicker_than_it(thickness, radius):
    slices = round(60 / thickness)
    grid = Geometry((1, 1, 1), (1.5, 1.5, thickness)).recentred((40, 40, slices), (1.5, 1.5, thickness))
    stack = Image(blob_values(grid.points(), radius=28.0).astype(np.float32), grid, "stack")
    auto = replace(
        small_recipe(),
        linear=replace(small_recipe().linear, model="none"),
        deformable=replace(small_recipe().deformable, similarity="auto", voxels=200_000, iterations=(2, 2)),
    )
    result = register(stack, stack, auto, device="cpu")
    assert result.recipe.deformable.similarity == "lncc"
    assert result.recipe.deformable.radius == radius
    told = [decision for decision in result.decisions if decision.startswith("Window: 7 voxels wide")]
    assert len(told) == (radius == 3)
