"""The verdict: what makes a result failed or to be checked, and that it holds on real scans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.image import read_image
from DeepRegLib.pipeline import register
from DeepRegLib.preprocessing import isotropic
from DeepRegLib.result import CHECK, FAILED, OK, Measures
from DeepRegLib.transforms import LinearTransform
from DeepRegLib.verdict import verdict_on
from Testing.synthetic import anatomy, geometry_in, rotation

GOOD = Measures(
    ncc_before=0.2,
    ncc_after=0.9,
    nmi_before=1.01,
    nmi_after=1.15,
    structure_before=0.3,
    structure_linear=0.6,
    structure_after=0.95,
    overlap=0.98,
    folds=0,
    volume_scale=1.1,
    log_jacobian_sd=0.4,
    jacobian_min=0.2,
    jacobian_max=4.0,
    inverse_error_mean=0.05,
    inverse_error_p99=0.3,
    coverage=0.98,
    information=0.3,
    information_close=0.27,
    information_nearby=0.15,
    information_elsewhere=0.1,
    edges=0.8,
    edges_nearby=0.5,
    edges_elsewhere=0.4,
    elsewhere_mm=60.0,
)
# Edges that agree best at the pose, but not well.
FAINT = {"edges": 0.3, "edges_nearby": 0.2, "edges_elsewhere": 0.2}
# Ten landmarks that fit together and lie together.
WITH_LANDMARKS = replace(
    GOOD, tre_before=20.0, tre_after=2.0, landmark_spread=50.0, landmark_residual=4.0, landmarks_outside=0
)


@pytest.mark.parametrize(("dice", "alone", "level"), [(0.69, True, CHECK), (0.69, False, OK), (0.92, True, OK)])
def test_labels_that_drive_alone_ought_to_lie_on_each_other(dice: float, alone: bool, level: str) -> None:
    verdict = verdict_on(replace(GOOD, dice_before={1: 0.1}, dice_after={1: dice}), deformed=True, labels_alone=alone)
    assert verdict.level == level
    assert any("labels alone drove" in reason for reason in verdict.reasons) == (level == CHECK)


def test_a_good_result_has_nothing_against_it() -> None:
    verdict = verdict_on(GOOD, deformed=True)
    assert (verdict.level, verdict.reasons) == (OK, ())


def test_a_mirrored_pose_whose_edges_speak_against_it_is_no_doubt() -> None:
    """Brains are nearly symmetric: the demo's, registered right, has 1.05 of its information at the mirrored pose."""
    symmetric = replace(GOOD, mirrored_information=1.05, mirrored_edges=0.89)
    assert verdict_on(symmetric, deformed=True).level == OK
    mirrored = replace(GOOD, mirrored_information=1.05, mirrored_edges=1.01)
    assert verdict_on(mirrored, deformed=True).level == CHECK


@pytest.mark.parametrize(
    ("change", "level", "word"),
    [
        ({"coverage": 0.1}, FAILED, "overlap"),
        ({"coverage": None, "overlap": 0.1}, FAILED, "overlap"),
        ({"information": 0.1, "information_elsewhere": 0.3}, FAILED, "another position, 60 mm"),
        ({"information": 0.08, "information_nearby": 0.15}, FAILED, "moved apart"),
        ({"information": 0.3, "information_elsewhere": 0.3}, CHECK, "another position"),
        ({"information": 0.25}, CHECK, "a little from here"),
        ({"edges": 0.45}, CHECK, "moved apart"),
        ({"mirrored_information": 1.1}, CHECK, "mirrored"),
        (FAINT | {"structure_linear": 0.1}, FAILED, "same anatomy"),
        (FAINT | {"structure_linear": 0.35, "structure_after": 0.6}, FAILED, "same anatomy"),
        (FAINT | {"structure_linear": 0.5, "structure_after": 0.6}, CHECK, "little"),
        (FAINT | {"structure_after": 0.75}, CHECK, "little"),
        ({"coverage": 0.4}, CHECK, "covered"),
        ({"folds": 3}, CHECK, "folds at 3"),
        ({"inverse_folds": 3}, CHECK, "inverse folds at 3"),
        ({"led_astray": 6.0}, CHECK, "surroundings"),
        ({"volume_scale": 0.3}, CHECK, "volume"),
        ({"log_jacobian_sd": 1.2}, CHECK, "strong"),
        ({"inverse_error_p99": 0.9}, CHECK, "inverse"),
        ({"tre_before": 3.0, "tre_after": 4.0}, CHECK, "landmarks"),
        (FAINT | {"structure_before": 0.99, "structure_after": 0.9, "nmi_after": 1.0}, CHECK, "less than before"),
        ({"information": 0.1, "information_elsewhere": 0.3, "elsewhere_mm": 3.0}, CHECK, "another position, 3 mm"),
    ],
)
def test_each_weakness_is_named(change: dict, level: str, word: str) -> None:
    verdict = verdict_on(replace(GOOD, **change), deformed=True)
    assert verdict.level == level
    assert any(word in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("change", "level", "word"),
    [
        ({"landmark_residual": 45.0}, FAILED, "order"),
        ({"tre_after": 31.0}, FAILED, "31.0 mm apart"),
        ({"tre_after": 12.0}, CHECK, "12.0 mm apart"),
        ({"landmark_spread": 8.0, "tre_after": 6.0}, FAILED, "6.0 mm apart"),
        ({"landmarks_outside": 3}, CHECK, "3 landmarks lie outside"),
    ],
)
def test_landmarks_judge_by_how_they_fit_and_where_they_lie(change: dict, level: str, word: str) -> None:
    assert verdict_on(WITH_LANDMARKS, deformed=True).level == OK
    verdict = verdict_on(replace(WITH_LANDMARKS, **change), deformed=True)
    assert verdict.level == level
    assert any(word in reason for reason in verdict.reasons)


def test_a_pose_that_is_clearly_the_best_may_have_little_structure_in_common() -> None:
    little = replace(GOOD, structure_linear=0.3, structure_after=0.35)
    assert verdict_on(little, deformed=True).level == OK
    assert verdict_on(replace(little, **FAINT), deformed=True).level == FAILED
    assert verdict_on(replace(little, structure_after=0.2), deformed=True).level == CHECK


def test_scans_that_lie_together_as_they_are_stored_may_lose_a_little_by_resampling() -> None:
    stored = replace(GOOD, structure_before=0.97, structure_after=0.91, nmi_before=1.45, nmi_after=1.41)
    assert verdict_on(stored, deformed=True).level == OK


def test_landmarks_that_lie_together_turn_a_failure_by_likeness_into_a_doubt() -> None:
    unlike = FAINT | {"structure_linear": 0.1, "information": 0.05}
    assert verdict_on(replace(GOOD, **unlike), deformed=True).level == FAILED
    assert verdict_on(replace(WITH_LANDMARKS, **unlike), deformed=True).level == CHECK


@pytest.mark.parametrize(("before", "after", "level"), [(0.5, 0.8, OK), (0.5, 0.3, CHECK), (0.0, 0.0, FAILED)])
def test_labels_judge_by_their_overlap(before: float, after: float, level: str) -> None:
    measures = replace(GOOD, dice_before={1: before, 2: before}, dice_after={1: after, 2: after})
    assert verdict_on(measures, deformed=True).level == level


def phantom(size: tuple[int, int, int] = (40, 44, 36), spacing: float = 3.0):
    return anatomy(geometry_in(size=size, spacing=spacing))


def turned(image, degrees: float):
    """Return a matrix that turns about the middle of an image."""
    pose = np.eye(4)
    pose[:3, :3] = rotation(np.radians(degrees) * np.array([0.2, 0.3, 0.93]))
    pose[:3, 3] = image.geometry.centre - pose[:3, :3] @ image.geometry.centre
    return pose


def moved(image, pose: np.ndarray):
    """Return an image whose header was moved: the same voxels elsewhere."""
    to_world = pose @ image.geometry.index_to_world
    axes = to_world[:3, :3] / np.array(image.geometry.spacing)
    geometry = replace(image.geometry, origin=tuple(to_world[:3, 3]), direction=tuple(axes.ravel()))
    return replace(image, geometry=geometry, name="moving")


@pytest.mark.parametrize("recipe", ["rigid", "fast"])
def test_an_initial_transform_the_wrong_way_round_is_not_ok(recipe: str) -> None:
    fixed = phantom()
    pose = turned(fixed, 80)
    moving = moved(fixed, pose)
    right = register(fixed, moving, recipe, initial_transform=LinearTransform(pose), device="cpu")
    wrong = register(fixed, moving, recipe, initial_transform=LinearTransform(np.linalg.inv(pose)), device="cpu")
    inside = fixed.geometry.points()[fixed.array > fixed.array.mean()]
    expected = LinearTransform(pose).apply_to_points(inside)
    assert np.linalg.norm(right.transform.apply_to_points(inside) - expected, axis=1).mean() < 3
    assert np.linalg.norm(wrong.transform.apply_to_points(inside) - expected, axis=1).mean() > 10
    assert right.verdict.level == OK, right.verdict
    assert wrong.verdict.level != OK, wrong.verdict


def test_landmarks_in_the_wrong_order_are_not_ok() -> None:
    fixed = phantom()
    pose = turned(fixed, 20)
    points = fixed.geometry.to_world(np.random.default_rng(0).uniform(8, 28, (8, 3)))
    others = LinearTransform(pose).apply_to_points(points)
    moving = moved(fixed, pose)
    right = register(fixed, moving, "rigid", fixed_landmarks=points, moving_landmarks=others, device="cpu")
    wrong = register(fixed, moving, "rigid", fixed_landmarks=points, moving_landmarks=others[::-1], device="cpu")
    assert right.verdict.level == OK, right.verdict
    assert wrong.verdict.level == FAILED
    assert "order" in wrong.verdict.reasons[0]


def test_a_part_found_in_the_whole_is_right_though_it_covers_little_of_it() -> None:
    fixed = phantom()
    part = replace(
        fixed,
        array=fixed.array[8:28, 10:32, 10:30],
        geometry=replace(fixed.geometry, size=(20, 22, 20), origin=tuple(fixed.geometry.to_world([10, 10, 8]))),
        name="part",
    )
    result = register(fixed, part, "rigid", device="cpu")
    inside = part.geometry.points().reshape(-1, 3)
    assert np.linalg.norm(result.transform.apply_to_points(inside) - inside, axis=1).mean() < 1
    assert result.verdict.level == OK, result.verdict


def test_less_agreement_is_asked_of_a_linear_result() -> None:
    linear = replace(GOOD, structure_after=0.6, log_jacobian_sd=0.0, **FAINT)
    assert verdict_on(linear, deformed=False).level == OK
    assert verdict_on(linear, deformed=True).level == CHECK


HEAD = "head_t1_freesurfer_sub01_sub02"
BRAIN = "brain_t1_nirep_na02_na03"
COARSE_MM = 4.0  # enough to recognise what is right, and noise; other anatomy takes the detail of the scans


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (f"{HEAD}/fixed", "knee_mr_fair_bent_straight/fixed"),
        (f"{BRAIN}/fixed", "liver_mr_breathing_eth18_cyc_1_10/fixed"),
    ],
)
def test_different_body_parts_fail(shared_data: Path, fixed: str, moving: str) -> None:
    result = register(shared_data / f"{fixed}.nii.gz", shared_data / f"{moving}.nii.gz", "fast")
    assert result.verdict.level == FAILED, result.measures


@pytest.mark.data
@pytest.mark.slow
def test_the_same_body_part_of_two_people_does_not_fail(shared_data: Path) -> None:
    fixed, moving = (isotropic(read_image(shared_data / HEAD / f"{n}.nii.gz"), COARSE_MM) for n in ("fixed", "moving"))
    result = register(fixed, moving, "fast")
    assert result.verdict.level == OK, result.measures


@pytest.mark.data
@pytest.mark.slow
def test_noise_against_a_brain_fails(shared_data: Path) -> None:
    brain = isotropic(read_image(shared_data / BRAIN / "fixed.nii.gz"), COARSE_MM)
    noise = brain.with_array(np.random.default_rng(0).integers(0, 255, brain.array.shape, dtype=np.uint8))
    assert register(brain, noise, "fast").verdict.level == FAILED
