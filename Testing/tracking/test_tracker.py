"""One scan after another registered from the last result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.engine.packing import Arrays
from DeepRegLib.engine.tracking import TRACK
from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.motion.components import motion_model
from DeepRegLib.motion.prediction import last_value, linear_extrapolation
from DeepRegLib.pipeline import prepare_fixed
from DeepRegLib.recipes import Recipe
from DeepRegLib.request import Drivers, Request
from DeepRegLib.result import CHECK, OK, Verdict
from DeepRegLib.tracking import Following, Last
from DeepRegLib.tracking.expecting import follow_expected
from DeepRegLib.tracking.following import drop, follow, quick
from DeepRegLib.tracking.foresight import FORESEEN, Foresight
from DeepRegLib.tracking.request import FOLLOWED, SCORES, Motion, last_of
from DeepRegLib.tracking.tracker import Tracker
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, apply_to_image, compose, invert
from Testing.small import FIXED_GRID, MOVING_GRID, TRUTH, small_pair, small_recipe, small_registration
from Testing.synthetic import blobs, geometry_in

FINE = geometry_in("LPS", (40, 44, 36), 1.2)


def scan_moved_by(*shift: float) -> tuple[Image, LinearTransform]:
    """Return the small moving scan after the patient moved, and what takes fixed points to its points."""
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    truth = LinearTransform(matrix @ TRUTH.matrix)
    return apply_to_image(truth.inverse(), blobs(FINE), MOVING_GRID), truth


def error(found: Transform, truth: Transform) -> float:
    """Return the mean distance in mm from a transform to the truth in the middle of the fixed scan."""
    index = np.array(FIXED_GRID.size) / 2 + np.array([[-4, -4, -4], [4, -4, 4], [-4, 4, 4], [4, 4, -4], [0, 0, 0]])
    points = FIXED_GRID.to_world(index)
    distances = found.apply_to_points(points) - truth.apply_to_points(points)
    return float(np.linalg.norm(distances, axis=-1).mean())


def linear_recipe() -> Recipe:
    recipe = small_recipe()
    linear = replace(recipe.linear, iterations=50)
    return replace(recipe, linear=linear, deformable=replace(recipe.deformable, enabled=False))


@pytest.mark.parametrize("recipe", [small_recipe(), linear_recipe()], ids=["deformable", "linear"])
def test_a_patient_who_moves_is_followed(recipe: Recipe) -> None:
    fixed, moving, *_ = small_pair()
    tracker = Tracker(fixed, recipe)
    first = tracker.register(moving)
    assert FOLLOWED not in first.provenance
    moved, truth = scan_moved_by(5.0, -3.0, 2.0)
    assert error(first.transform, truth) > 5
    second = tracker.register(moved)
    assert FOLLOWED in second.provenance
    assert error(second.transform, truth) < 1.0
    assert second.verdict.level == first.verdict.level
    assert error(second.inverse, truth.inverse()) < 1.5


def test_what_was_measured_as_stored_is_that_of_the_new_scan() -> None:
    fixed, moving, *_ = small_pair()
    tracker = Tracker(fixed, small_recipe())
    first = tracker.register(moving)
    second = tracker.register(scan_moved_by(6.0, 6.0, 0.0)[0])
    assert second.measures.ncc_before < first.measures.ncc_before - 0.02
    assert second.measures.information_elsewhere == first.measures.information_elsewhere


def test_where_the_last_result_leads_nowhere_the_scan_is_searched_for() -> None:
    fixed, moving, *_ = small_pair()
    far = np.eye(4)
    far[:3, 3] = 5000.0
    last = Last(LinearTransform(far), None, small_recipe())
    found = follow(Following(Request(fixed, moving, small_recipe()), last))
    assert FOLLOWED not in found.provenance
    assert error(found.transform, TRUTH) < 1.0
    assert any("could not be followed" in decision for decision in found.decisions)


def test_a_result_drops_when_its_verdict_or_its_edges_do() -> None:
    found = replace(small_registration(), verdict=Verdict(OK, ()))
    last = last_of(found)
    assert drop(found, last) == ""
    assert "folds" in drop(replace(found, verdict=Verdict(CHECK, ("It folds.",))), last)
    blurred = replace(found.measures, structure_after=found.measures.structure_after - 0.1)
    assert "Edges agree" in drop(replace(found, measures=blurred), last)
    assert last_of(replace(found, measures=blurred, provenance={FOLLOWED: True}), last).searched is found.measures


def test_a_plan_with_a_field_is_gone_on_from() -> None:
    fixed, moving, *_ = small_pair()
    still = DisplacementField(np.zeros((*FIXED_GRID.shape, 3), dtype=np.float32), FIXED_GRID)
    plan = compose(still, TRUTH)
    found = Tracker(fixed, small_recipe(), Drivers(initial_transform=plan)).register(moving)
    assert FOLLOWED in found.provenance
    assert error(found.transform, TRUTH) < 0.5


def test_a_recipe_that_follows_searches_nothing() -> None:
    recipe = quick(replace(small_recipe(), large_motion=replace(small_recipe().large_motion, enabled=True)))
    assert not recipe.large_motion.enabled
    assert recipe.model.name == ""
    assert recipe.deformable.shrink == (1,)


def test_a_breath_is_followed() -> None:
    """The last field has waves, and the anatomy breathes in by 4 mm more."""
    points = FINE.points()
    waves = np.sin(points[..., ::-1] / 6)
    breath = 4 * np.exp(-np.sum(((points - FINE.centre) / 20) ** 2, axis=-1))[..., np.newaxis] * np.array([0.0, 0.0, 1])
    last, truth = (DisplacementField((waves + step * breath).astype(np.float32), FINE) for step in (1.0, 2.0))
    fixed = apply_to_image(LinearTransform.identity(), blobs(FINE), FIXED_GRID)
    moving = apply_to_image(invert(truth), blobs(FINE), FIXED_GRID)
    found = follow(Following(Request(fixed, moving, small_recipe()), Last(last, None, small_recipe())))
    assert FOLLOWED in found.provenance
    inside = FIXED_GRID.to_world(np.argwhere(fixed.array > 250)[:, ::-1])
    before, after = (
        np.linalg.norm(each.apply_to_points(inside) - truth.apply_to_points(inside), axis=1).mean()
        for each in (last, found.transform)
    )
    assert before > 1.5
    assert after < 0.5 * before


def test_what_is_kept_of_the_fixed_scan_changes_nothing() -> None:
    fixed, *_ = small_pair()
    recipe = small_recipe()
    scans = [scan_moved_by(shift, 0.0, 1.0)[0] for shift in (2.0, 4.0)]
    kept = prepare_fixed(Request(fixed, scans[0], recipe))
    last = last_of(small_registration())
    for scan in scans:
        following = Following(Request(fixed, scan, recipe), last)
        with_it, without = follow(following, kept), follow(following)
        assert with_it.measures == without.measures
        np.testing.assert_array_equal(with_it.warped.array, without.warped.array)
    assert kept.side.keeping is not None
    made = kept.side.keeping.made(("scaled", *recipe.prepare.clamp), (kept.side.intensity, kept.side.known), dict)
    assert made is not None
    assert not isinstance(made, dict)  # it was there


def test_the_engine_takes_the_last_result_along() -> None:
    fixed, moving, *_ = small_pair()
    result = small_registration()
    arrays: Arrays = {}
    asked = Following(Request(fixed, moving, small_recipe()), last_of(result))
    sent = TRACK.unpack_request(TRACK.pack_request(asked, arrays), arrays)
    points = FIXED_GRID.corners()
    np.testing.assert_array_equal(sent.last.transform.apply_to_points(points), result.transform.apply_to_points(points))
    assert sent.last.searched == result.measures
    found = TRACK.run(sent, lambda *_told: None, lambda: False)
    assert error(found.transform, TRUTH) < 1.0


def test_with_foresight_a_scan_starts_from_where_it_is_expected() -> None:
    """The anatomy drifts by 4 mm a second; the third scan comes when it has moved on by 6 mm."""
    fixed, moving, *_ = small_pair()
    series = [DisplacementField(_shifted(step), FIXED_GRID) for step in (0.0, 4.0, 8.0)]
    foresight = Foresight(motion_model(series, FIXED_GRID), linear_extrapolation)
    tracker = Tracker(fixed, linear_recipe(), foresight=foresight)
    assert tracker.expected(1.0) is None
    first = tracker.register(moving, time=0.0)
    assert FORESEEN not in first.decisions
    tracker.register(scan_moved_by(4.0, 0.0, 0.0)[0], time=1.0)
    expected = tracker.expected(2.5)
    truth = scan_moved_by(10.0, 0.0, 0.0)[1]
    assert expected is not None
    assert error(expected, truth) < 2
    scan, truth = scan_moved_by(10.0, 0.0, 0.0)
    third = tracker.register(scan, time=2.5)
    assert FORESEEN in third.decisions
    assert error(third.transform, truth) < 1


def test_a_scan_that_comes_with_a_motion_and_what_was_seen_starts_from_where_it_is_expected() -> None:
    fixed, moving, *_ = small_pair()
    series = tuple(DisplacementField(_shifted(step), FIXED_GRID) for step in (0.0, 4.0, 8.0))
    request = Request(fixed, moving, linear_recipe())
    tracker = Tracker(fixed, linear_recipe())
    last, seen = last_of(tracker.register(moving)), ()
    for time, shift in ((0.0, 0.0), (1.0, 4.0), (2.5, 10.0)):
        scan, truth = scan_moved_by(shift, 0.0, 0.0)
        asked = Following(replace(request, moving=scan), last, Motion(series, "line", time, seen))
        result = follow_expected(asked)
        last, seen = last_of(result, last), (*seen, (time, *result.provenance[SCORES]))
        assert (FORESEEN in result.decisions) == (time > 0)
        assert error(result.transform, truth) < 1
    assert [round(abs(scores[1] - seen[0][1])) for scores in seen] == [0, 4, 10]
    with pytest.raises(InputError, match="order of time"):
        follow_expected(replace(asked, motion=Motion(series, "line", 2.5, seen)))


def test_foresight_needs_times_in_order() -> None:
    fixed, moving, *_ = small_pair()
    series = [DisplacementField(_shifted(step), FIXED_GRID) for step in (0.0, 4.0)]
    tracker = Tracker(fixed, linear_recipe(), foresight=Foresight(motion_model(series, FIXED_GRID), last_value))
    with pytest.raises(InputError, match="time of the scan is missing"):
        tracker.register(moving)
    tracker.register(moving, time=5.0)
    with pytest.raises(InputError, match="one before at 5 s"):
        tracker.register(moving, time=5.0)
    with pytest.raises(InputError, match="no motion model"):
        Tracker(fixed, linear_recipe()).expected(1.0)


def _shifted(step: float) -> np.ndarray:
    """Return the displacement of points of the fixed scan when the patient has moved along x."""
    return np.broadcast_to(np.array([step, 0, 0], np.float32), (*FIXED_GRID.shape, 3)).copy()
