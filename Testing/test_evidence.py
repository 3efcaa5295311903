"""What speaks for a pose, and what landmarks and fields of view say of themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.evaluation import count_outside, covered, landmark_fit
from DeepRegLib.evaluation.evidence import Compared, compared, displacements, edge_correlation, information
from DeepRegLib.evaluation.mirrored import other_side
from DeepRegLib.evaluation.pose_comparison import compare_pose, find_other_poses, small_images
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.transforms import LinearTransform
from Testing.synthetic import blobs, geometry_in, random_linear


def working(seed: int = 0) -> WorkingImage:
    image = blobs(geometry_in(size=(28, 30, 26), spacing=4.0), seed=seed, radius=40.0)
    values = torch.from_numpy(image.array.astype(np.float32))
    return WorkingImage(values / values.max(), torch.ones_like(values), image.geometry)


def pair_of(fixed: WorkingImage, moving: WorkingImage) -> Compared:
    inside = [(image.intensity > 0.1).to(torch.float32) for image in (fixed, moving)]
    return compared(fixed, inside[0], moving, inside[1], count=4000)


def test_an_image_agrees_with_itself_best_where_it_lies() -> None:
    image = working()
    comparison = compare_pose(
        pair_of(image, image), np.eye(4), find_other_poses(image, image, small_images(image, image), ())
    )
    assert comparison.here.seen == 1
    assert comparison.here.correlation == pytest.approx(1, abs=1e-5)
    assert comparison.here.information > comparison.close.information > comparison.nearby.information
    assert comparison.here.information > 1.5 * comparison.elsewhere.information


def test_a_turned_pose_is_beaten_by_the_right_one() -> None:
    image = working()
    pair = pair_of(image, image)
    wrong = displacements(pair.places, (1.2,))[1]
    comparison = compare_pose(pair, wrong, find_other_poses(image, image, small_images(image, image), ()))
    assert comparison.elsewhere.information > 1.5 * comparison.here.information
    assert comparison.distance == pytest.approx(np.linalg.norm(image_move(pair, wrong), axis=1).mean(), rel=0.3)


@pytest.mark.parametrize("axis", [0, 2])
def test_the_other_side_fits_better_only_where_a_scan_is_mirrored(axis: int) -> None:
    image = working()
    flipped = WorkingImage(image.intensity.flip(axis), image.weight, image.geometry)
    own = other_side(pair_of(image, image), small_images(image, image), np.eye(4))
    other = other_side(pair_of(image, flipped), small_images(image, flipped), np.eye(4))
    assert own.information < 0.7
    assert other.information > 1.5
    assert other.edges > own.edges


def image_move(pair: Compared, pose: np.ndarray) -> np.ndarray:
    return LinearTransform(pose).apply_to_points(pair.places.points) - pair.places.points


def test_unrelated_values_share_no_information_and_equal_ones_do() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 500)).astype(np.float32)
    assert information(first, second) < 0.03
    assert information(first, first) > 0.5
    assert information(first, np.zeros_like(first)) == 0


def test_edges_agree_whatever_their_sign_and_not_where_they_cross() -> None:
    edges = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    assert edge_correlation(edges, -edges) == pytest.approx(1)
    other = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
    assert abs(edge_correlation(edges, other)) < 0.15
    assert edge_correlation(edges, np.zeros_like(edges)) == 0


def test_displacements_move_places_by_shares_of_their_radius() -> None:
    image = working()
    pair = pair_of(image, image)
    found = displacements(pair.places, (0.25,))
    assert len(found) == 12
    for shift in found[::2]:
        np.testing.assert_allclose(np.linalg.norm(image_move(pair, shift), axis=1), 0.25 * pair.places.radius)


def test_landmarks_that_fit_leave_nothing_and_shuffled_ones_their_spread() -> None:
    rng = np.random.default_rng(0)
    fixed = rng.normal(size=(12, 3)) * 30
    moving = LinearTransform(random_linear(seed=3, scale=0, shear=0).matrix).apply_to_points(fixed)
    fit = landmark_fit(fixed, moving)
    assert fit.residual == pytest.approx(0, abs=1e-6)
    assert fit.spread == pytest.approx(np.sqrt(((fixed - fixed.mean(0)) ** 2).sum(1).mean()))
    assert landmark_fit(fixed, moving[::-1]).residual > 0.7 * fit.spread
    assert (
        landmark_fit(fixed, moving * [-1, -1, 1]).residual < fit.spread
    )  # RAS for LPS is a rotation: told by the scan
    assert np.isnan(landmark_fit(fixed[:4], moving[:4]).residual)


def test_points_outside_a_scan_are_counted() -> None:
    grid = geometry_in(size=(10, 10, 10), spacing=2.0)
    points = grid.to_world([[0, 0, 0], [9.4, 5, 5], [12, 5, 5], [-3, 0, 0]])
    assert count_outside(points, grid) == 2
    assert count_outside(points, grid, margin=10.0) == 0


def test_a_small_scan_is_covered_by_a_large_one_and_not_the_other_way_round() -> None:
    large = blobs(geometry_in(size=(20, 20, 20), spacing=4.0))
    small = blobs(geometry_in(size=(10, 10, 10), spacing=4.0))
    full, part = (replace(image, array=np.ones(image.array.shape, bool)) for image in (large, small))
    assert covered(part, full, LinearTransform.identity()) == 1
    assert covered(full, part, LinearTransform.identity()) == pytest.approx(1 / 8, abs=0.03)
    nothing = replace(part, array=np.zeros(part.array.shape, bool))
    assert covered(nothing, full, LinearTransform.identity()) == 0
