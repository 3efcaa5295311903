"""The exhaustive pose search: any rotation, far shifts, a part of the field of view cut off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization import global_search
from DeepRegLib.optimization.global_search import Pose, distinct_poses, search_poses
from DeepRegLib.optimization.rotations import rotation_distance, rotation_grid
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.transforms import LinearTransform
from Testing.optimization.phantoms import cube, image_of
from Testing.optimization.test_rotations import random_rotations
from Testing.synthetic import CENTRE, blob_values

RADIUS = 70.0
# Places and widths in mm of what makes the phantom lopsided, as a face, a neck and a lesion make a head.
LUMPS = (((65, 10, -15), 16), ((-20, -50, -60), 22), ((-15, 40, 30), 14))
ROTATIONS = rotation_grid(30)


def pose(seed: int, shift: float = 150.0) -> LinearTransform:
    """Return a random rotation about the phantom's centre with a shift of `shift` mm."""
    direction = np.random.default_rng(seed).normal(size=3)
    matrix = np.eye(4)
    matrix[:3, :3] = random_rotations(1, seed)[0]
    matrix[:3, 3] = CENTRE + shift * direction / np.linalg.norm(direction) - matrix[:3, :3] @ CENTRE
    return LinearTransform(matrix)


def scanned(truth: LinearTransform | None, cut: float = 0.0) -> WorkingImage:
    """Return the phantom on a grid about it that lacks the last share `cut` of its slices."""
    centre = CENTRE if truth is None else truth.apply_to_points(CENTRE)
    whole = cube(44, 4.5, centre)
    geometry = Geometry((44, 44, round(44 * (1 - cut))), whole.spacing, whole.origin)
    points = geometry.points()
    anatomy = points if truth is None else truth.inverse().apply_to_points(points)
    values = blob_values(anatomy, radius=RADIUS) / 1000
    for place, width in LUMPS:
        values += np.exp(-0.5 * np.sum((anatomy - CENTRE - place) ** 2, axis=-1) / width**2)
    return image_of(values, geometry)


def search(
    fixed: WorkingImage, moving: WorkingImage, *, edges: bool = False, count: int = 8, rotations: np.ndarray = ROTATIONS
) -> list[Pose]:
    return search_poses(fixed, moving, rotations, count=count, edges=edges, on_step=lambda fraction: None)


def errors(found: Pose, truth: LinearTransform) -> tuple[float, float]:
    """Return the angle in degrees and the distance at the phantom's centre in mm."""
    angle = float(rotation_distance(found.matrix[:3, :3], truth.matrix[:3, :3]))
    point = LinearTransform(found.matrix).apply_to_points(CENTRE) - truth.apply_to_points(CENTRE)
    return angle, float(np.linalg.norm(point))


def is_near(found: Pose, truth: LinearTransform) -> bool:
    angle, distance = errors(found, truth)
    # The grid leaves up to 30 degrees to its nearest rotation; the linear stage takes it from there.
    return angle < 40 and distance < 15


@pytest.mark.parametrize("seed", range(2))
def test_any_pose_is_found(seed):
    truth = pose(seed)
    best = search(scanned(None), scanned(truth))[0]
    assert is_near(best, truth), errors(best, truth)


@pytest.mark.parametrize("seed", range(2))
def test_a_pose_is_found_with_a_quarter_of_the_field_of_view_cut_off(seed):
    truth = pose(seed + 10)
    found = search(scanned(None), scanned(truth, cut=0.25))
    assert is_near(found[0], truth), [errors(p, truth) for p in found]


@pytest.mark.parametrize("seed", range(2))
def test_edges_find_a_pose_whose_contrast_is_inverted(seed):
    truth = pose(seed + 20)
    moving = scanned(truth)
    inside = moving.intensity > 0.1
    inverted = torch.where(inside, 1.1 - moving.intensity.clamp(max=1), moving.intensity)
    found = search(scanned(None), WorkingImage(inverted, moving.weight, moving.geometry), edges=True)
    assert any(is_near(p, truth) for p in found), [errors(p, truth) for p in found]


def test_what_the_masks_leave_out_does_not_count():
    truth = pose(30)
    fixed, moving = scanned(None), scanned(truth)
    lump = np.linalg.norm(fixed.geometry.points() - (CENTRE + np.array([60, 0, 40])), axis=-1) < 30
    spoilt = np.where(lump, 1.0, fixed.intensity.numpy())
    masked = image_of(spoilt, fixed.geometry, ~lump)
    assert is_near(search(masked, moving)[0], truth)
    other = image_of(np.where(lump, 0.2, fixed.intensity.numpy()), fixed.geometry, ~lump)
    few = ROTATIONS[::8]
    for a, b in zip(search(masked, moving, rotations=few), search(other, moving, rotations=few), strict=True):
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-6)
        assert a.score == pytest.approx(b.score, abs=1e-5)


def test_a_ball_scores_alike_at_all_rotations():
    geometry = cube(44, 4.5)
    distance = np.linalg.norm(geometry.points() - CENTRE, axis=-1)
    ball = image_of(0.8 / (1 + np.exp((distance - 60) / 8)), geometry)
    scores = [
        search_poses(ball, ball, r[None], count=1, edges=False, on_step=lambda fraction: None)[0].score
        for r in ROTATIONS[::20]
    ]
    assert max(scores) - min(scores) < 0.02


def test_an_image_with_itself_scores_best_at_the_identity():
    found = search(scanned(None), scanned(None), rotations=ROTATIONS[:80])
    np.testing.assert_allclose(found[0].matrix, np.eye(4), atol=1e-6)
    assert found[0].score == pytest.approx(1, abs=0.05)
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


def test_the_poses_are_rigid_and_distinct():
    found = search(scanned(None), scanned(pose(5)), count=6, rotations=ROTATIONS[::4])
    assert len(found) == 6
    for number, p in enumerate(found):
        np.testing.assert_allclose(p.matrix[:3, :3] @ p.matrix[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(p.matrix[:3, :3]) > 0
        for other in found[:number]:
            angle, distance = errors(p, LinearTransform(other.matrix))
            assert angle >= 12 or distance > 5


def test_distinct_poses_keeps_the_best_of_each_neighbourhood():
    near, far = np.eye(4), np.eye(4)
    near[0, 3], far[0, 3] = 1.0, 50.0
    kept = distinct_poses([Pose(near, 0.5), Pose(np.eye(4), 0.9), Pose(far, 0.1)], 5, 10.0, np.zeros(3))
    assert [p.score for p in kept] == [0.9, 0.1]


@pytest.mark.parametrize("edges", [False, True])
def test_trying_the_best_rotations_only_finds_what_trying_all_of_them_does(edges, monkeypatch):
    fixed, moving = scanned(None), scanned(pose(2), cut=0.2)
    found = search(fixed, moving, edges=edges, count=1)[0]
    monkeypatch.setattr(global_search, "FINE_ROTATIONS", len(ROTATIONS))
    expected = search(fixed, moving, edges=edges, count=1)[0]
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    assert found.score == pytest.approx(expected.score, abs=1e-5)


def test_a_scan_no_larger_than_a_cell_of_the_other_is_searched_with_too():
    tiny = image_of(np.random.default_rng(0).random((21, 20, 22)), Geometry((22, 20, 21), (0.2,) * 3))
    for fixed, moving in ((tiny, scanned(None)), (scanned(None), tiny)):
        assert all(np.isfinite(found.matrix).all() for found in search(fixed, moving, count=2))


def test_the_search_can_be_stopped_and_tells_how_far_it_is():
    seen: list[float] = []

    def stop(fraction: float) -> None:
        seen.append(fraction)
        if len(seen) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        search_poses(scanned(None), scanned(None), ROTATIONS, count=1, edges=False, on_step=stop)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] < 1
