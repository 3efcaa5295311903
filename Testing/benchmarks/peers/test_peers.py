"""The comparison with other tools: right scores for each, a failure is a row, an interrupted run goes on."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image
from DeepRegLib.transforms import DisplacementField, LinearTransform, write_transform
from Testing.benchmarks.__main__ import main
from Testing.benchmarks.cases import Case
from Testing.benchmarks.child import ROOT
from Testing.benchmarks.options import Options, PeerOptions
from Testing.benchmarks.peers import greedy, machine, measure, recipes, tools
from Testing.benchmarks.peers.job import NOT_INSTALLED
from Testing.benchmarks.peers.measure import LONG, enough, measured
from Testing.benchmarks.peers.scoring import Truth, folds, read_chain, score
from Testing.benchmarks.peers.store import Store
from Testing.benchmarks.peers.summary import BEFORE, Comparison
from Testing.benchmarks.peers.tools import DEEPREG, PEERS, Tool, deepreg
from Testing.synthetic import blobs, geometry_in, rotation

GRID = geometry_in("oblique", (20, 22, 18), (1.0, 1.5, 2.0))
VOXELS = np.array([3, 0, 2])  # how far the moving anatomy lies from the fixed one
SHIFT = GRID.index_to_world[:3, :3] @ VOXELS
ERROR = np.array([3.0, 4.0, 0.0])  # of the landmarks, in mm
LABEL = (slice(6, 12), slice(5, 15), slice(4, 14))  # k, j, i


def case_in(folder: Path) -> Path:
    """Write a case whose anatomy is translated by SHIFT, one label exactly so, and landmarks 5 mm off."""
    folder.mkdir(parents=True)
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[LABEL] = 1
    labels[2, 2, 2] = 7  # only in the fixed map: it does not count
    write_image(Image(labels, GRID), folder / "fixed_labels.nii.gz")
    write_image(Image(np.roll(labels % 7, VOXELS[::-1], axis=(0, 1, 2)), GRID), folder / "moving_labels.nii.gz")
    write_image(blobs(GRID), folder / "fixed.nii.gz")
    write_image(blobs(GRID, seed=1), folder / "moving.nii.gz")
    points = GRID.to_world(np.array([[5.0, 6.0, 7.0], [9.0, 8.0, 4.0]]))
    write_points(points, folder / "fixed_landmarks.csv")
    write_points(points + SHIFT + ERROR, folder / "moving_landmarks.csv")
    return folder


def write_points(points: np.ndarray, path: Path) -> None:
    path.write_text("x,y,z\n" + "\n".join(",".join(map(repr, point)) for point in points.tolist()))


def fake(variant: str, name: str = "") -> Tool:
    return Tool(name or variant, "Testing.benchmarks.peers.fake", variant=variant, about="a fake")


def exact(name: str = "exact") -> Tool:
    return fake(" ".join(map(repr, SHIFT.tolist())), name)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    case_in(tmp_path / "data" / "pair")
    return Options(data=tmp_path / "data", output=tmp_path / "out", repeats=1, peers=PeerOptions(threads=1, limit=60.0))


def rows_of(comparison: Comparison) -> dict[str, dict[str, Any]]:
    return {row["tool"]: row for row in comparison.rows}


def test_a_tool_with_the_true_transform_gets_the_scores_that_are_known(options):
    rows = rows_of(measured(options, [exact()]))
    assert rows["exact"]["Dice"] == 1.0
    assert rows["exact"]["TRE"] == pytest.approx(np.linalg.norm(ERROR), abs=1e-4)
    assert rows["exact"]["folds"] == rows["exact"]["folds outside"] == 0
    assert rows["exact"]["sd log J"] == pytest.approx(0, abs=1e-5)
    counts = np.array([s.stop - s.start for s in LABEL[::-1]])
    assert rows[BEFORE]["Dice"] == pytest.approx(np.prod((counts - VOXELS) / counts))
    assert rows[BEFORE]["TRE"] == pytest.approx(np.linalg.norm(SHIFT + ERROR), abs=1e-4)
    assert rows["exact"]["runs"][0]["peak GB"] > 0


def test_several_files_are_applied_in_their_order_to_fixed_points(tmp_path):
    matrix = np.diag([1.1, 0.9, 1.2, 1.0])
    matrix[:3, :3] = rotation([0.2, 0.1, -0.3]) @ matrix[:3, :3]
    field = np.full((*GRID.shape, 3), (1.0, -2.0, 3.0), dtype=np.float32)
    write_transform(DisplacementField(field, GRID), tmp_path / "first.nii.gz", GRID)
    write_transform(LinearTransform(matrix), tmp_path / "second.tfm")
    chain = read_chain([tmp_path / "first.nii.gz", tmp_path / "second.tfm"])
    point = GRID.to_world(np.array([6.0, 7.0, 8.0]))
    expected = matrix[:3, :3] @ (point + np.array([1.0, -2.0, 3.0]))
    np.testing.assert_allclose(chain.TransformPoint(point.tolist()), expected, atol=1e-4)


def test_folds_are_counted_in_the_foreground_and_outside():
    grid = Geometry((9, 9, 9), (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    inside = np.zeros(grid.shape, dtype=np.bool_)
    inside[:, :, :5] = True
    field = np.zeros((*grid.shape, 3))
    field[4, 4, 2, 0] = 2.0  # this voxel is thrown past its neighbour
    transform = sitk.DisplacementFieldTransform(sitk.GetImageFromArray(field, isVector=True))
    found = score(transform, Truth(grid, Image(inside, grid), None, None))
    assert 0 < found["folds"] < 30
    assert found["folds outside"] == 0
    assert found["voxels"] == inside.sum()
    assert "Dice" not in found
    turned = score(transform, Truth(grid, Image(~inside, grid), None, None))
    assert turned["folds"] == 0
    assert turned["folds outside"] == found["folds"]


def test_a_transform_that_is_not_finite_is_refused():
    grid = Geometry((4, 4, 4), (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    truth = Truth(grid, Image(np.ones(grid.shape, dtype=np.bool_), grid), None, None)
    with pytest.raises(ValueError, match="not finite"):
        score(sitk.TranslationTransform(3, (math.nan, 0.0, 0.0)), truth)


def test_whatever_happens_to_a_tool_is_a_row_and_the_others_go_on(options):
    elsewhere = dataclasses.replace(fake("elsewhere"), packages=("no-such-package",))
    ways = ("crash", "mistake", "missing", "garbage", "nothing")
    comparison = measured(options, [*map(fake, ways), elsewhere, exact()])
    errors = {name: row.get("error") for name, row in rows_of(comparison).items()}
    if sys.platform != "win32":
        assert errors["crash"] == "killed by SIGABRT"
    assert errors["mistake"] == "ValueError: the images have no contrast"
    assert errors["missing"].startswith(NOT_INSTALLED)
    assert errors["elsewhere"] == NOT_INSTALLED
    assert errors["garbage"] == errors["nothing"] == "SimpleITK cannot read the transform"
    assert errors["exact"] is None
    text = comparison.markdown()
    assert all(error in text for error in errors.values() if error)
    json.dumps(comparison.as_dict())


def test_a_tool_is_asked_for_the_way_back_and_for_a_scan_onto_itself_once(options):
    """The fake translates by SHIFT whatever it is given, so a point ends twice as far there and back."""
    both = dataclasses.replace(options, peers=dataclasses.replace(options.peers, both_ways=True))
    measured(options, [exact()])
    comparison = measured(both, [exact()])
    row = rows_of(comparison)["exact"]
    length = float(np.linalg.norm(SHIFT))
    assert row["both ways"]["swap mean"] == pytest.approx(2 * length, abs=1e-4)
    assert row["both ways"]["itself p99"] == pytest.approx(length, abs=1e-4)
    assert len(row["runs"]) == 2
    assert cells(comparison.markdown(), "pair | swapped") == [
        ["pair", "swapped, mm", f"{2 * length:.2f} / {2 * length:.2f}"]
    ]
    assert len(rows_of(measured(both, [exact()]))["exact"]["runs"]) == 2


def test_the_folds_of_a_delivered_inverse_are_counted_in_the_moving_anatomy():
    image = blobs(GRID)
    assert folds(sitk.TranslationTransform(3, (3.0, 0.0, 0.0)), image) == 0
    field = np.zeros((*GRID.shape, 3))
    field[9, 11, 10] = 40.0
    sampled = sitk.GetImageFromArray(field, isVector=True)
    sampled.SetSpacing(GRID.spacing)
    sampled.SetOrigin(GRID.origin)
    sampled.SetDirection(GRID.direction)
    assert folds(sitk.DisplacementFieldTransform(sampled), image) > 0


def test_a_tool_that_hangs_is_stopped(options):
    short = dataclasses.replace(options, peers=PeerOptions(threads=1, limit=1.0))
    assert rows_of(measured(short, [fake("hang")]))["hang"]["error"] == "not done after 1 s"


def test_a_second_run_measures_only_what_is_missing(options, monkeypatch):
    first = measured(options, [exact(), fake("crash")])
    started: list[str] = []
    run_fresh = measure.run_fresh

    def counted(module: str, *arguments: object, **named: Any) -> dict[str, Any]:
        started.append(str(arguments[5]))
        return run_fresh(module, *arguments, **named)

    monkeypatch.setattr(measure, "run_fresh", counted)
    assert list(measured(options, [exact(), fake("crash")]).rows) == list(first.rows)
    assert started == []
    twice = measured(dataclasses.replace(options, repeats=2), [exact()])
    assert len(rows_of(twice)["exact"]["runs"]) == 2
    assert len(started) == 1
    measured(options, [exact(), fake("0 0 0", "other")])
    assert started[1:] == ["0 0 0"]
    fresh = dataclasses.replace(options.peers, fresh=True)
    measured(dataclasses.replace(options, peers=fresh), [exact()])
    assert len(started) == 3


def test_no_runs_show_what_is_known_and_leave_out_what_is_not(options):
    measured(options, [exact()])
    known = measured(dataclasses.replace(options, repeats=0), [exact(), exact("other")])
    assert set(rows_of(known)) == {BEFORE, "exact"}
    assert not known.failed().rows
    assert "other" not in known.by_set().rows[0]


def test_results_may_be_kept_elsewhere(options, tmp_path):
    elsewhere = dataclasses.replace(options, peers=dataclasses.replace(options.peers, store=tmp_path / "kept.json"))
    measured(elsewhere, [exact()])
    assert len(Store(tmp_path / "kept.json").rows()) == 2
    assert not (options.output / "peers.json").exists()


def test_a_case_that_has_changed_is_measured_again(options):
    before = rows_of(measured(options, [exact()]))
    points = options.data / "pair" / "moving_landmarks.csv"
    write_points(np.zeros((2, 3)), points)
    after = rows_of(measured(options, [exact()]))
    assert after["exact"]["TRE"] > before["exact"]["TRE"] + 1
    assert len(Store(options.output / "peers.json").rows()) == 4


def test_an_empty_choice_keeps_what_has_been_measured(options):
    measured(options, [exact()])
    arguments = ["peers", "--data", str(options.data), "--output", str(options.output), "--tools", "deepreg"]
    assert main([*arguments, "--only", "no such case"]) == 0
    assert len(Store(options.output / "peers.json").rows()) == 2


def test_a_damaged_file_of_results_counts_as_empty(tmp_path):
    path = tmp_path / "peers.json"
    for text in ("{", "[]", '{"rows": [{"case": "a"}]}'):
        path.write_text(text)
        assert Store(path).rows() == []


def test_a_tool_that_scores_differently_each_time_gets_the_mean(options, monkeypatch):
    shifts = iter([SHIFT, SHIFT + np.array([0.0, 0.0, 2.0])])
    run_fresh = measure.run_fresh

    def drawn(module: str, *arguments: object, **named: Any) -> dict[str, Any]:
        variant = " ".join(map(repr, next(shifts).tolist()))
        return run_fresh(module, *arguments[:5], variant, *arguments[6:], **named)

    monkeypatch.setattr(measure, "run_fresh", drawn)
    row = rows_of(measured(dataclasses.replace(options, repeats=2), [fake("random")]))["random"]
    expected = (np.linalg.norm(ERROR) + np.linalg.norm(ERROR + np.array([0.0, 0.0, 2.0]))) / 2
    assert row["TRE"] == pytest.approx(expected, abs=1e-4)
    assert row["folds"] == 0


def test_runs_are_repeated_until_they_are_many_or_long():
    def row(*seconds: float, **more: object) -> dict[str, Any]:
        return {"runs": [{"seconds": {"register": s}} for s in seconds], **more}

    assert not enough(row(), 1, 60)
    assert enough(row(5), 1, 60)
    assert not enough(row(5), 3, 60)
    assert enough(row(LONG + 1), 3, 60)
    assert enough(row(error="not done after 60 s", limit=60.0), 1, 60)
    assert not enough(row(error="not done after 60 s", limit=60.0), 1, 120)


def comparison_of(tmp_path: Path, scores: dict[str, dict[str, dict[str, Any]]], names: tuple[str, ...]) -> Comparison:
    """Return a comparison with rows made by hand: case, tool, what the row holds."""
    rows = [
        {"case": case, "tool": tool, "version": "1", "options": {}, "runs": [], **content}
        for case, of_case in scores.items()
        for tool, content in of_case.items()
    ]
    for case in scores:
        (tmp_path / case).mkdir()
    return Comparison([Case(tmp_path / case) for case in scores], [fake(name) for name in names], rows, rows, 2)


def cells(table: str, start: str) -> list[list[str]]:
    """Return the cells of the table rows that begin with a text."""
    lines = [line for line in table.splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_tables_show_what_was_lost_and_what_was_won(tmp_path):
    scores = {
        "heart_1": {BEFORE: {"Dice": 0.5}, DEEPREG: {"Dice": 0.80}, "greedy": {"Dice": 0.82}, "elastix": {"Dice": 0.7}},
        "heart_2": {
            BEFORE: {"Dice": 0.5},
            DEEPREG: {"Dice": 0.90, "sd log J": 0.25, "both ways": {"swap mean": 1.234, "swap p99": 5.0}},
            "greedy": {"Dice": 0.80},
            "elastix": {"error": "x"},
        },
        "spine_1": {BEFORE: {"Dice": 0.7}, DEEPREG: {"Dice": 0.6}, "greedy": {"Dice": 0.1}},
        "liver_1": {BEFORE: {"TRE": 9.0}, DEEPREG: {"TRE": 3.0}, "greedy": {"TRE": 2.5}, "elastix": {"TRE": 4.0}},
    }
    comparison = comparison_of(tmp_path, scores, (DEEPREG, "greedy", "elastix"))
    lost = comparison.lost().markdown()
    assert cells(lost, "heart") == [["heart_1", "Dice", "greedy", "0.820", "0.800", "0.020"]]
    assert cells(lost, "liver") == [["liver_1", "TRE mm", "greedy", "2.50", "3.00", "0.50"]]
    assert cells(lost, "spine") == [["spine_1", "Dice", BEFORE, "0.700", "0.600", "0.100"]]
    sets = comparison.by_set().markdown()
    assert cells(sets, "heart") == [
        ["heart", "2", "Dice", "0.500", "**0.850**", "0.810", "0.600 (1 failed)", "reached (+0.040)"]
    ]
    assert cells(sets, "spine")[0][4:7] == ["**0.600**", "0.100", "-"]
    assert cells(sets, "liver")[0][-1] == "BELOW (-0.50)"
    assert cells(comparison.by_pair().markdown(), "heart_2")[0][6:] == ["0.250", "1.23"]
    assert cells(comparison.by_pair().markdown(), "heart_2")[0][3:6] == ["**0.900**", "0.800", "-"]


RECIPES = ("auto", "affine", "fast")


def recipe_comparison(tmp_path: Path, scores: dict[str, dict[str, dict[str, Any]]]) -> Comparison:
    """Return a comparison of recipes with rows made by hand: case, recipe, what the row holds."""
    names = {"auto": DEEPREG, **{name: f"{DEEPREG}:{name}" for name in RECIPES[1:]}}
    named = {case: {names.get(name, name): row for name, row in rows.items()} for case, rows in scores.items()}
    made = comparison_of(tmp_path, named, tuple(names.values()))
    return dataclasses.replace(made, tools=[deepreg(recipe, name) for recipe, name in names.items()])


def test_auto_is_judged_by_the_best_recipe_of_each_set(tmp_path):
    heart = {BEFORE: {"Dice": 0.5}, "auto": {"Dice": 0.80}, "affine": {"Dice": 0.60}, "fast": {"Dice": 0.81}}
    liver = {BEFORE: {"TRE": 9.0}, "auto": {"TRE": 3.0}, "affine": {"TRE": 2.5}, "fast": {"error": "x"}}
    spine = {BEFORE: {"Dice": 0.7}, "auto": {"error": "x"}, "affine": {"Dice": 0.9}, "fast": {"Dice": 0.8}}
    table = recipes.recipe_table(recipe_comparison(tmp_path, {"heart_1": heart, "liver_1": liver, "spine_1": spine}))
    text = table.markdown()
    assert cells(text, "heart") == [
        ["heart", "1", "Dice", "0.500", "0.800", "0.600", "**0.810**", "within (-0.010, fast)"]
    ]
    assert cells(text, "liver")[0][4:] == ["3.00", "**2.50**", "9.00", "BEHIND (-0.50, affine)"]
    assert cells(text, "spine")[0][4:] == ["0.700", "**0.900**", "0.800", "BEHIND (-0.200, affine)"]
    assert table.passed is False


def test_auto_passes_only_when_all_recipes_have_run_on_all_sets(tmp_path):
    heart = {BEFORE: {"Dice": 0.5}, "auto": {"Dice": 0.80}, "affine": {"Dice": 0.60}, "fast": {"Dice": 0.79}}
    (tmp_path / "all").mkdir()
    every = recipes.recipe_table(recipe_comparison(tmp_path / "all", {"heart_1": heart}))
    assert every.passed is True
    assert "Every recipe ran on every set" in every.markdown()
    (tmp_path / "some").mkdir()
    some = recipes.recipe_table(
        recipe_comparison(tmp_path / "some", {"heart_1": heart, "liver_1": {BEFORE: {"TRE": 9}}})
    )
    assert some.passed is None
    assert "Those with a dash have not run on the whole set yet" in some.markdown()
    assert cells(some.markdown(), "liver")[0][4:] == ["-", "-", "-", "-"]


def test_recipes_share_the_results_of_peers_and_their_page(options, monkeypatch, tmp_path):
    made = {"auto": exact(DEEPREG), "fast": fake("0 0 0", f"{DEEPREG}:fast")}
    monkeypatch.setattr(recipes, "recipe_tools", made.values)
    (options.data / "without truth").mkdir()
    for side in ("fixed", "moving"):
        shutil.copy(options.data / "pair" / f"{side}.nii.gz", options.data / "without truth")
    kept = tmp_path / "kept.json"
    folders = ["--data", str(options.data), "--output", str(options.output), "--store", str(kept)]
    assert main(["recipes", *folders, "--repeats", "3", "--threads", "1"]) == 1  # the identity has the smaller TRE
    rows = [row for row in Store(kept).rows() if row["tool"] != BEFORE]
    assert [(row["case"], row["tool"], len(row["runs"])) for row in rows] == [
        ("pair", DEEPREG, 1),
        ("pair", f"{DEEPREG}:fast", 1),
    ]
    assert main(["peers", *folders, "--repeats", "0", "--threads", "1", "--tools", "greedy"]) == 0
    page = kept.with_suffix(".md").read_text(encoding="utf-8")
    assert recipes.TITLE in page
    table = page.partition(recipes.TITLE)[2]
    assert [row[-1] for row in cells(table, "pair |")] == ["within (+0.533, fast)", "BEHIND (-1.97, fast)"]


def test_auto_comes_first_and_every_shipped_recipe_beside_it():
    made = recipes.recipe_tools()
    assert (made[0].name, made[0].variant) == (DEEPREG, "auto")
    assert {(tool.name, tool.variant) for tool in made[1:]} >= {
        ("deepreg:fast", "fast"),
        ("deepreg:abdomen", "abdomen"),
    }


def test_times_are_medians_and_those_of_a_busy_machine_are_marked(tmp_path):
    def runs(*seconds: float, others: float = 0.0) -> dict[str, Any]:
        return {
            "runs": [{"seconds": {"register": s}, "whole": s + 3, "others": others, "peak GB": s / 10} for s in seconds]
        }

    scores = {"heart_1": {BEFORE: {}, DEEPREG: runs(1, 2, 9), "greedy": runs(8, others=0.5), "elastix": {"error": "x"}}}
    table = comparison_of(tmp_path, scores, (DEEPREG, "greedy", "elastix")).cost().markdown()
    assert cells(table, "heart_1") == [
        ["heart_1", "seconds", "2.0", "8.0~", "-"],
        ["heart_1", "whole process", "5.0", "11.0", "-"],
        ["heart_1", "of DeepReg's", "-", "4 x", "-"],
        ["heart_1", "peak GB", "0.90", "0.80", "-"],
    ]


def test_the_share_of_other_processes_is_known_or_not_said():
    with machine.watched() as watch:
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert watch.seconds > 0
    assert watch.others is not None or sys.platform != "linux"
    assert watch.others is None or 0 <= watch.others <= 1


def test_the_kernels_ticks_count_once_and_idle_ones_not_at_all():
    ticks = "cpu  100 5 50 1000 20 3 2 10 40 1\ncpu0 50 5 25 500 10 3 2 5 20 1\n"
    assert machine._worked(ticks, 100) == pytest.approx(1.7)


@pytest.mark.parametrize("name", sorted({tool.family for tool in PEERS} | {"fake"}))
def test_a_tools_script_can_be_read_by_a_python_without_packages(name):
    code = f"import Testing.benchmarks.peers.{name}"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=True, timeout=60)


def test_greedys_matrix_is_the_same_map_in_lps(tmp_path):
    ras = np.eye(4)
    ras[:3] = np.column_stack([rotation([0.3, -0.2, 0.5]) * 1.1, [4.0, -5.0, 6.0]])
    np.savetxt(tmp_path / "affine.mat", ras)
    found = sitk.ReadTransform(str(greedy.itk_file(tmp_path / "affine.mat")))
    point = np.array([10.0, 20.0, -30.0])
    flip = np.array([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(found.TransformPoint(point.tolist()), flip * (ras[:3, :3] @ (flip * point) + ras[:3, 3]))


def test_greedy_takes_a_level_less_where_there_are_few_slices():
    assert [greedy.levels(voxels) for voxels in (200, 16, 15, 8, 7, 1)] == [3, 3, 2, 2, 1, 1]


def test_tools_are_chosen_by_name_and_deepreg_by_recipe():
    assert [tool.name for tool in tools.tools_named("", "auto")] == [DEEPREG, *(tool.name for tool in PEERS)]
    greedy_and_fast = tools.tools_named("greedy,deepreg:fast", "auto")
    assert [(tool.name, tool.variant) for tool in greedy_and_fast] == [("greedy", ""), ("deepreg:fast", "fast")]
    with pytest.raises(ValueError, match="no tool crayon"):
        tools.tools_named("crayon", "auto")


def test_another_interpreter_is_named_for_a_script(capsys, monkeypatch, tmp_path):
    tool = PEERS[0]
    assert tools.interpreter(tool, {tool.family: "/there/python"}) == "/there/python"
    monkeypatch.setattr(tools, "ENVIRONMENTS", tmp_path)
    assert tools.interpreter(tool, {}) == sys.executable
    tools.environment(tool).parent.mkdir(parents=True)
    tools.environment(tool).touch()
    assert tools.interpreter(tool, {}) == str(tools.environment(tool))
    assert tools.interpreter(deepreg("auto"), {}) == sys.executable
    assert tools.version_of(tool, str(tmp_path / "no python")) is None
    with pytest.raises(SystemExit):
        main(["peers", "--python", "crayon=/there/python"])
    assert "crayon" in capsys.readouterr().err


def test_a_tool_that_cannot_be_installed_is_said_and_the_others_go_on(options, monkeypatch, capsys):
    nowhere = dataclasses.replace(fake("nowhere"), packages=("no-such-package",), requirement="no-such-package")
    monkeypatch.setattr(measure, "tools_named", lambda *_: (nowhere, exact()))
    monkeypatch.setattr(measure, "install", lambda tool: f"no {tool.requirement} for this machine")
    chosen = dataclasses.replace(options, peers=dataclasses.replace(options.peers, install=True))
    rows = rows_of(measure.measure(chosen))
    assert "nowhere could not be installed: no no-such-package for this machine" in capsys.readouterr().out
    assert rows["nowhere"]["error"] == NOT_INSTALLED
    assert rows["exact"]["Dice"] == 1.0


def test_what_decides_a_result_and_nothing_else_makes_deepregs_rows_stale(tmp_path):
    shutil.copytree(ROOT / "DeepRegLib", tmp_path / "DeepRegLib", ignore=shutil.ignore_patterns("__pycache__"))

    def counts(path: str) -> bool:
        before = tools.library_hash("auto", tmp_path)
        with (tmp_path / "DeepRegLib" / path).open("a", encoding="utf-8") as file:
            file.write("# changed")
        return tools.library_hash("auto", tmp_path) != before

    assert all(map(counts, ("optimization/deformable.py", "similarity/lncc.py", "recipes/auto.toml")))
    others = ("recipes/fast.toml", "judgement.py", "panel/registration_section.py", "cli/app.py", "engine/server.py")
    assert not any(map(counts, (*others, "report/template.html.j2")))


def test_the_recipe_is_part_of_the_version(tmp_path):
    assert tools.library_hash("auto") != tools.library_hash("fast")
    own = tmp_path / "own.toml"
    own.write_text("[deformable]\n")
    before = tools.library_hash(str(own))
    own.write_text("[deformable]\nradius = 1\n")
    assert tools.library_hash(str(own)) != before


@pytest.mark.slow
def test_a_registration_loads_no_source_that_the_hash_leaves_out(tmp_path):
    read, write = tmp_path / "files.txt", tmp_path / "transform.h5"
    code = f"""
import sys
from dataclasses import replace
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Search, load_recipe
from DeepRegLib.transforms import write_transform
from Testing.synthetic import blobs, geometry_in
images = [blobs(geometry_in("LPS", (20, 22, 18), 2.0), seed=seed) for seed in (0, 1)]
auto = load_recipe("auto")
linear, deformable = replace(auto.linear, iterations=1), replace(auto.deformable, iterations=(1, 1, 1, 1))
recipe = replace(auto, search=Search(angle=90, candidates=1), linear=linear, deformable=deformable)
write_transform(register(*images, recipe=recipe).transform, {str(write)!r})
files = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "DeepRegLib"]
open({str(read)!r}, "w").write("\\n".join(files))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
    assert write.is_file()
    loaded, counted = set(map(Path, read.read_text().splitlines())), set(tools.registration_files())
    assert counted <= loaded
    judging = {path.relative_to(ROOT / "DeepRegLib").as_posix() for path in loaded - counted}
    evaluating = {name for name in judging if name.startswith("evaluation/")}
    assert judging - evaluating == {
        *("carried.py", "extras.py", "finishing.py", "judgement.py", "pipeline.py", "propagation.py", "provenance.py"),
        *("registration.py", "result.py", "trust_map.py", "verdict.py", "versions.py"),
    }


def test_the_scripts_of_all_tools_are_there():
    assert all(tool.script.is_file() for tool in (deepreg("auto"), *PEERS))


def test_cases_come_in_sets(tmp_path):
    def named(name: str, **content: str) -> Case:
        (tmp_path / name).mkdir()
        if content:
            (tmp_path / name / "case.json").write_text(json.dumps(content))
        return Case(tmp_path / name)

    assert named("brain_t1_a_b").set_name() == "brain with labels"
    assert named("knee_a_b").set_name() == "knee"
    assert named("spine_a", kind="multimodal").set_name() == "multimodal"
    assert named("spine_b", kind="multimodal", set="cord").set_name() == "cord"
    assert named("spine_c", kind="multimodal").is_multimodal()
    assert not named("spine_d").is_multimodal()


def test_what_an_earlier_version_measured_is_shown_and_marked_as_such(options):
    measured(options, [exact()])
    path = options.output / "peers.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    for row in rows:
        row["version"] = row["version"] and "long ago"
    path.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    gone = dataclasses.replace(exact(), packages=("no-such-package",))
    for tool in (exact(), gone):
        comparison = measured(dataclasses.replace(options, repeats=0), [tool])
        assert rows_of(comparison)["exact"]["Dice"] == 1.0
        text = comparison.markdown()
        assert "**exact** long ago" in text
        assert "**1.000**†" in text
        assert "†: measured earlier" in text
        assert NOT_INSTALLED not in text
