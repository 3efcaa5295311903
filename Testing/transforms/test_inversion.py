"""Inverses: linear ones exactly, fields to a stated error in mm, also where fixed-point iteration diverges."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from DeepRegLib.evaluation import digital_folds
from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms import CompositeTransform, DisplacementField, compose, invert, jacobian_determinant, parts_of
from DeepRegLib.transforms.inversion import TOLERANCE_VOXELS, inverse_error
from Testing.synthetic import geometry_in, interior, points_in, random_linear, smooth_field

GRIDS = ("LPS", "oblique", "anisotropic")
# An inverse is stored in float32.
FLOAT32_MM = 1e-6
STRONG_MM = 14.0


@cache
def strong_field(orientation: str) -> DisplacementField:
    return smooth_field(geometry_in(orientation, (40, 42, 38), 2.0), STRONG_MM, seed=11)


@cache
def strong_inverse(orientation: str) -> DisplacementField:
    inverse = invert(strong_field(orientation))
    assert isinstance(inverse, DisplacementField)
    return inverse


def picard(field: DisplacementField, iterations: int = 40) -> DisplacementField:
    """Invert by plain fixed-point iteration v <- -u(x + v), as ITK's and most other tools do."""
    points = field.geometry.points().reshape(-1, 3)
    v = np.zeros_like(points)
    for _ in range(iterations):
        v = -field.displacement_at(points + v)
    return DisplacementField(v.reshape(field.array.shape), field.geometry)


@pytest.mark.parametrize("orientation", GRIDS)
def test_the_fields_are_strong_and_without_folds(orientation: str) -> None:
    """Otherwise the tests below would show nothing."""
    jacobian = jacobian_determinant(strong_field(orientation), strong_field(orientation).geometry).array
    assert jacobian.min() > 0
    assert jacobian.max() > 2.5
    assert np.abs(strong_field(orientation).array).max() > 8


@pytest.mark.parametrize("orientation", GRIDS)
@pytest.mark.parametrize("way", ["there and back", "back and there"])
def test_a_strong_field_is_inverted_to_the_stated_error(orientation: str, way: str) -> None:
    field, inverse = strong_field(orientation), strong_inverse(orientation)
    points = points_in(field.geometry, 20_000, seed=8, margin=1.0)
    error = inverse_error(field, inverse, points) if way == "there and back" else inverse_error(inverse, field, points)
    assert error.mean() < 0.1
    assert np.percentile(error, 99) < 0.5


@pytest.mark.parametrize("orientation", GRIDS)
def test_plain_fixed_point_iteration_is_worse(orientation: str) -> None:
    field = strong_field(orientation)
    points = points_in(field.geometry, 5000, seed=9, margin=1.0)
    plain, solved = picard(field), strong_inverse(orientation)
    assert inverse_error(plain, field, points).max() > 3 * inverse_error(solved, field, points).max()
    assert inverse_error(plain, field, points).max() > 1.0, "it does diverge somewhere"


@pytest.mark.parametrize("orientation", GRIDS)
def test_at_the_voxel_centres_only_the_tolerance_remains(orientation: str) -> None:
    field, inverse = strong_field(orientation), strong_inverse(orientation)
    assert inverse.geometry == field.geometry
    assert inverse.array.dtype == np.float32
    error = inverse_error(inverse, field, field.geometry.points().reshape(-1, 3))
    assert error.max() < TOLERANCE_VOXELS * max(field.geometry.spacing)


def test_a_finer_inverse_is_as_exact_at_its_own_voxels_however_it_is_begun() -> None:
    field = strong_field("oblique")
    begun = [invert(field, refinement=2.0), invert(field, refinement=2.0, near=invert(field, refinement=1.5))]
    for inverse in begun:
        assert isinstance(inverse, DisplacementField)
        assert inverse.array.size > 7 * field.array.size
        points = inverse.geometry.points()[4:-4, 4:-4, 4:-4].reshape(-1, 3)
        bound = TOLERANCE_VOXELS * max(field.geometry.spacing) + FLOAT32_MM
        assert inverse_error(inverse, field, points).max() < bound


def test_a_chain_is_inverted_part_by_part_in_reverse() -> None:
    a, b = random_linear(1, 30, 12, 0.15, 0.1), random_linear(2, 10, 5)
    field = smooth_field(geometry_in("oblique", (30, 30, 30), 2.0), 5.0, seed=3)
    transform = compose(a, field, b)
    inverse = invert(transform)
    assert isinstance(inverse, CompositeTransform)
    inside = points_in(field.geometry, 5000, seed=1, margin=1.0)
    error = inverse_error(transform, inverse, a.inverse().apply_to_points(inside))
    assert error.mean() < 0.1
    assert np.percentile(error, 99) < 0.5


def test_an_identity_field_stays_exactly_zero() -> None:
    geometry = geometry_in("oblique", (6, 5, 4))
    inverse = invert(DisplacementField(np.zeros((*geometry.shape, 3)), geometry))
    assert not inverse.array.any()


@pytest.mark.usefixtures("threads")
def test_nothing_is_left_over_for_many_threads_to_share() -> None:
    inverse = invert(DisplacementField(np.zeros((6, 6, 6, 3), dtype=np.float32), geometry_in("LPS", (6, 6, 6), 2.0)))
    assert not inverse.array.any()


def test_a_constant_shift_goes_back_by_itself() -> None:
    geometry = geometry_in("oblique", (8, 9, 7))
    field = DisplacementField(np.broadcast_to([1.5, -2.0, 3.0], (*geometry.shape, 3)), geometry)
    inverse = invert(field)
    back = inverse.displacement_at(field.apply_to_points(geometry.points().reshape(-1, 3)))
    np.testing.assert_allclose(back, np.broadcast_to([-1.5, 2.0, -3.0], back.shape), atol=1e-4)


@pytest.mark.parametrize("refinement", [1.0, 1.7])
def test_an_inverse_reaches_as_far_as_its_field_leads(refinement: float) -> None:
    """40 mm out of a box of 60 mm, and back again; elsewhere outside nothing moves."""
    geometry = geometry_in("oblique", (20, 20, 20), 3.0)
    axis = geometry.axes[:, 0]
    bend = smooth_field(geometry, 3.0, seed=5).array
    field = DisplacementField((bend + 40.0 * axis).astype(np.float32), geometry)
    inverse = invert(field, refinement=refinement)
    points = points_in(geometry, 5000, seed=1, margin=1.0)
    error = inverse_error(field, inverse, points)
    assert error.mean() < 0.1
    assert np.percentile(error, 99) < 0.5
    beyond = points - 60.0 * axis  # the field leads from nowhere to there
    np.testing.assert_allclose(inverse.apply_to_points(beyond), beyond, atol=1e-6)


@pytest.mark.parametrize("refinement", [1.0, 1.6])
@pytest.mark.parametrize("orientation", GRIDS)
def test_in_a_moving_scan_that_shows_more_an_inverse_is_continued_without_folds(
    orientation: str, refinement: float
) -> None:
    """All is moved by 15 mm, also at the border of the box, beyond which the moving scan goes on."""
    transform, moving = shifted_box(orientation)
    jumping, inverse = invert(transform, refinement=refinement), invert(transform, refinement=refinement, within=moving)
    assert digital_folds(transform, strong_field(orientation).geometry) == 0
    assert digital_folds(jumping, moving) > 100, "there is nothing to mend"
    assert digital_folds(inverse, moving) == 0
    points = points_in(strong_field(orientation).geometry, 5000, seed=2, margin=0.0)
    before, after = (inverse_error(transform, each, points) for each in (jumping, inverse))
    assert after.mean() < 1.05 * before.mean()
    assert np.percentile(after, 99) < 1.05 * np.percentile(before, 99)
    far = moving.to_world([[0.0, 0.0, 0.0]])
    linear = compose(*parts_of(inverse)[:-1])
    np.testing.assert_allclose(inverse.apply_to_points(far), linear.apply_to_points(far), atol=1e-6)


def test_what_a_moving_scan_does_not_show_costs_an_inverse_no_voxels() -> None:
    shift = parts_of(shifted_box("LPS")[0])[0]
    inside = shift.geometry.padded((-8, -8, -8), (-8, -8, -8))
    assert invert(shift, within=inside).geometry == invert(shift).geometry


def shifted_box(orientation: str) -> tuple[CompositeTransform, Geometry]:
    """Return a transform that moves all of a box, and a moving scan twice as wide as that."""
    field = strong_field(orientation)
    box = field.geometry
    moved = DisplacementField((field.array + 15.0 * box.axes[:, 0]).astype(np.float32), box)
    turned = random_linear(seed=4)
    corner = turned.apply_to_points(box.to_world([-25.0, -25.0, -25.0]))
    i, j, k = (n + 50 for n in box.size)
    direction = (turned.matrix[:3, :3] @ box.axes).ravel()
    return compose(moved, turned), Geometry((i, j, k), box.spacing, tuple(corner), tuple(direction))


def test_a_field_that_leads_very_far_has_an_inverse_of_bounded_size_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    geometry = geometry_in("LPS", (6, 6, 6), 2.0)
    inverse = invert(DisplacementField(np.full((*geometry.shape, 3), 1e4, dtype=np.float32), geometry))
    assert inverse.array.size <= 8 * geometry.points().size
    assert "farther out of its box" in caplog.text


def test_a_folded_field_gives_a_finite_answer_and_its_error_tells() -> None:
    geometry = Geometry((16, 16, 16))
    index = geometry.points()
    wave = np.zeros((*geometry.shape, 3))
    wave[..., 0] = 4 * np.sin(index[..., 0] * np.pi / 5)
    field = DisplacementField(wave, geometry)
    assert jacobian_determinant(field, geometry).array.min() < 0
    inverse = invert(field)
    assert np.all(np.isfinite(inverse.array))
    inner = geometry.points()[interior(geometry.shape, 3)].reshape(-1, 3)
    assert inverse_error(field, inverse, inner).max() > 0.5


def test_the_same_field_gives_the_same_inverse_twice() -> None:
    field = strong_field("oblique")
    np.testing.assert_array_equal(invert(field).array, strong_inverse("oblique").array)


def test_a_flat_grid_is_inverted_too() -> None:
    geometry = Geometry((20, 20, 1))
    index = geometry.points()
    wave = np.zeros((*geometry.shape, 3))
    wave[..., 0] = np.sin(index[..., 0] * np.pi / 19) * np.sin(index[..., 1] * np.pi / 19)
    inverse = invert(DisplacementField(wave, geometry))
    points = index.reshape(-1, 3)
    assert inverse_error(inverse, DisplacementField(wave, geometry), points).max() < 0.01
