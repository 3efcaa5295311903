"""The Jacobian determinant, in the world frame whatever the grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import set_geometry
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    compose,
    displacement_gradient,
    displacement_on_grid,
    jacobian_determinant,
)
from Testing.synthetic import CENTRE, ORIENTATIONS, geometry_in, interior, random_linear, smooth_field


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_of_an_affine_it_is_the_determinant_everywhere(orientation: str, seed: int) -> None:
    affine = random_linear(seed, 30, 10, 0.3, 0.3)
    jacobian = jacobian_determinant(affine, geometry_in(orientation, (6, 7, 5), (1.0, 2.0, 3.0)))
    assert jacobian.array.dtype == np.float32
    np.testing.assert_allclose(jacobian.array, np.linalg.det(affine.matrix[:3, :3]), rtol=1e-5)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_of_a_mirroring_it_is_negative(orientation: str) -> None:
    mirror = LinearTransform(np.diag([-1.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(jacobian_determinant(mirror, geometry_in(orientation, (4, 4, 4))).array, -1, rtol=1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_gradient_of_an_affine_is_its_matrix(orientation: str) -> None:
    """Every entry, not only the determinant, which a transposed or mirrored frame would leave alone."""
    affine = random_linear(2, 30, 10, 0.3, 0.3)
    geometry = geometry_in(orientation, (4, 5, 6), (1.0, 2.0, 3.0))
    gradient = displacement_gradient(displacement_on_grid(affine, geometry), geometry)
    np.testing.assert_allclose(gradient, np.broadcast_to(affine.matrix[:3, :3] - np.eye(3), gradient.shape), atol=1e-9)


def analytic(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth displacement (mm) and its true Jacobian determinant at points."""
    x, y, z = np.moveaxis((points - CENTRE) / 20, -1, 0)
    u = 4 * np.stack([np.sin(x) * np.cos(y), np.sin(y + z), x * z], axis=-1)
    rows = [
        [np.cos(x) * np.cos(y), -np.sin(x) * np.sin(y), np.zeros_like(x)],
        [np.zeros_like(x), np.cos(y + z), np.cos(y + z)],
        [z, np.zeros_like(x), x],
    ]
    gradient = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2) * 4 / 20
    return u, np.linalg.det(gradient + np.eye(3))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_of_a_known_field_it_is_the_known_one(orientation: str) -> None:
    geometry = geometry_in(orientation, (24, 24, 24), 1.5)
    u, expected = analytic(geometry.points())
    jacobian = jacobian_determinant(DisplacementField(u, geometry), geometry).array
    inner = interior(geometry.shape, 1)
    assert np.ptp(expected) > 0.5
    assert np.abs(jacobian - expected)[inner].max() < 5e-3
    assert np.abs(jacobian - expected).max() < 6e-2


def test_itk_agrees() -> None:
    # Axis-aligned: elsewhere ITK's filter differentiates along the grid but leaves the vectors in the world.
    geometry = geometry_in("LPS", (12, 13, 11), (1.5, 2.0, 3.0))
    field = smooth_field(geometry, 5.0, seed=1)
    picture = sitk.GetImageFromArray(field.array, isVector=True)
    set_geometry(picture, geometry)
    itk = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(picture, True))
    inner = interior(geometry.shape, 1)
    np.testing.assert_allclose(jacobian_determinant(field, geometry).array[inner], itk[inner], atol=2e-3)


def test_of_a_composite_it_is_the_product_along_the_way() -> None:
    geometry = geometry_in("oblique", (16, 16, 16), 2.0)
    field, affine = smooth_field(geometry, 4.0, seed=5), random_linear(1, 20, 5, 0.2)
    jacobian = jacobian_determinant(compose(field, affine), geometry).array
    expected = jacobian_determinant(field, geometry).array * np.linalg.det(affine.matrix[:3, :3])
    np.testing.assert_allclose(jacobian, expected, atol=1e-5)


def test_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = geometry_in("oblique", (9, 8, 11), 2.0)
    field = smooth_field(geometry, 4.0, seed=5)
    monkeypatch.setattr("DeepRegLib.transforms.jacobian.VOXELS_AT_ONCE", 1 << 30)
    whole = jacobian_determinant(field, geometry).array
    for slices in (1, 2, 10):
        monkeypatch.setattr("DeepRegLib.transforms.jacobian.VOXELS_AT_ONCE", slices * 72)
        np.testing.assert_array_equal(jacobian_determinant(field, geometry).array, whole)


def test_a_fold_is_zero_or_below() -> None:
    geometry = Geometry((8, 3, 3))
    field = np.zeros((*geometry.shape, 3))
    field[..., 4:, 0] = -3.0  # the right half jumps over its neighbours
    jacobian = jacobian_determinant(DisplacementField(field, geometry), geometry).array
    assert np.all(jacobian[:, :, 3:5] <= 0)
    np.testing.assert_array_equal(jacobian[:, :, [0, 1, 6, 7]], 1)


def test_a_grid_one_voxel_thick_counts_as_undeformed_across() -> None:
    stretch = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(jacobian_determinant(stretch, Geometry((5, 4, 1))).array, 2, rtol=1e-6)
