"""The benchmarks of a model measure what they say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.recipes import load_recipe
from DeepRegLib.transforms import LinearTransform
from Testing.benchmarks.cases import Case
from Testing.benchmarks.learned import candidates, capture, contrast, described, explained, forward
from Testing.benchmarks.learned.variants import HALF_WITH, WITH, WITHOUT, variants
from Testing.synthetic import blobs, geometry_in, trilinear


@pytest.mark.parametrize("error", [5.0, 20.0])
def test_a_deformed_scan_shows_the_same_anatomy_at_the_true_place_as_far_away_as_wanted(error):
    scan = blobs(geometry_in("LPS", (40, 42, 38), 3.0))
    moved, truth, points = capture.deformed(scan, error, seed=1)
    before = np.linalg.norm(
        truth.apply_to_points(capture.foreground_points(scan)) - capture.foreground_points(scan), axis=1
    )
    assert before.mean() == pytest.approx(error, rel=0.05)
    expected = trilinear(scan.array, scan.geometry.to_index(points))
    found = trilinear(moved.array, scan.geometry.to_index(truth.apply_to_points(points)))
    contrast_of = np.percentile(scan.array, 99) - np.percentile(scan.array, 1)
    assert np.abs(found - expected).mean() < 0.1 * contrast_of
    assert len(points) > 20
    assert capture.inside(scan.geometry, points).all()
    assert capture.inside(scan.geometry, truth.apply_to_points(points)).all()
    assert not capture.distances(truth, truth, points).any()
    still = LinearTransform.identity()
    np.testing.assert_array_equal(capture.distances(truth, still, points), capture.distances(truth, None, points))


def test_the_share_that_comes_home_is_counted_by_how_far_away_it_began():
    near = {WITHOUT: 1.0, WITH: 1.9, f"home {WITHOUT}": 0.9, f"home {WITH}": 0.8}
    far = near | {WITHOUT: np.inf, f"home {WITHOUT}": 0.0}
    asked = [row | {"mm asked": error} for error in capture.ERRORS_MM for row in (near, near)]
    sentences = capture.summed_up([*asked[:-1], far | {"mm asked": capture.ERRORS_MM[-1]}])
    assert sentences[0] == (
        f"From 5 mm below 2 mm: {WITHOUT} 2/2 scans on average, 90% of their points; "
        f"{WITH} 2/2 scans on average, 80% of their points."
    )
    assert f"{WITHOUT} 1/2 scans on average, 45% of their points" in sentences[3]


@pytest.mark.parametrize(("name", "rising", "falling"), [("dimmed", 63, 0), ("turned", 16, 47), ("crooked", 31, 32)])
def test_the_curves_are_brighter_for_brighter_darker_for_brighter_and_neither(name, rising, falling):
    ramp = Image(np.linspace(0, 1000, 4**3, dtype=np.float32).reshape(4, 4, 4), Geometry((4, 4, 4)), "ramp")
    values = contrast.with_curve(ramp, contrast.CURVES[name]).array.ravel()
    steps = np.diff(values[: np.searchsorted(ramp.array.ravel(), np.percentile(ramp.array, 99.5))])
    assert values[0] == 0, "air stays black"
    assert (steps > 0).sum() == pytest.approx(rising, abs=2)
    assert (steps < 0).sum() == pytest.approx(falling, abs=2)


def test_the_variants_differ_in_nothing_but_what_they_are_named_after():
    found, auto = variants("auto", "tiny"), load_recipe("auto")
    assert found[WITHOUT].model.name == ""
    assert found[WITHOUT].deformable == found[WITH].deformable == auto.deformable
    assert found[HALF_WITH].model == found[WITH].model == replace(auto.model, name="tiny")
    assert sum(found[HALF_WITH].deformable.iterations) == sum(auto.deformable.iterations) // 2


def test_one_run_that_failed_is_not_hidden_by_the_others():
    answers = [{"seconds": 2.0}, {"seconds": 4.0}, {"seconds": 3.0}]
    assert forward.middle(answers) == {"seconds": 3.0}
    assert forward.middle([*answers, {"error": "killed"}]) == {"error": "killed"}


def test_every_second_case_of_a_set_is_held_back_and_one_that_is_alone(tmp_path):
    names = ("hippocampus_a", "hippocampus_b", "hippocampus_c", "hippocampus_d", "knee_a")
    cases = [Case(tmp_path / name) for name in names]
    kept = candidates.held_back(cases)
    assert [case.name for case in kept] == ["hippocampus_b", "hippocampus_d", "knee_a"]
    assert [case.name for case in candidates.one_of_a_kind(kept)] == ["hippocampus_b", "knee_a"]


def test_candidates_are_summed_up_by_what_they_reach_how_well_they_end_and_time():
    rows = [
        {"candidate": "a", "mm left": 1.0, "CPU seconds": 2.0},
        {"candidate": "a", "mm left": 5.0, "CPU seconds": 2.0},
        {"candidate": "a", "Dice": 0.8, "TRE (mm)": None, "CPU seconds": 5.0},
        {"candidate": "b", "mm left": np.inf, "CPU seconds": 1.0},
    ]
    first, second = candidates.summed_up(rows)
    assert first == ("a: 1 of 2 deformed scans below 2 mm, 3.00 mm left on average, mean Dice 0.800, 3.0 CPU s each.")
    assert second.startswith("b: 0 of 1 deformed scans below 2 mm, inf mm left")


def test_learned_features_are_set_beside_the_best_that_needs_no_training():
    found = {"mind": {"Dice": 0.7}, "ngf": {"Dice": 0.8}, "features": {"Dice": 0.6}}
    rows = [{"pair": "spine", "similarity": name, "TRE (mm)": None, **values} for name, values in found.items()]
    assert described.summed_up(rows) == ["spine: Dice 0.600 by learned features, 0.800 by ngf."]
    recipe = described.by("features", load_recipe("auto"), "any-contrast")
    assert (recipe.deformable.similarity, recipe.deformable.features) == ("features", "any-contrast")
    assert described.by("mind", load_recipe("auto"), "any-contrast").deformable.features == ""


def test_only_the_pair_of_one_contrast_is_given_another():
    scan = blobs(geometry_in("LPS", (12, 12, 12), 2.0))

    def named(name):
        return SimpleNamespace(name=name, images=lambda: (scan, scan))

    np.testing.assert_array_equal(described.unlike(named("spine"))[1].array, scan.array)
    fixed, moving = described.unlike(named(described.TURNED))
    inside = scan.array > np.percentile(scan.array, 60)
    assert explained.rank_correlation(fixed.array[inside], moving.array[inside]) < -0.9


def test_maps_are_read_at_points_and_compared_by_rank():
    image = Image(np.arange(24.0, dtype=np.float32).reshape(2, 3, 4), geometry_in("RAS", (4, 3, 2), 2.0), "map")
    points = image.geometry.to_world(np.array([[3, 2, 1], [0, 1, 0]])) + 0.4
    np.testing.assert_array_equal(explained.at_points(image, points), [23.0, 4.0])
    first = np.array([1.0, 5.0, 2.0, 2.0])
    assert explained.rank_correlation(first, np.exp(first)) == pytest.approx(1.0)
    assert explained.rank_correlation(first, -(first**3)) == pytest.approx(-1.0)


def test_a_scan_too_small_for_a_motion_is_left_out_of_the_means():
    scan = blobs(geometry_in("LPS", (24, 24, 24), 2.0))
    rows = list(candidates.reached("none", lambda *_: LinearTransform.identity(), small_case(scan)))
    assert len(rows) < len(capture.ERRORS_MM)
    assert all(np.isfinite(row["mm left"]) for row in rows)


def small_case(scan):
    return SimpleNamespace(name="small", images=lambda: (scan, scan))


def test_a_model_alone_brings_a_deformed_scan_nearer():
    scan = blobs(geometry_in("LPS", (40, 42, 38), 3.0))
    moved, truth, points = capture.deformed(scan, 8.0, seed=1)
    found = candidates.alone("anatomy")(scan, moved)
    assert capture.distances(truth, found, points).mean() < 0.7 * capture.distances(truth, None, points).mean()
