"""The benchmarks measure what they say: poses with a known truth, tables that add up, no data no failure."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from DeepRegLib.transforms import apply_to_image
from Testing.benchmarks import repeat, speed, transport
from Testing.benchmarks.__main__ import PARTS, main, parsed
from Testing.benchmarks.cancel import PollWatch
from Testing.benchmarks.child import ROOT, peak_memory, run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.poses import LARGEST_CUT, LARGEST_SHIFT, moved_grid, random_pose
from Testing.benchmarks.tables import Table
from Testing.engine.fakes import hand_made_registration, tiny_image
from Testing.requests import request_of
from Testing.synthetic import CENTRE, blobs, geometry_in, trilinear

NEED_NO_SCANS = ("transport", "forward", "motion", "fuzz", "kills", "hostile")


def test_without_data_it_says_so_and_succeeds(tmp_path, capsys):
    assert main(["poses", "--data", str(tmp_path / "nothing"), "--output", str(tmp_path)]) == 0
    assert "are not at" in capsys.readouterr().out


@pytest.mark.parametrize("part", [part for part in PARTS if part not in NEED_NO_SCANS])
def test_an_empty_folder_gives_an_empty_table(part, tmp_path):
    table = PARTS[part](Options(data=tmp_path, output=tmp_path))
    assert table.passed is None
    assert "no case" in table.markdown()


def test_what_takes_long_runs_only_if_it_is_named():
    assert set(PARTS) - set(parsed([])[1]) == {
        "symmetry",
        "segmentation",
        "networks",
        "translation",
        "ultrasound",
        "phantoms",
        "conebeam",
        "carrying",
        "labels",
        "segment-tab",
        "series",
        "tracking",
        "motion",
        "cohort",
        "fuzz",
        "verdict",
        "trust",
        "capture",
        "contrast",
        "described",
        "explained",
        "gain",
        "scaling",
        "recipes",
        "candidates",
        "adapted",
        "adversarial",
    }
    assert parsed(["scaling", "--sizes", "64,96"])[1] == ["scaling"]
    assert parsed(["scaling", "--sizes", "64,96"])[0].sizes == (64, 96)


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["juggling"])
    assert "juggling" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_scan_shows_the_same_anatomy_at_the_true_place(seed):
    rng = np.random.default_rng(seed)
    scan = blobs(geometry_in("oblique", (30, 32, 28), 2.0))
    truth, angle, shift = random_pose(rng, CENTRE)
    assert 0 <= angle <= 180
    assert 0 <= shift <= LARGEST_SHIFT
    np.testing.assert_allclose(np.linalg.norm(truth.apply_to_points(CENTRE) - CENTRE), shift)
    cut = LARGEST_CUT
    moved = apply_to_image(truth.inverse(), scan, moved_grid(scan.geometry, truth, cut, rng))
    points = scan.geometry.points()[10:18:2, 10:22:3, 10:20:2].reshape(-1, 3)
    index = moved.geometry.to_index(truth.apply_to_points(points))
    seen = np.all((index > 0) & (index < np.array(moved.geometry.size) - 1), axis=1)
    assert seen.any()
    expected = trilinear(scan.array, scan.geometry.to_index(points))
    assert np.abs(trilinear(moved.array, index) - expected)[seen].max() < 60
    lengths = sorted(moved.geometry.size)
    assert lengths[0] == lengths[2] - round(cut * lengths[2])


def test_tables_show_every_row():
    table = Table("T", ("a", "b"), [{"a": 1.23456, "b": "x"}, {"a": math.nan}], ("Sum.",), passed=False)
    lines = table.markdown().splitlines()
    assert lines[0] == "## T"
    assert [cell.strip() for cell in lines[4].strip("|").split("|")] == ["1.235", "x"]
    assert [cell.strip() for cell in lines[5].strip("|").split("|")] == ["-", "-"]
    assert lines[-1] == "FAILED."


def test_the_speed_table_judges_the_median():
    runs = [{"run": n, "deformable": d, "total": 30.0, "peak GB": 1.0} for n, d in enumerate((14.0, 14.5, 99.0))]
    assert speed.summed_up("pair", runs).passed
    assert not speed.summed_up("pair", [*runs, {"run": 3, "error": "gone"}]).passed
    assert not speed.summed_up("pair", [{"run": 0, "error": "gone"}]).passed


def test_repeatability_compares_hashes_and_tells_errors():
    assert repeat.compared([{"hashes": ["a", "a"]}, {"hashes": ["a"]}]) == {"same process": True, "other process": True}
    assert not repeat.compared([{"hashes": ["a", "b"]}, {"hashes": ["a"]}])["same process"]
    assert repeat.compared([{"error": "gone"}, {"hashes": ["a"]}]) == {"error": "gone"}


def test_a_child_that_fails_is_a_row():
    assert "error" in run_fresh("Testing.benchmarks.no_such_module", limit=60)
    assert run_fresh("json.tool", limit=0.001) == {"error": "not done after 0 s"}


@pytest.mark.skipif(sys.platform != "linux", reason="the other systems do not say what part of it is the parent's")
def test_the_peak_memory_of_a_child_is_its_own(tmp_path):
    ballast = np.ones(100_000_000)
    del ballast
    answer = tmp_path / "answer"
    code = f"from Testing.benchmarks.child import peak_memory; open({str(answer)!r}, 'w').write(str(peak_memory()))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert 0 < float(answer.read_text()) < 0.2
    assert peak_memory() > 0.8


def test_the_longest_time_between_two_polls_is_found_stage_by_stage():
    now = [0.0]
    watch = PollWatch(clock=lambda: now[0], cpu_clock=lambda: 2 * now[0])
    for stage, seconds in (("prepare", 0.1), ("prepare", 0.5), ("prepare", 0.2), ("judge", 0.05), ("judge", 0.3)):
        assert watch.cancel() is False
        watch.progress(stage, 0.0, None, None)
        now[0] += seconds
    watch.finish()
    prepare, judge = watch.gaps["prepare"], watch.gaps["judge"]
    assert (prepare.seconds, prepare.cpu, prepare.polls) == (pytest.approx(0.5), pytest.approx(1.0), 3)
    assert judge.seconds == pytest.approx(0.3)
    assert prepare.begin.startswith("test_benchmarks:")
    assert judge.end == "the end"


def test_the_echo_returns_a_result_of_the_usual_size_for_the_pair_it_was_given():
    fixed, moving = transport.speckle((4, 5, 6), "fixed"), transport.speckle((4, 5, 6), "moving")
    told = []
    prepared = hand_made_registration(tiny_image(), tiny_image())
    request = request_of(fixed, moving, "rigid")
    result = transport.echo(prepared, request, lambda *report: told.append(report), lambda: False)
    assert (result.fixed, result.warped) == (fixed, moving)
    assert [report[0] for report in told] == ["prepare"]
    rows = [{"there and back": 9.0, "first word": 9.0, "longest poll": 9.0}]
    rows += [{"there and back": 0.3, "first word": 0.1, "longest poll": 0.02}] * 2
    assert transport.summed_up(rows).passed
    assert not transport.summed_up([*rows, rows[0], rows[0], rows[0]]).passed
