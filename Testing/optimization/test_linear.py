"""Linear refinement: known maps are recovered, whatever the metric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.optimization.linear import (
    NO_FEW_SLICES,
    FewSlices,
    LinearFit,
    _LinearProblem,
    refine_poses,
    score_poses,
)
from DeepRegLib.optimization.working import WorkingImage, coarser
from DeepRegLib.recipes import CROSS_MODAL_SIMILARITIES
from DeepRegLib.recipes.model import SIMILARITIES
from DeepRegLib.transforms import LinearTransform
from Testing.optimization.phantoms import SPACING, cube, in_foreground, mean_distance, phantom, with_foreground_weight
from Testing.synthetic import random_linear

GRID = cube()
POINTS = in_foreground(GRID)
TRUTHS = {
    "rigid": random_linear(3, angle=25, shift=20),
    "similarity": LinearTransform(random_linear(3, angle=25, shift=20).matrix @ np.diag([1.08, 1.08, 1.08, 1])),
    "affine": random_linear(3, angle=25, shift=20, scale=0.1, shear=0.08),
}


def pair(truth: LinearTransform) -> tuple[WorkingImage, WorkingImage]:
    return with_foreground_weight(phantom(GRID)), phantom(cube(46, centre=truth.apply_to_points(GRID.centre)), truth)


def started(truth: LinearTransform, angle: float = 15.0, shift: float = 10.0) -> np.ndarray:
    """Return the truth's rotation and place, turned and shifted away from it."""
    u, _, v = np.linalg.svd(truth.matrix[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = u @ v
    rigid[:3, 3] = truth.apply_to_points(GRID.centre) - rigid[:3, :3] @ GRID.centre
    return rigid @ random_linear(8, angle=angle, shift=shift).matrix


def fit(
    images: tuple[WorkingImage, WorkingImage],
    starts: list[np.ndarray],
    model: str,
    similarity: str,
    iterations: int = 60,
    first_step: float = 0.4,
    few_slices: FewSlices = NO_FEW_SLICES,
) -> LinearFit:
    return refine_poses(
        *images,
        starts,
        model=model,
        similarity=similarity,
        iterations=iterations,
        first_step=first_step,
        on_step=lambda n, value: None,
        few_slices=few_slices,
    )


def shrunk(images: tuple[WorkingImage, WorkingImage], spacing: float) -> tuple[WorkingImage, WorkingImage]:
    return tuple(coarser(image, image.geometry.resized(spacing)) for image in images)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("model", "similarity"),
    [(model, metric) for model in ("rigid", "affine") for metric in SIMILARITIES]
    + [("similarity", "ncc"), ("similarity", "mi")],
)
def test_a_known_map_is_recovered_below_half_a_voxel(model, similarity):
    truth = TRUTHS[model]
    images = pair(truth)
    start = started(truth)
    assert mean_distance(start, truth, POINTS) > 3 * SPACING
    coarse = fit(shrunk(images, 2 * SPACING), [start], "rigid", similarity)
    found = fit(images, [coarse.poses[0].matrix], model, similarity).poses[0].matrix
    assert mean_distance(found, truth, POINTS) < 0.5 * SPACING


@pytest.mark.parametrize("similarity", CROSS_MODAL_SIMILARITIES)
def test_an_inverted_contrast_is_no_obstacle_across_modalities(similarity):
    truth = TRUTHS["rigid"]
    fixed, moving = pair(truth)
    images = shrunk((replace(fixed, intensity=1 - fixed.intensity), moving), 2 * SPACING)
    found = fit(images, [started(truth)], "rigid", similarity).poses[0].matrix
    assert mean_distance(found, truth, POINTS) < 0.5 * 2 * SPACING


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_nothing_is_stretched_or_sheared_across_few_slices_but_within_them(side):
    normal = np.array([2.0, -1.0, 2.0]) / 3
    within = [np.cross(normal, [0.0, 0.0, 1.0]), np.cross(normal, np.cross(normal, [0.0, 0.0, 1.0]))]
    within = [vector / np.linalg.norm(vector) for vector in within]
    stretch = np.eye(4)
    stretch[:3, :3] += 0.06 * np.outer(normal, normal) + 0.06 * np.outer(within[0], within[0])
    images = shrunk(pair(LinearTransform(stretch)), 2 * SPACING)
    free, held = (
        fit(images, [np.eye(4)], "affine", "ncc", 30, few_slices=few).poses[0].matrix[:3, :3]
        for few in (NO_FEW_SLICES, FewSlices(**{side: normal}))
    )
    if side == "moving":  # how fast its own coordinates change
        free, held = free.T, held.T
    assert abs(np.linalg.norm(free @ normal) - 1) > 0.03
    assert np.linalg.norm(held @ normal) == pytest.approx(1, abs=1e-3)
    assert abs(np.linalg.norm(held @ within[0]) - 1) > 0.02
    assert max(abs((held @ normal) @ (held @ vector)) for vector in within) < 0.01


def test_candidates_in_one_batch_end_where_each_ends_alone():
    truth = TRUTHS["rigid"]
    images = shrunk(pair(truth), 2 * SPACING)
    starts = [started(truth, angle) for angle in (5.0, 15.0, 30.0)]
    together = {tuple(np.round(p.matrix[:3, 3], 2)): p for p in fit(images, starts, "rigid", "ncc", 20).poses}
    for start in starts:
        alone = fit(images, [start], "rigid", "ncc", 20).poses[0]
        nearest = min(together.values(), key=lambda p: float(np.abs(p.matrix - alone.matrix).max()))
        np.testing.assert_allclose(nearest.matrix, alone.matrix, atol=0.02)
        assert nearest.score == pytest.approx(alone.score, abs=1e-4)


def test_the_best_candidate_comes_first_with_its_curve():
    truth = TRUTHS["rigid"]
    images = shrunk(pair(truth), 2 * SPACING)
    bad = truth.matrix @ random_linear(1, angle=170, shift=30).matrix
    result = fit(images, [bad, started(truth, 5, 3)], "rigid", "ncc", 20)
    assert mean_distance(result.poses[0].matrix, truth, POINTS) < SPACING
    assert result.poses[0].score > result.poses[1].score
    assert result.curve.shape == (20,)
    assert result.curve[-1] > result.curve[0]


def test_rigid_stays_rigid_and_similarity_a_similarity():
    images = shrunk(pair(TRUTHS["affine"]), 2 * SPACING)
    start = started(TRUTHS["affine"])
    rigid = fit(images, [start], "rigid", "ncc").poses[0].matrix[:3, :3]
    np.testing.assert_allclose(rigid @ rigid.T, np.eye(3), atol=1e-4)
    similar = fit(images, [start], "similarity", "ncc").poses[0].matrix[:3, :3]
    gram = similar @ similar.T
    np.testing.assert_allclose(gram / np.trace(gram) * 3, np.eye(3), atol=1e-3)


def test_nothing_moves_without_iterations_and_little_from_the_truth():
    truth = TRUTHS["rigid"]
    images = pair(truth)
    kept = fit(images, [truth.matrix], "rigid", "ncc", 0)
    np.testing.assert_allclose(kept.poses[0].matrix, truth.matrix, atol=1e-4)
    assert kept.curve.shape == (0,)
    stayed = fit(images, [truth.matrix], "affine", "ncc", 30, first_step=0.1)
    assert mean_distance(stayed.poses[0].matrix, truth, POINTS) < 0.1 * SPACING


@pytest.mark.parametrize("similarity", ["ssd", "ncc"])
def test_the_pose_gradient_is_that_of_finite_differences(similarity):
    truth = TRUTHS["affine"]
    problem = _LinearProblem(*pair(truth), similarity)
    state = problem.start([started(truth, 6, 4)])
    warped, weight = problem.warp(state)
    metric = problem.metric(weight)
    analytic = problem.pose_gradient(state, metric.value_and_gradient(warped)[1], warped)[0]
    numeric = torch.zeros(3, 4)
    step = 0.3
    for row in range(3):
        for column in range(4):
            change = torch.zeros(1, 3, 4)
            change[0, row, column] = step
            ahead, behind = (float(metric.value(problem.warp(problem.move(state, c))[0])) for c in (change, -change))
            numeric[row, column] = (ahead - behind) / (2 * step)
    # The slopes of the warped image are central differences, a little flatter than those of its interpolation.
    cosine = torch.nn.functional.cosine_similarity(analytic.flatten(), numeric.flatten(), dim=0)
    assert float(cosine) > 0.995
    assert float(analytic.norm() / numeric.norm()) == pytest.approx(1, abs=0.1)


def test_scores_are_lowered_where_little_overlaps():
    truth = TRUTHS["rigid"]
    images = shrunk(pair(truth), 2 * SPACING)
    away = truth.matrix.copy()
    away[0, 3] += 60
    for similarity in ("ncc", "mi"):
        scores = score_poses(*images, [truth.matrix, away], similarity)
        assert scores[0] > scores[1]


def test_the_refinement_can_be_stopped():
    def stop(iteration: int, value: torch.Tensor) -> None:
        if iteration == 2:
            raise InterruptedError

    images = shrunk(pair(TRUTHS["rigid"]), 3 * SPACING)
    with pytest.raises(InterruptedError):
        refine_poses(*images, [np.eye(4)], model="rigid", similarity="ncc", iterations=50, first_step=0.4, on_step=stop)
