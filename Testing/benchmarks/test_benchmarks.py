"""The benchmarks measure what they say: poses with a known truth, tables that add up, no data no failure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from DeepRegLib.transforms import apply_to_image
from Testing.benchmarks import repeat, speed
from Testing.benchmarks.__main__ import PARTS, main
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.poses import LARGEST_CUT, LARGEST_SHIFT, moved_grid, random_pose
from Testing.benchmarks.tables import Table
from Testing.synthetic import CENTRE, blobs, geometry_in, trilinear


def test_without_data_it_says_so_and_succeeds(tmp_path, capsys):
    assert main(["poses", "--data", str(tmp_path / "nothing"), "--output", str(tmp_path)]) == 0
    assert "are not at" in capsys.readouterr().out


@pytest.mark.parametrize("part", PARTS)
def test_an_empty_folder_gives_an_empty_table(part, tmp_path):
    table = PARTS[part](Options(data=tmp_path, output=tmp_path))
    assert table.passed is None
    assert "no case" in table.markdown()


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
