"""The motion of a series as a few numbers: nothing of it is lost, and a transform is moved on by them."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import digital_folds
from DeepRegLib.motion.components import motion_model, principal_motion
from DeepRegLib.transforms import DisplacementField, LinearTransform
from Testing.motion.motions import GRID, amounts, transform_of

FRAMES = amounts(16, interval=0.25)
SERIES = [transform_of(each) for each in FRAMES]


def test_two_motions_are_found_as_two_components_with_most_first() -> None:
    found = principal_motion(SERIES, GRID, count=5)
    assert found.scores.shape == (16, 2)
    assert found.shares.sum() == pytest.approx(1, abs=1e-6)
    assert found.shares[0] > found.shares[1]
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(2), atol=1e-9)
    # Points come back from scores, and the scores of a frame from its transform.
    for scores, transform in zip(found.scores, SERIES, strict=True):
        moved = (transform.apply_to_points(found.points) - found.points).ravel()
        np.testing.assert_allclose(found.mean + scores @ found.basis * np.sqrt(len(found.points)), moved, atol=1e-4)
        np.testing.assert_allclose(found.scores_of(transform), scores, atol=1e-5)


def test_a_score_is_the_root_mean_square_displacement() -> None:
    found = principal_motion(SERIES, GRID, count=1)
    moved = np.stack([each.apply_to_points(found.points) - found.points for each in SERIES])
    about_mean = np.linalg.norm(moved - moved.mean(axis=0), axis=-1)
    largest = int(np.argmax(np.abs(found.scores[:, 0])))
    assert abs(found.scores[largest, 0]) == pytest.approx(np.sqrt(np.mean(about_mean[largest] ** 2)), rel=0.05)


def test_a_transform_is_moved_on_to_another_frame_and_keeps_what_is_no_component() -> None:
    model = motion_model(SERIES, GRID)
    points = model.principal.points
    moved = model.moved_on(SERIES[2], model.principal.scores[9])
    np.testing.assert_allclose(moved.apply_to_points(points), SERIES[9].apply_to_points(points), atol=1e-3)
    shifted = DisplacementField(SERIES[2].array + np.float32(1.5), SERIES[2].geometry)
    after = model.moved_on(shifted, model.principal.scores_of(shifted) + np.array([1.0, 0.0]))
    step = after.apply_to_points(points) - shifted.apply_to_points(points)
    np.testing.assert_allclose(step.ravel() / np.sqrt(len(points)), model.principal.basis[0], atol=1e-3)


def test_scores_beyond_all_measure_do_not_fold() -> None:
    model = motion_model(SERIES, GRID)
    far = model.moved_on(SERIES[0], 40 * model.principal.scores[8])
    assert digital_folds(far, GRID) == 0


def test_what_does_not_move_has_no_components() -> None:
    with pytest.raises(InputError, match="do not move"):
        principal_motion([LinearTransform.identity()] * 4, GRID)
