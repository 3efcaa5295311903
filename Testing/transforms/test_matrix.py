"""The matrix: every orientation x every kind of transform, our picture against two independent ones.

On one side SimpleITK reads the saved file and resamples; on the other the transform's own numpy evaluation of points
and a textbook's trilinear lookup make the picture. Both must show what `apply_to_image` delivers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, to_sitk, write_image
from DeepRegLib.transforms import (
    Transform,
    apply_to_image,
    background_value,
    compose,
    field_of_view,
    read_transform,
    write_transform,
)
from Testing.synthetic import ORIENTATIONS, blobs, geometry_in, interior, random_linear, smooth_field, trilinear

KINDS = ("rigid", "field", "composite")
TOLERANCE = 0.001  # of the intensity range


def pair(orientation: str) -> tuple[Geometry, Image]:
    """Return a fixed grid of some orientation and a moving image of another, with another size and spacing."""
    others = {"RAS": "oblique", "LAS": "RAS", "LPS": "LAS", "oblique": "anisotropic", "anisotropic": "LPS"}
    return geometry_in(orientation, (24, 26, 22), 2.0), blobs(geometry_in(others[orientation], (30, 26, 28), 1.7), 1)


def transform_of(kind: str, fixed: Geometry) -> Transform:
    rigid, field = random_linear(7, 18, 6), smooth_field(fixed, 6.0, seed=4)
    return {"rigid": rigid, "field": field, "composite": compose(field, rigid)}[kind]


def largest_difference(
    one: np.ndarray, other: np.ndarray, transform: Transform, moving: Image, fixed: Geometry
) -> float:
    """Compare away from the border of both fields of view, as a share of the intensity range."""
    seen = interior_view(transform, moving, fixed)
    assert seen.mean() > 0.25, "the comparison needs something to compare"
    difference = np.abs(one.astype(float) - other.astype(float))
    return float(difference[seen].max() / np.ptp(moving.array.astype(float)))


def interior_view(transform: Transform, moving: Image, fixed: Geometry) -> np.ndarray:
    index = moving.geometry.to_index(transform.apply_to_points(fixed.points()))
    seen = np.zeros(fixed.shape, dtype=bool)
    seen[interior(fixed.shape, 1)] = True
    return seen & np.all((index > 0.5) & (index < np.array(moving.geometry.size) - 1.5), axis=-1)


def resampled_by_simpleitk(path: Path, moving: Image, fixed: Geometry) -> np.ndarray:
    """Resample as any ITK user would: read the file, hand it to Resample."""
    reference = sitk.Image(list(fixed.size), sitk.sitkUInt8)
    reference.SetSpacing(fixed.spacing)
    reference.SetOrigin(fixed.origin)
    reference.SetDirection(fixed.direction)
    itk = sitk.ReadTransform(str(path))
    return sitk.GetArrayFromImage(
        sitk.Resample(to_sitk(moving), reference, itk, sitk.sitkLinear, background_value(moving))
    )


def resampled_by_hand(transform: Transform, moving: Image, fixed: Geometry) -> np.ndarray:
    index = moving.geometry.to_index(transform.apply_to_points(fixed.points()))
    return trilinear(moving.array, index, outside=background_value(moving))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("ending", [".h5", ".tfm"])
def test_simpleitk_reading_the_saved_transform_makes_our_picture(
    ending: str, orientation: str, kind: str, tmp_path: Path
) -> None:
    fixed, moving = pair(orientation)
    transform = transform_of(kind, fixed)
    write_transform(transform, tmp_path / f"transform{ending}")
    write_image(apply_to_image(transform, moving, fixed), tmp_path / "warped.nii.gz")
    warped = read_image(tmp_path / "warped.nii.gz")
    assert np.abs(warped.geometry.corners() - fixed.corners()).max() < 1e-4
    theirs = resampled_by_simpleitk(tmp_path / f"transform{ending}", moving, fixed)
    assert largest_difference(warped.array, theirs, transform, moving, fixed) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_our_points_and_a_textbook_lookup_make_our_picture(orientation: str, kind: str) -> None:
    fixed, moving = pair(orientation)
    transform = transform_of(kind, fixed)
    warped = apply_to_image(transform, moving, fixed)
    by_hand = resampled_by_hand(transform, moving, fixed)
    assert largest_difference(warped.array, by_hand, transform, moving, fixed) < TOLERANCE
    # The transform moves something, or the test shows nothing.
    unmoved = resampled_by_hand(compose(random_linear(0, 0, 0)), moving, fixed)
    assert largest_difference(unmoved, by_hand, transform, moving, fixed) > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_whole_picture_and_field_of_view_agree_by_hand(orientation: str, kind: str) -> None:
    """Up to and past the border: the same voxels are background, none is half mixed with it."""
    fixed, moving = pair(orientation)
    transform = compose(random_linear(9, 10, 14), transform_of(kind, fixed))
    moving = moving.with_array(moving.array + 500)
    warped = apply_to_image(transform, moving, fixed, background=0.0)
    view = field_of_view(transform, moving.geometry, fixed)
    by_hand = trilinear(moving.array, moving.geometry.to_index(transform.apply_to_points(fixed.points())))
    assert 0.3 < view.array.mean() < 1
    np.testing.assert_array_equal(view.array, warped.array > 0)
    np.testing.assert_array_equal(view.array, by_hand > 0)
    assert np.abs(warped.array - by_hand).max() < TOLERANCE * np.ptp(moving.array)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_a_field_file_on_the_fixed_grid_makes_our_picture(
    ending: str, orientation: str, kind: str, tmp_path: Path
) -> None:
    fixed, moving = pair(orientation)
    transform = transform_of(kind, fixed)
    warped = apply_to_image(transform, moving, fixed)
    path = tmp_path / f"field{ending}"
    write_transform(transform, path, fixed)
    field = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    sitk.WriteTransform(field, str(tmp_path / "by-itk.h5"))
    theirs = resampled_by_simpleitk(tmp_path / "by-itk.h5", moving, fixed)
    assert largest_difference(warped.array, theirs, transform, moving, fixed) < TOLERANCE
    by_hand = resampled_by_hand(read_transform(path), moving, fixed)
    assert largest_difference(warped.array, by_hand, transform, moving, fixed) < TOLERANCE


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_simpleitk_makes_our_picture_in_the_moving_images_own_type(dtype: str, tmp_path: Path) -> None:
    fixed, moving = pair("oblique")
    moving = moving.with_array((moving.array * 250 / moving.array.max()).astype(dtype))
    transform = transform_of("composite", fixed)
    write_transform(transform, tmp_path / "t.h5")
    warped = apply_to_image(transform, moving, fixed)
    assert warped.array.dtype == np.dtype(dtype)
    theirs = resampled_by_simpleitk(tmp_path / "t.h5", moving.with_array(moving.array.astype(float)), fixed)
    half = 0.5 if np.dtype(dtype).kind != "f" else 0.0  # whole numbers are rounded, which SimpleITK does not do
    assert largest_difference(warped.array.astype(float), theirs, transform, moving, fixed) < half + TOLERANCE


def test_the_anatomy_of_all_grids_is_one() -> None:
    """The phantom is defined in the world: on every grid, the same points show the same values."""
    fine = blobs(geometry_in("LPS", (50, 52, 48), 1.0))
    for orientation in ORIENTATIONS:
        grid = geometry_in(orientation)
        looked_up = trilinear(fine.array, fine.geometry.to_index(grid.points()), outside=np.nan)
        difference = np.abs(looked_up - blobs(grid).array)
        assert np.nanmax(difference) < 0.05 * np.ptp(fine.array)
