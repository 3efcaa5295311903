"""Label maps brought through transforms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_labels, compose
from Testing.synthetic import ORIENTATIONS, geometry_in, label_map, random_linear, smooth_field

FIXED = geometry_in("oblique", (14, 15, 13), 3.0)
FIELD = smooth_field(FIXED, 5.0, seed=2)


def shift(x: float, y: float = 0.0, z: float = 0.0) -> LinearTransform:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return LinearTransform(matrix)


def turned(angle: float, by: tuple[float, float, float]) -> LinearTransform:
    c, s = np.cos(angle), np.sin(angle)
    about_z, about_x = np.eye(4), np.eye(4)
    about_z[:2, :2], about_x[1:3, 1:3] = [[c, -s], [s, c]], [[c, -s], [s, c]]
    matrix = about_z @ about_x
    matrix[:3, 3] = by
    return LinearTransform(matrix)


def spline(distance: np.ndarray) -> np.ndarray:
    """Return the cubic B-spline in its usual two pieces."""
    d = np.abs(distance)
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.where(d < 2, (2 - d) ** 3 / 6, 0.0))


def hat(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(distance), 0)


def probabilities(labels: np.ndarray, present: np.ndarray, index: np.ndarray, kernel) -> np.ndarray:
    """Return of each place (i, j, k), clipped onto the grid, the weight of every label, ``(labels, n)``."""
    size = np.array(labels.shape[::-1])
    index = np.clip(index, 0, size - 1)
    padded = np.pad(labels, 3, mode="edge")
    weights = [kernel(np.arange(-3, size[a] + 3)[None] - index[:, a, None]) for a in range(3)]
    indicators = (padded == label for label in present)
    return np.stack([np.einsum("kji,ni,nj,nk->n", one.astype(float), *weights, optimize=True) for one in indicators])


def brute_force_labels(transform: Transform, labels: Image, geometry: Geometry) -> np.ndarray:
    """Every label linearly, the largest wins; a voxel that smoothing takes at its centre keeps what is near it."""
    array, present = labels.array, np.unique(labels.array)
    size = np.array(labels.geometry.size)

    def most_probable(index: np.ndarray, nearest: np.ndarray, kernel) -> np.ndarray:
        scores = probabilities(array, present, index, kernel)
        top = scores > scores.max(axis=0) - 1e-6  # rounding must not decide a tie
        ties = np.take_along_axis(top, np.searchsorted(present, nearest)[None], axis=0)[0]
        return np.where(ties, nearest, present[np.argmax(top, axis=0)])

    index = labels.geometry.to_index(transform.apply_to_points(geometry.points())).reshape(-1, 3)
    near = np.clip(np.floor(np.clip(index, 0, size - 1) + 0.5 + 1e-6).astype(int), 0, size - 1)
    nearest = array[near[:, 2], near[:, 1], near[:, 0]]
    winner = most_probable(index, nearest, hat)
    thin = most_probable(near.astype(float), nearest, spline) != nearest
    winner = np.where(thin, nearest, winner)
    inside = np.all((index >= -0.5) & (index < size - 0.5), axis=1)
    return np.where(inside, winner, 0).reshape(geometry.shape)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    names=st.lists(st.integers(0, 255), min_size=1, max_size=6, unique=True),
    orientation=st.sampled_from(ORIENTATIONS),
    bend=st.booleans(),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
)
def test_labels_are_the_brute_force_winners_and_none_is_invented(
    seed: int, names: list[int], orientation: str, bend: bool, shape: tuple[int, int, int]
) -> None:
    grid = geometry_in(orientation, shape, 5.0)
    values = np.random.default_rng(seed).choice(names, size=grid.shape).astype(np.uint8)
    labels = Image(values, grid)
    target = geometry_in("oblique", (7, 6, 5), 4.0)
    transform: Transform = random_linear(seed, 25, 6)
    if bend:
        transform = compose(transform, FIELD)
    warped = apply_to_labels(transform, labels, target)
    assert warped.array.dtype == np.uint8
    assert set(np.unique(warped.array)) <= {0, *names}
    expected = brute_force_labels(transform, labels, target)
    known = np.isin(warped.array, np.unique(expected))  # a label that fell between the voxels gets one
    assert np.mean(warped.array[known] == expected[known]) > 0.99


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "uint16", "int64"])
def test_label_types_are_kept(dtype: str) -> None:
    labels = label_map(FIXED)
    labels = labels.with_array((labels.array > 0).astype(dtype) if dtype == "bool" else labels.array.astype(dtype))
    for smooth in (True, False):
        warped = apply_to_labels(random_linear(1), labels, FIXED, smooth=smooth)
        assert warped.array.dtype == labels.array.dtype
        assert set(np.unique(warped.array)) <= set(np.unique(labels.array))
        assert warped.array.any()


def test_large_and_negative_labels_stay_exact() -> None:
    """FreeSurfer's numbers run into the thousands, and a neighbour's number must never be averaged in."""
    values = np.array([-5, 2**40 + 1, 12101, 0], dtype=np.int64)
    array = np.repeat(values, 2)[None, None, :] * np.ones((3, 3, 1), dtype=np.int64)
    geometry = Geometry((8, 3, 3))
    for smooth in (True, False):
        warped = apply_to_labels(shift(0.3), Image(array, geometry), geometry, smooth=smooth)
        np.testing.assert_array_equal(warped.array, array)


def test_on_a_tie_the_nearest_voxel_wins_so_that_labels_keep_their_size() -> None:
    array = np.zeros((2, 2, 6), dtype=np.uint8)
    array[..., :3], array[..., 3:] = 9, 4
    geometry = Geometry((6, 2, 2))
    warped = apply_to_labels(shift(0.5), Image(array, geometry), geometry)
    np.testing.assert_array_equal(warped.array[0, 0], [9, 9, 4, 4, 4, 0])


def test_labels_outside_the_field_of_view_are_zero() -> None:
    geometry = Geometry((6, 3, 3))
    labels = Image(np.full(geometry.shape, 3, dtype=np.uint8), geometry)
    for smooth in (True, False):
        warped = apply_to_labels(shift(2.8), labels, geometry, smooth=smooth)
        np.testing.assert_array_equal(warped.array[0, 0], [3, 3, 3, 0, 0, 0])


def test_an_identity_leaves_every_label_in_place() -> None:
    labels = label_map(FIXED, 3)
    for smooth in (True, False):
        warped = apply_to_labels(LinearTransform.identity(), labels, FIXED, smooth=smooth)
        np.testing.assert_array_equal(warped.array, labels.array)


def test_smooth_labels_have_less_jagged_borders_than_nearest_neighbour() -> None:
    """Brought from a coarse grid to a fine one, a ball keeps its shape better."""
    coarse, fine = geometry_in("LPS", (12, 12, 12), 4.0), geometry_in("oblique", (40, 40, 40), 1.2)
    smooth = apply_to_labels(LinearTransform.identity(), label_map(coarse, 1), fine).array
    nearest = apply_to_labels(LinearTransform.identity(), label_map(coarse, 1), fine, smooth=False).array
    truth = label_map(fine, 1).array
    assert np.mean(smooth == truth) > np.mean(nearest == truth)


def test_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = label_map(FIXED, 2)
    whole = apply_to_labels(FIELD, labels, FIXED).array
    monkeypatch.setattr("DeepRegLib.transforms.label_maps.VOXELS_AT_ONCE", 3 * FIXED.shape[1] * FIXED.shape[2])
    np.testing.assert_array_equal(apply_to_labels(FIELD, labels, FIXED).array, whole)


def test_a_ball_gets_smoother_borders_than_by_nearest_neighbour_under_a_turn_and_half_a_voxel() -> None:
    """Measured against the ball itself, whose border is known exactly."""
    grid, turn = Geometry((24, 24, 24), origin=(-11.5, -11.5, -11.5)), turned(0.5, (0.5, 0.3, -0.4))
    ball = (np.linalg.norm(grid.points(), axis=-1) < 8).astype(np.uint8)
    truth = np.linalg.norm(turn.apply_to_points(grid.points()), axis=-1) < 8
    wrong = [
        np.count_nonzero((apply_to_labels(turn, Image(ball, grid), grid, smooth=smooth).array > 0) != truth)
        for smooth in (True, False)
    ]
    assert wrong[0] < 0.85 * wrong[1]


def test_a_line_and_a_sheet_of_one_voxel_keep_their_volume_between_the_voxels() -> None:
    array = np.zeros((18, 18, 18), np.uint8)
    array[12, 9, 3:15], array[6, 4:14, 4:14] = 1, 2
    grid = Geometry((18, 18, 18), origin=(-8.5, -8.5, -8.5))
    warped = apply_to_labels(turned(0.3, (0.45, 0.5, 0.4)), Image(array, grid), grid).array
    assert abs(np.count_nonzero(warped == 1) - 12) <= 4
    assert abs(np.count_nonzero(warped == 2) - 100) <= 20


def test_segments_thinner_than_the_voxels_of_the_fixed_grid_do_not_vanish() -> None:
    fine, coarse = Geometry((24, 24, 24)), Geometry((6, 6, 6), (4.0, 4.0, 4.0), (1.5, 1.5, 1.5))
    array = np.zeros(fine.shape, np.uint8)
    array[4:20, 4:20, 4:20] = 1
    array[13, 13, 2:22], array[8, 8, 8] = 2, 3  # between the coarse voxels
    assert set(
        np.unique(apply_to_labels(LinearTransform.identity(), Image(array, fine), coarse, smooth=False).array)
    ) == {
        0,
        1,
    }
    warped = apply_to_labels(LinearTransform.identity(), Image(array, fine), coarse).array
    assert {label: int(np.count_nonzero(warped == label)) for label in (2, 3)} == {2: 1, 3: 1}
    assert warped[2, 2, 2] == 3 or warped[1, 1, 1] == 3 or warped[2, 1, 1] == 3


def test_a_label_that_lies_outside_of_the_fixed_scan_is_not_brought_back() -> None:
    grid = Geometry((8, 8, 8))
    array = np.zeros(grid.shape, np.uint8)
    array[4, 4, 7], array[1:3, 1:3, 1:3] = 4, 1
    warped = apply_to_labels(shift(-4.0), Image(array, grid), grid).array
    assert set(np.unique(warped)) == {0, 1}
