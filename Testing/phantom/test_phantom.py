"""Digital phantoms: the truth is what was done, nothing folds, and a transform is compared with it voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation.truth import error_map
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, to_sitk
from DeepRegLib.phantom.making import Appearance, make_phantom, usual_motion
from DeepRegLib.phantom.motions import BLADDER, BREATHING, MOTIONS, NECK, TUMOUR, Motion, displacement
from DeepRegLib.transforms import LinearTransform, jacobian_determinant, read_transform, write_transform

GRID = Geometry((40, 36, 44), (5.0, 5.0, 5.0), (-100.0, -90.0, -110.0))


def body(grid: Geometry = GRID) -> Image:
    """Return an ellipsoid of uneven tissue in air, HU."""
    points = grid.points()
    radius = np.linalg.norm((points - grid.centre) / (80, 70, 95), axis=-1)
    texture = 60 * np.sin(points[..., 0] / 9) * np.cos(points[..., 1] / 11) * np.sin(points[..., 2] / 13)
    return Image(np.where(radius < 1, 40 + texture, -1000).astype(np.int16), grid, "scan")


@pytest.mark.parametrize("kind", MOTIONS)
def test_each_motion_moves_the_anatomy_and_folds_nothing(kind: str) -> None:
    made = make_phantom(body(), (usual_motion(kind, body()),))
    moved = made.truth.apply_to_points(GRID.points()) - GRID.points()
    assert np.linalg.norm(moved, axis=-1).max() > 2
    assert jacobian_determinant(made.truth, GRID).array.min() > 0.2


@pytest.mark.parametrize("kind", MOTIONS)
def test_the_fixed_scan_is_the_scan_resampled_by_the_written_truth(kind: str, tmp_path: Path) -> None:
    made = make_phantom(body(), (usual_motion(kind, body()),))
    write_transform(made.truth, tmp_path / "truth.h5")
    there = read_transform(tmp_path / "truth.h5").apply_to_points(GRID.points())
    assert np.abs(there - made.truth.apply_to_points(GRID.points())).max() < 0.01
    theirs = sitk.Resample(
        to_sitk(body()), to_sitk(body()), sitk.ReadTransform(str(tmp_path / "truth.h5")), sitk.sitkLinear, -1000
    )
    difference = np.abs(sitk.GetArrayFromImage(theirs).astype(float) - made.fixed.array)
    assert np.quantile(difference, 0.999) < 12  # of 1100; linear against the library's own interpolation


def test_a_filling_bladder_grows_and_a_shrinking_tumour_shrinks() -> None:
    inside = np.linalg.norm(GRID.points() - GRID.centre, axis=-1) < 25
    labels = Image(inside.astype(np.uint8), GRID)
    centre = tuple(GRID.centre.tolist())
    volumes = {}
    for kind in (BLADDER, TUMOUR):
        motion = usual_motion(kind, body(), amount=5.0, centre=centre, radius=25.0)
        volumes[kind] = int(make_phantom(body(), (motion,), labels=labels).fixed_labels.array.sum())
    # The surface at 25 mm goes to 30, and to 20.
    assert volumes[BLADDER] / inside.sum() == pytest.approx(1.73, rel=0.15)
    assert volumes[TUMOUR] / inside.sum() == pytest.approx(0.55, rel=0.15)


def test_the_organs_surface_moves_by_the_amount() -> None:
    for kind, sign in ((BLADDER, -1), (TUMOUR, 1)):
        motion = Motion(kind, 4.0, (1.0, 2.0, 3.0), (20.0, 20.0, 20.0))
        np.testing.assert_allclose(displacement(motion, np.array([21.0, 2.0, 3.0])), [4 * sign, 0, 0], atol=1e-9)


def test_the_neck_bends_above_and_stays_below() -> None:
    motion = Motion(NECK, 20.0, (0.0, 0.0, 0.0), (50.0, 50.0, 50.0))
    assert np.all(displacement(motion, np.array([10.0, 20.0, -60.0])) == 0)
    point = np.array([10.0, 20.0, 70.0])
    moved = point + displacement(motion, point)
    assert moved[0] == 10
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(point))
    cosine = moved[1:] @ point[1:] / np.linalg.norm(point[1:]) ** 2
    assert np.rad2deg(np.arccos(cosine)) == pytest.approx(20)


def test_too_large_amounts_are_lowered_until_nothing_folds() -> None:
    motion = usual_motion(BREATHING, body(), amount=300.0)
    made = make_phantom(body(), (motion,))
    assert 0 < made.motions[0].amount < 300
    assert jacobian_determinant(made.truth, GRID).array.min() > 0.2


def test_motions_come_one_after_another() -> None:
    motions = tuple(usual_motion(kind, body(), amount=4.0) for kind in (BREATHING, NECK))
    made = make_phantom(body(), motions)
    point = GRID.to_world([20, 18, 30])
    first = point + displacement(motions[0], point)
    expected = first + displacement(motions[1], first)
    np.testing.assert_allclose(made.truth.apply_to_points(point), expected, atol=1e-6)


def test_noise_and_contrast_change_values_only_and_repeat_by_the_seed() -> None:
    motion = (usual_motion(BREATHING, body()),)
    plain = make_phantom(body(), motion)
    noisy = [make_phantom(body(), motion, Appearance(noise=0.5, seed=seed)).fixed.array for seed in (1, 1, 2)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.any(noisy[0] != noisy[2])
    other = make_phantom(body(), motion, Appearance(other_contrast=True))
    tissue = plain.fixed.array > -100
    assert np.corrcoef(plain.fixed.array[tissue], other.fixed.array[tissue])[0, 1] < -0.8
    np.testing.assert_array_equal(other.truth.array, plain.truth.array)


def test_a_large_scan_gets_a_field_that_is_coarser_and_still_the_truth() -> None:
    grid = Geometry((120, 110, 100), (2.0, 2.0, 2.0))
    made = make_phantom(body(grid), (usual_motion(BREATHING, body(grid)),))
    assert np.prod(made.truth.geometry.size) < np.prod(grid.size)
    np.testing.assert_array_equal(made.fixed.geometry, grid)


def test_distances_from_the_truth_are_those_of_the_points() -> None:
    truth, shift = np.eye(4), np.eye(4)
    truth[:3, 3], shift[:3, 3] = (3, 0, 0), (3, 4, 0)
    inside = Image((body().array > -500).astype(np.uint8), GRID, "mask")
    picture, numbers = error_map(LinearTransform(shift), LinearTransform(truth), inside)
    assert (numbers.mean, numbers.p95, numbers.largest, numbers.moved) == pytest.approx((4, 4, 4, 3))
    assert numbers.voxels == inside.array.sum()
    assert picture.array[0, 0, 0] == 0
    none = Image(np.zeros(GRID.shape, dtype=np.uint8), GRID, "mask")
    with pytest.raises(InputError, match="holds no voxel"):
        error_map(LinearTransform(shift), LinearTransform(truth), none)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="no motion of a phantom"):
        usual_motion("dancing", body())
    with pytest.raises(InputError, match="without a motion"):
        make_phantom(body(), ())
    with pytest.raises(InputError, match="cannot be"):
        usual_motion(TUMOUR, body(), radius=-3.0)
    with pytest.raises(InputError, match="Noise"):
        Appearance(noise=-1)
