"""A local correction: what is dragged arrives, what is far away stays, and nothing folds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from DeepRegLib.correction import Correction
from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import folds_and_statistics, inverse_consistency
from DeepRegLib.pipeline import register
from DeepRegLib.result import Registration
from DeepRegLib.stages.correcting import Corrected, correct
from DeepRegLib.stages.inverse import is_exact
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, parts_of
from Testing.stages.runs import run_of
from Testing.stages.test_pulls import SPACING, blank_pair, inner_points, recipe


@cache
def registered() -> Registration:
    """Return a registration that is wrong in the uniform middle of its scans, where nothing tells where it belongs."""
    fixed, moving, _truth = blank_pair()
    return register(fixed, moving, recipe(), device="cpu")


def drag(point: NDArray[np.float64]) -> Correction:
    """Drag the anatomy that belongs at a fixed point there, from where the registration shows it."""
    belongs = blank_pair()[2].apply_to_points(point[None])
    shown = registered().inverse.apply_to_points(belongs)
    for _ in range(30):  # the inverse is not exact, and what is dragged here is where the transform itself shows it
        shown = (
            shown
            + registered().inverse.apply_to_points(belongs)
            - registered().inverse.apply_to_points(registered().transform.apply_to_points(shown))
        )
    return Correction(shown, point[None])


def corrected(correction: Correction, result: Registration | None = None) -> Corrected:
    result = result or registered()
    run = run_of(result.fixed, result.moving, result.recipe, "correction")
    with run.monitor.stage("correction"), torch.no_grad():
        return correct(run, result.transform, result.inverse, correction)


HALF_LONG = np.array([6.0, 0.0, 0.0])
POINT = inner_points(1, seed=1)[0]


@cache
def example() -> tuple[Correction, Corrected]:
    correction = drag(POINT)
    return correction, corrected(correction)


def error_of(transform: Transform) -> float:
    """Return how far the point is taken from where it belongs, mm."""
    belongs = blank_pair()[2].apply_to_points(POINT[None])
    return float(np.linalg.norm(transform.apply_to_points(POINT[None]) - belongs))


def test_what_is_dragged_arrives_within_a_voxel() -> None:
    correction, result = example()
    assert error_of(registered().transform) > SPACING
    assert error_of(result.transform) < 0.5 * SPACING
    assert correction.longest > SPACING


def test_the_corrected_transform_takes_the_end_of_the_drag_to_where_the_earlier_one_took_its_start() -> None:
    correction, result = example()
    there = registered().transform.apply_to_points(correction.shown)
    np.testing.assert_allclose(result.transform.apply_to_points(correction.wanted), there, atol=0.5 * SPACING)


def test_beyond_the_reach_nothing_changes_at_all() -> None:
    correction, result = example()
    points = registered().fixed.geometry.points().reshape(-1, 3)
    far = points[np.linalg.norm(points - correction.shown, axis=1) > result.reach + correction.longest]
    assert len(far) > 100
    np.testing.assert_array_equal(result.transform.apply_to_points(far), registered().transform.apply_to_points(far))


def test_nothing_folds_and_the_inverse_follows() -> None:
    _, result = example()
    folded, _ = folds_and_statistics(result.transform, registered().fixed.geometry, registered().fixed_foreground)
    assert not folded.any()
    reached = inverse_consistency(result.transform, result.inverse, registered().fixed_foreground, 20_000, 0)
    assert reached.mean < 0.15
    assert reached.p99 < 0.75  # on the grid of the earlier inverse; `improve` has a finer one


def test_the_corrected_transform_is_no_longer_chain_than_before() -> None:
    _, result = example()
    for now, before in ((result.transform, registered().transform), (result.inverse, registered().inverse)):
        assert [type(part) for part in parts_of(now)] == [type(part) for part in parts_of(before)]
        fields = [
            part.geometry for chain in (now, before) for part in parts_of(chain) if isinstance(part, DisplacementField)
        ]
        assert fields[0] == fields[1]


def test_a_linear_result_gets_a_field() -> None:
    correction = example()[0]
    linear = next(part for part in parts_of(registered().transform) if isinstance(part, LinearTransform))
    rigid = replace(registered(), transform=linear, inverse=linear.inverse())
    result = corrected(correction, rigid)
    np.testing.assert_allclose(
        result.transform.apply_to_points(correction.wanted), linear.apply_to_points(correction.shown), atol=SPACING
    )
    assert isinstance(parts_of(result.transform)[0], DisplacementField)
    assert is_exact(inverse_consistency(result.transform, result.inverse, registered().fixed_foreground, 20_000, 0))


def test_a_long_drag_takes_coarser_levels_and_does_not_fold() -> None:
    centre = registered().fixed.geometry.centre[None]
    correction = Correction(centre - HALF_LONG, centre + HALF_LONG)
    result = corrected(correction)
    folded, _ = folds_and_statistics(result.transform, registered().fixed.geometry, registered().fixed_foreground)
    assert not folded.any()
    there = registered().transform.apply_to_points(correction.shown)
    left = np.linalg.norm(result.transform.apply_to_points(correction.wanted) - there)
    assert left < SPACING


def test_a_place_outside_of_the_anatomy_is_refused() -> None:
    centre = registered().fixed.geometry.centre[None]
    with pytest.raises(InputError, match="outside of the fixed anatomy"):
        corrected(Correction(centre, centre + 500.0))
