"""The verdict: what makes a result failed or to be checked, and that it holds on real scans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.image import read_image
from DeepRegLib.judgement import verdict_on
from DeepRegLib.pipeline import register
from DeepRegLib.result import CHECK, FAILED, OK, Measures

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
)


def test_a_good_result_has_nothing_against_it() -> None:
    verdict = verdict_on(GOOD, deformed=True)
    assert (verdict.level, verdict.reasons) == (OK, ())


@pytest.mark.parametrize(
    ("change", "level", "word"),
    [
        ({"overlap": 0.1}, FAILED, "overlap"),
        ({"structure_linear": 0.1}, FAILED, "same anatomy"),
        ({"structure_linear": 0.35, "structure_after": 0.6}, FAILED, "same anatomy"),
        ({"structure_linear": 0.5, "structure_after": 0.6}, CHECK, "little"),
        ({"structure_after": 0.75}, CHECK, "little"),
        ({"overlap": 0.4}, CHECK, "covered"),
        ({"folds": 3}, CHECK, "folds at 3"),
        ({"volume_scale": 0.3}, CHECK, "volume"),
        ({"log_jacobian_sd": 1.2}, CHECK, "strong"),
        ({"inverse_error_p99": 0.9}, CHECK, "inverse"),
        ({"tre_before": 3.0, "tre_after": 4.0}, CHECK, "landmarks"),
        ({"structure_before": 0.99, "structure_after": 0.9, "nmi_after": 1.0}, CHECK, "less than before"),
    ],
)
def test_each_weakness_is_named(change: dict, level: str, word: str) -> None:
    verdict = verdict_on(replace(GOOD, **change), deformed=True)
    assert verdict.level == level
    assert any(word in reason for reason in verdict.reasons)


def test_less_agreement_is_asked_of_a_linear_result() -> None:
    linear = replace(GOOD, structure_after=0.6, log_jacobian_sd=0.0)
    assert verdict_on(linear, deformed=False).level == OK
    assert verdict_on(linear, deformed=True).level == CHECK


HEAD = "head_t1_freesurfer_sub01_sub02"


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixed", "moving", "level"),
    [
        (f"{HEAD}/fixed", f"{HEAD}/moving", OK),
        (f"{HEAD}/fixed", "knee_mr_fair_bent_straight/fixed", FAILED),
        ("brain_t1_nirep_na02_na03/fixed", "liver_mr_breathing_eth18_cyc_1_10/fixed", FAILED),
    ],
)
def test_different_body_parts_fail_and_the_same_do_not(shared_data: Path, fixed: str, moving: str, level: str) -> None:
    result = register(shared_data / f"{fixed}.nii.gz", shared_data / f"{moving}.nii.gz", "fast")
    assert result.verdict.level == level, result.measures


@pytest.mark.data
@pytest.mark.slow
def test_noise_against_a_brain_fails(shared_data: Path) -> None:
    brain = read_image(shared_data / "brain_t1_nirep_na02_na03/fixed.nii.gz")
    noise = brain.with_array(np.random.default_rng(0).integers(0, 255, brain.array.shape, dtype=np.uint8))
    assert register(brain, noise, "fast").verdict.level == FAILED
