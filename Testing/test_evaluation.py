"""Measures against cases worked out by hand and plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import (
    dice,
    digital_folds,
    folded_voxels,
    inverse_consistency,
    jacobian_statistics,
    mean_dice,
    ncc,
    normalised_mutual_information,
    overlap,
    structure_agreement,
    surface_distances,
    target_registration_error,
)
from DeepRegLib.geometry import IDENTITY_DIRECTION, Geometry
from DeepRegLib.image import Image
from DeepRegLib.transforms import (
    CompositeTransform,
    DisplacementField,
    LinearTransform,
    displacement_on_grid,
    invert,
    jacobian_determinant,
)

MIRRORED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
OBLIQUE = (0.8, 0.0, 0.6, 0.0, -1.0, 0.0, 0.6, 0.0, -0.8)
DIRECTIONS = pytest.mark.parametrize("direction", [IDENTITY_DIRECTION, MIRRORED, OBLIQUE])


def image(array: NDArray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Image:
    return Image(array, Geometry(array.shape[::-1], spacing))


def cubes(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), dtype: type = np.uint8) -> tuple[Image, Image]:
    """Two cubes of 10 voxels, the second 2 voxels further along i; one label only in each map."""
    arrays = np.zeros((2, 24, 24, 24), dtype=dtype)
    arrays[0, 5:15, 5:15, 5:15] = 3
    arrays[1, 5:15, 5:15, 7:17] = 3
    arrays[0, 20, 20, 20] = 7
    arrays[1, 1, 1, 1] = 9
    return image(arrays[0], spacing), image(arrays[1], spacing)


def smooth_noise(shape: tuple[int, int, int], seed: int, passes: int = 3) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=shape)
    for axis in range(3):
        for _ in range(passes):
            values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return (values / values.std()).astype(np.float32)


def shaken_field(geometry: Geometry, amplitude: float, seed: int = 0) -> DisplacementField:
    noise = np.random.default_rng(seed).normal(size=(*geometry.shape, 3)) * amplitude
    return DisplacementField(noise, geometry)


def full(geometry: Geometry) -> Image:
    return Image(np.ones(geometry.shape, dtype=np.bool_), geometry)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32])
def test_dice_of_two_shifted_cubes(dtype):
    scores = dice(*cubes(dtype=dtype))
    assert scores == {3: pytest.approx(0.8), 7: 0.0, 9: 0.0}
    assert mean_dice(scores) == pytest.approx(0.8 / 3)
    assert math.isnan(mean_dice({}))


def test_dice_of_wide_and_negative_labels():
    labels = np.zeros((4, 4, 4), dtype=np.int64)
    labels[0], labels[1] = 2**40, -5
    assert dice(image(labels), image(labels)) == {-5: 1.0, 2**40: 1.0}


def test_dice_needs_one_grid_and_whole_numbers():
    with pytest.raises(InputError, match="does not lie on the grid"):
        dice(image(np.zeros((3, 3, 3), np.uint8)), image(np.zeros((3, 3, 3), np.uint8), (2.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="not whole numbers"):
        dice(image(np.full((3, 3, 3), 0.5, np.float32)), image(np.zeros((3, 3, 3), np.uint8)))


def test_surface_distances_of_two_shifted_cubes():
    distances = surface_distances(*cubes(spacing=(1.5, 1.0, 2.0)))
    assert distances[3].hausdorff95 == pytest.approx(3.0, abs=1e-4)  # two voxels of 1.5 mm
    assert distances[3].mean == pytest.approx(loop_mean_distance(*cubes(), 3, (1.5, 1.0, 2.0)), abs=1e-4)
    assert math.isnan(distances[7].mean)
    assert math.isnan(distances[9].hausdorff95)


def test_surface_distance_of_a_label_to_itself_is_zero():
    labels, _ = cubes()
    assert surface_distances(labels, labels)[3].mean == 0
    assert surface_distances(labels, labels)[3].hausdorff95 == 0


def loop_mean_distance(first: Image, second: Image, label: int, spacing: tuple[float, float, float]) -> float:
    surfaces = []
    for labels in (first, second):
        region = labels.array == label
        where = [
            p
            for p in np.argwhere(region)
            if not all(region[tuple(p + s * e)] for e in np.eye(3, dtype=int) for s in (1, -1))
        ]
        surfaces.append(np.array(where)[:, ::-1] * np.array(spacing))
    pairwise = np.linalg.norm(surfaces[0][:, None] - surfaces[1][None], axis=-1)
    return float(np.concatenate([pairwise.min(1), pairwise.min(0)]).mean())


def test_target_registration_error_of_a_shift():
    matrix = np.eye(4)
    matrix[:3, 3] = 3, 4, 0
    points = np.array([[0.0, 0, 0], [10, -5, 2]])
    np.testing.assert_allclose(target_registration_error(LinearTransform(matrix), points, points), [5, 5])
    with pytest.raises(InputError, match="landmarks"):
        target_registration_error(LinearTransform(matrix), points, points[:1])


def loop_folds(transform, geometry: Geometry, orientation: float) -> NDArray[np.bool_]:
    """Every determinant at every voxel, from the positions in the world; missing neighbours are passed over."""
    positions = geometry.points() + displacement_on_grid(transform, geometry)
    shape = np.array(geometry.shape)
    sign = orientation * np.sign(np.linalg.det(geometry.axes))
    folded = np.zeros(geometry.shape, dtype=np.bool_)

    def edges(home: NDArray, steps: list[tuple[int, int, int]]) -> NDArray | None:
        ends = [home + np.array(s)[::-1] for s in steps]
        if any((e < 0).any() or (e >= shape).any() for e in ends):
            return None
        return np.array([positions[tuple(e)] - positions[tuple(home)] for e in ends])

    for home in np.argwhere(np.ones(geometry.shape)):
        for a, b, c in itertools.product((1, -1), repeat=3):
            matrix = edges(home, [(a, 0, 0), (0, b, 0), (0, 0, c)])
            if matrix is not None and np.linalg.det(matrix) * a * b * c * sign <= 0:
                folded[tuple(home)] = True
        for side in (1, -1):
            matrix = edges(home, [(side, side, 0), (0, side, side), (side, 0, side)])
            if matrix is not None and np.linalg.det(matrix) * side * sign <= 0:
                folded[tuple(home)] = True
    return folded


@DIRECTIONS
@pytest.mark.parametrize("size", [(7, 6, 5), (2, 9, 3)])
def test_folds_are_those_of_a_plain_loop(direction, size):
    geometry = Geometry(size, (1.0, 2.0, 0.7), (5.0, -3.0, 40.0), direction)
    field = shaken_field(geometry, 0.25)
    expected = loop_folds(field, geometry, 1.0)
    assert 0.02 < expected.mean() < 0.95
    np.testing.assert_array_equal(folded_voxels(field, geometry), expected)
    assert digital_folds(field, geometry) == expected.sum()
    upper = Image(np.arange(expected.size).reshape(expected.shape) % 2 == 0, geometry)
    assert digital_folds(field, geometry, upper) == (expected & upper.array).sum()


def test_folds_do_not_depend_on_the_slabs(monkeypatch):
    geometry = Geometry((9, 8, 11))
    field = shaken_field(geometry, 0.3)
    whole = folded_voxels(field, geometry)
    for voxels, at_once in ((1, 1), (3 * 72, 72), (72, 5 * 72), (10 * 72, 72)):
        monkeypatch.setattr("DeepRegLib.evaluation.determinants.SLAB_VOXELS", voxels)
        monkeypatch.setattr("DeepRegLib.transforms.planes.PLANES_VOXELS", at_once)
        np.testing.assert_array_equal(folded_voxels(field, geometry), whole)


@DIRECTIONS
def test_affine_and_mirroring_transforms_do_not_fold(direction):
    geometry = Geometry((8, 9, 7), (1.0, 1.5, 3.0), (0.0, 0.0, 200.0), direction)
    matrix = np.eye(4)
    matrix[:3] = [[0.9, 0.3, 0.0, 20.0], [-0.3, 1.1, 0.1, -70.0], [0.05, 0.0, 0.7, 3.0]]
    affine = LinearTransform(matrix)
    mirror = LinearTransform(np.diag([-1.0, 1.0, 1.0, 1.0]))
    still = DisplacementField(np.zeros((*geometry.shape, 3)), geometry)
    for transform in (affine, mirror, CompositeTransform((still, affine)), CompositeTransform((still, mirror))):
        assert digital_folds(transform, geometry) == 0
    statistics = jacobian_statistics(CompositeTransform((still, affine)), geometry, full(geometry))
    assert statistics.folds == 0
    assert statistics.log_sd == pytest.approx(0, abs=1e-5)
    assert statistics.minimum == pytest.approx(np.linalg.det(matrix), rel=1e-5)


def test_folds_of_a_field_after_a_mirror():
    geometry = Geometry((6, 6, 6))
    field = shaken_field(geometry, 0.25)
    mirror = LinearTransform(np.diag([-1.0, 1.0, 1.0, 1.0]))
    transform = CompositeTransform((field, mirror))
    assert digital_folds(transform, geometry) == loop_folds(transform, geometry, -1.0).sum()
    assert digital_folds(transform, geometry) == digital_folds(field, geometry)


def test_two_swapped_voxels_fold_and_central_differences_miss_it():
    geometry = Geometry((9, 9, 9))
    field = np.zeros((9, 9, 9, 3))
    field[4, 4, 4, 0] = 1.5  # past its neighbour along i
    transform = DisplacementField(field, geometry)
    folded = folded_voxels(transform, geometry)
    assert folded[4, 4, 4]
    assert folded[4, 4, 5]
    assert jacobian_determinant(transform, geometry).array[4, 4, 4] > 0
    assert digital_folds(transform, geometry) == loop_folds(transform, geometry, 1.0).sum()


@DIRECTIONS
def test_jacobian_statistics_are_those_of_the_jacobian_image(direction):
    geometry = Geometry((14, 12, 10), (1.0, 1.2, 2.0), (0.0, 5.0, 0.0), direction)
    field = np.stack([smooth_noise(geometry.shape, seed) * 0.5 for seed in range(3)], axis=-1)
    scale = LinearTransform(np.diag([1.1, 0.9, 1.3, 1.0]))
    transform = CompositeTransform((DisplacementField(field, geometry), scale))
    inside = np.zeros(geometry.shape, dtype=np.bool_)
    inside[2:, 3:9] = True
    expected = jacobian_determinant(transform, geometry).array[inside].astype(np.float64)
    statistics = jacobian_statistics(transform, geometry, Image(inside, geometry))
    assert statistics.minimum == pytest.approx(expected.min(), abs=1e-4)
    assert statistics.maximum == pytest.approx(expected.max(), abs=1e-4)
    assert statistics.log_sd == pytest.approx(np.log(expected[expected > 0]).std(), abs=1e-4)
    assert statistics.folds == digital_folds(transform, geometry)


def test_jacobian_statistics_of_an_empty_foreground_and_of_a_linear_transform():
    geometry = Geometry((5, 5, 5))
    nothing = Image(np.zeros(geometry.shape, dtype=np.bool_), geometry)
    double = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    assert math.isnan(jacobian_statistics(double, geometry, nothing).minimum)
    statistics = jacobian_statistics(double, geometry, full(geometry))
    assert (statistics.folds, statistics.log_sd, statistics.minimum, statistics.maximum) == (0, 0.0, 2.0, 2.0)


def test_inverse_consistency():
    geometry = Geometry((20, 20, 20))
    field = np.stack([smooth_noise(geometry.shape, seed, passes=30) * 0.5 for seed in range(3)], axis=-1)
    transform = DisplacementField(field, geometry)
    inside = np.zeros(geometry.shape, dtype=np.bool_)
    inside[5:15, 5:15, 5:15] = True
    solved = inverse_consistency(transform, invert(transform), Image(inside, geometry))
    assert solved.mean < 0.05
    shift = np.eye(4)
    shift[0, 3] = 2
    still = LinearTransform.identity()
    sampled = inverse_consistency(LinearTransform(shift), still, full(geometry), samples=100)
    assert sampled.mean == pytest.approx(2)
    assert sampled.p99 == pytest.approx(2)
    assert math.isnan(inverse_consistency(still, still, Image(np.zeros_like(inside), geometry)).mean)


def test_ncc():
    first = image(smooth_noise((8, 9, 10), 0))
    everywhere = full(first.geometry)
    half = first.with_array(np.arange(720).reshape(8, 9, 10) % 2 == 0)
    second = image(smooth_noise((8, 9, 10), 1))
    assert ncc(first, first.with_array(3 * first.array + 7), everywhere) == pytest.approx(1)
    assert ncc(first, first.with_array(-first.array), everywhere) == pytest.approx(-1)
    assert ncc(first, first.with_array(np.ones_like(first.array)), everywhere) == 0
    expected = np.corrcoef(first.array[half.array], second.array[half.array])[0, 1]
    assert ncc(first, second, half) == pytest.approx(expected, abs=1e-6)
    holed = second.array.copy()
    holed[0] = np.nan
    expected = np.corrcoef(first.array[1:].ravel(), second.array[1:].ravel())[0, 1]
    assert ncc(first, second.with_array(holed), everywhere) == pytest.approx(expected, abs=1e-6)


def test_normalised_mutual_information():
    first = image(smooth_noise((30, 30, 30), 0))
    other = image(smooth_noise((30, 30, 30), 1, passes=0))
    everywhere = full(first.geometry)
    assert normalised_mutual_information(first, first, everywhere) == pytest.approx(2)
    assert normalised_mutual_information(first, first.with_array(-first.array), everywhere) > 1.9
    assert normalised_mutual_information(first, other, everywhere, bins=8) == pytest.approx(1, abs=0.01)
    assert normalised_mutual_information(first, first.with_array(np.ones_like(first.array)), everywhere) == 1
    checks = np.indices((30, 30, 30)).sum(0) % 2
    assert normalised_mutual_information(image(checks), image(1 - checks), everywhere) == pytest.approx(2)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0)])
def test_structure_agreement(spacing):
    shape = (40, 44, 48) if spacing[2] == 1 else (12, 64, 64)
    first = image(smooth_noise(shape, 0, passes=12), spacing)
    everywhere = full(first.geometry)
    assert structure_agreement(first, first, everywhere) > 0.99
    assert structure_agreement(first, first.with_array(-first.array), everywhere) > 0.99
    assert structure_agreement(first, first.with_array(np.exp(-first.array)), everywhere) > 0.9
    for seed in (1, 2):
        noise = image(smooth_noise(shape, seed, passes=0), spacing)
        assert structure_agreement(first, noise, everywhere) < 0.06
        other = image(smooth_noise(shape, seed, passes=12), spacing)
        assert structure_agreement(first, other, everywhere) < 0.1


def test_structure_agreement_without_edges_is_zero():
    first = image(smooth_noise((20, 20, 20), 0))
    flat = first.with_array(np.ones_like(first.array))
    assert structure_agreement(first, flat, full(first.geometry)) == 0
    assert structure_agreement(first, first, first.with_array(np.zeros(first.array.shape, np.bool_))) == 0
    thin = image(smooth_noise((1, 30, 30), 0))
    assert structure_agreement(thin, thin, full(thin.geometry)) > 0.99


def test_overlap():
    foreground, view = np.zeros((2, 4, 4, 4), dtype=np.bool_)
    foreground[:2] = True
    view[1:] = True
    assert overlap(image(foreground), image(view)) == 0.5
    assert overlap(image(np.zeros_like(view)), image(view)) == 0
