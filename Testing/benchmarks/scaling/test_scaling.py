"""Time and memory against size: the floor counts what is moved, a rerun fills in what is missing, limits are judged."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DeepRegLib.image import Image, write_image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes.model import DEFORMABLE_SIMILARITIES
from DeepRegLib.stages import initialisation as stage_of_descent
from Testing.benchmarks.__main__ import main
from Testing.benchmarks.cases import Case
from Testing.benchmarks.options import Options, PeerOptions
from Testing.benchmarks.peers.store import Store
from Testing.benchmarks.scaling import measure
from Testing.benchmarks.scaling.bandwidth import measure_copy
from Testing.benchmarks.scaling.cube import cube
from Testing.benchmarks.scaling.floor import FIXED, bytes_per_voxel, floor_seconds
from Testing.benchmarks.scaling.measure import chosen_cases, core_counts, planned
from Testing.benchmarks.scaling.page import BRAIN, CT, LIMIT_GB, Run, Scaling
from Testing.benchmarks.scaling.plot import draw
from Testing.benchmarks.scaling.run import deformable_stage
from Testing.small import small_pair, small_recipe
from Testing.synthetic import blobs, geometry_in, trilinear

LEVELS = [{"voxels": 1000, "iterations": 100}, {"voxels": 8000, "iterations": 20}]


@pytest.mark.parametrize(
    ("similarity", "features", "contrasts"),
    [("lncc", 1, 1), ("ncc", 1, 1), ("lncc+ngf", 2, 2), ("mind", 12, 1), ("features", 16, 16)],
)
def test_the_floor_counts_every_tensor_of_an_iteration_once(similarity, features, contrasts):
    image, field = (np.zeros((n, n, n), dtype=np.float32) for n in (16, 8))
    weight = image
    moving = warped = [image] * contrasts
    fixed = [image] * features
    u = force = first = update = [field] * 3
    second = [field]
    passes = (
        [*u, *moving, *warped],
        [*warped, *fixed, weight, *force],
        [*force, *force],
        [*force, *first, *second, *first, *second, *update],
        [*update, *u, *u],
        [*u, *u],
    )
    moved = sum(array.nbytes for arrays in passes for array in arrays)
    assert bytes_per_voxel(similarity) * image.size == moved
    levels = [{"voxels": image.size, "iterations": 5}, {"voxels": 2 * image.size, "iterations": 3}]
    assert floor_seconds(levels, similarity, 1e9) == pytest.approx(11 * moved / 1e9)


def test_whatever_may_be_compared_has_a_floor():
    assert set(FIXED) == set(DEFORMABLE_SIMILARITIES)


def test_the_levels_are_those_that_were_run(monkeypatch):
    run: list[tuple[int, ...]] = []
    register_deformable = stage_of_descent.register_deformable

    def watched(levels: Any, *arguments: Any, **named: Any) -> Any:
        fit = register_deformable(levels, *arguments, **named)
        run.extend((lv.fixed.intensity.numel(), len(curve)) for lv, curve in zip(levels, fit.curves, strict=True))
        return fit

    monkeypatch.setattr(stage_of_descent, "register_deformable", watched)
    small = small_recipe()
    wanted = replace(small.deformable, voxels=20_000, shrink=(8, 2, 1), iterations=(3, 2, 1))
    stage = deformable_stage(register(*small_pair()[:2], replace(small, deformable=wanted), device="cpu"))
    assert [(level["voxels"], level["iterations"]) for level in stage["levels"]] == run
    assert len(run) == 2
    assert stage["similarity"] == wanted.similarity


@pytest.mark.parametrize("orientation", ["oblique", "anisotropic"])
def test_a_cube_shows_the_same_anatomy_in_the_same_pixel_type(orientation):
    scan = blobs(geometry_in(orientation, (30, 26, 22), 2.0))
    scan = scan.with_array(np.rint(scan.array).astype(np.int16))
    finer = cube(scan, 40, "fixed")
    assert finer.geometry.size == (40, 40, 40)
    assert finer.array.dtype == np.int16
    np.testing.assert_allclose(finer.geometry.corners(), scan.geometry.corners(), atol=1e-6)
    inner = (slice(8, 32, 5),) * 3
    index = scan.geometry.to_index(finer.geometry.points()[inner].reshape(-1, 3))
    assert np.abs(trilinear(scan.array, index) - finer.array[inner].ravel()).max() < 0.05 * np.ptp(scan.array)


def test_the_bandwidth_is_that_of_a_copy():
    assert 1e6 < measure_copy(copied=1 << 20, copies=2)["bytes a second"] < 1e13


def test_cores_are_doubled_up_to_the_machines():
    assert [core_counts(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def case_in(folder: Path, modality: str = "MR") -> Case:
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(json.dumps({"modality": modality}))
    for side in ("fixed", "moving"):
        write_image(
            Image(np.zeros((4, 4, 4), dtype=np.int16), geometry_in("LPS", (4, 4, 4))), folder / f"{side}.nii.gz"
        )
    return Case(folder)


def test_fewer_cores_are_tried_at_the_size_of_a_brain_scan(tmp_path):
    mr, ct = case_in(tmp_path / "knee"), case_in(tmp_path / "abdomen", "CT")
    cases = chosen_cases([ct, mr])
    assert cases == {BRAIN: mr, CT: ct}
    runs = [(run.role, run.size, run.threads) for run in planned(cases, (512, 64, 128), 4)]
    sizes = [(role, size, 4) for size in (64, 128, 512) for role in (BRAIN, CT)]
    assert runs == [*sizes, (BRAIN, 128, 1), (BRAIN, 128, 2)]
    assert {run.size for run in planned(cases, (256, 512), 2) if run.threads == 1} == {256}


def answer(seconds: float = 10.0, memory: float = 1.0, others: float | None = 0.0) -> dict[str, Any]:
    stages = {"prepare": seconds / 4, "deformable": seconds / 2, "register": seconds}
    return {
        "seconds": stages,
        "whole": seconds + 2,
        "others": others,
        "peak GB": memory,
        "pixels": "int16",
        "similarity": "lncc",
        "levels": LEVELS,
    }


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the processes by answers and the plot by an empty one; what was started is listed."""
    modules: list[str] = []

    def run_fresh(module: str, *arguments: object, environment: Any = None, **named: Any) -> dict[str, Any]:
        modules.append(module.rpartition(".")[2])
        made = {"cube": {"fixed": "f", "moving": "m"}, "bandwidth": {"bytes a second": 4e10}}
        return made.get(modules[-1]) or answer(seconds=30 / int(environment["OMP_NUM_THREADS"]))

    monkeypatch.setattr(measure, "run_fresh", run_fresh)
    monkeypatch.setattr(measure, "draw", lambda scaling, path: path.write_text("<svg/>"))
    monkeypatch.setattr(measure, "version_of", lambda *_: "1 (abc)")
    return modules


@pytest.fixture
def options(tmp_path: Path) -> Options:
    case_in(tmp_path / "data" / "brain")
    case_in(tmp_path / "data" / "ct", "CT")
    peers = PeerOptions(threads=2, limit=60.0)
    return Options(data=tmp_path / "data", output=tmp_path / "out", repeats=1, sizes=(8, 12), peers=peers)


def test_a_second_run_measures_only_what_is_missing(options, started):
    first = measure.measure(options)
    assert sorted(started) == ["bandwidth"] * 2 + ["cube"] * 4 + ["run"] * 5
    assert (options.output / "scaling.svg").is_file()
    started.clear()
    assert measure.measure(options).rows == first.rows
    assert measure.measure(dataclasses.replace(options, repeats=0)).markdown() == first.markdown()
    assert started == []
    measure.measure(dataclasses.replace(options, sizes=(8, 10, 12)))
    assert started == ["cube", "run"] * 2
    started.clear()
    measure.measure(dataclasses.replace(options, repeats=2, sizes=(8,)))
    assert sorted(started) == ["bandwidth"] * 2 + ["cube"] * 2 + ["run"] * 4
    started.clear()
    fresh = dataclasses.replace(options.peers, fresh=True)
    measure.measure(dataclasses.replace(options, peers=fresh))
    assert len(started) == 2 + 4 + 5


def test_the_fresh_page_without_runs_keeps_what_is_known(options, started):
    known = measure.measure(options)
    fresh = dataclasses.replace(options.peers, fresh=True)
    assert measure.measure(dataclasses.replace(options, repeats=0, peers=fresh)).rows == known.rows


def test_the_pages_stand_beside_the_store_and_name_each_other(options, started, tmp_path):
    folders = ["--data", str(options.data), "--output", str(options.output), "--store", str(tmp_path / "kept.json")]
    others = ["--repeats", "1", "--sizes", "8,12", "--threads", "2"]
    assert main(["scaling", *folders, *others]) == 0
    assert len(Store(tmp_path / "scaling.json").rows()) == 7
    page = (tmp_path / "scaling.md").read_text(encoding="utf-8")
    assert "scaling.svg" in page
    assert "--store docs/benchmarks.json" in page
    assert main(["scaling", *folders, *others, "--only", "no such case"]) == 0
    assert (tmp_path / "scaling.md").read_text(encoding="utf-8") == page
    assert main(["peers", *folders, "--tools", "deepreg", "--repeats", "0"]) == 0
    assert "[scaling.md](scaling.md)" in (tmp_path / "kept.md").read_text(encoding="utf-8")


@pytest.fixture
def made(tmp_path: Path) -> Callable[[dict[tuple[str, int, int], dict[str, Any]]], Scaling]:
    """Make a result from rows by role, size and threads."""

    def make(rows: dict[tuple[str, int, int], dict[str, Any]]) -> Scaling:
        runs = {
            Run(role, Case(tmp_path / role), size, threads): {"version": "1 (abc)", "runs": [], **row}
            for (role, size, threads), row in rows.items()
        }
        copies = {threads: {"runs": [{"bytes a second": 1e6 * threads, "others": 0.0}]} for threads in (1, 2)}
        return Scaling(runs, copies, [])

    return make


def cells(table: str, start: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_tables_show_medians_the_most_memory_and_the_floor(made):
    runs = [answer(10, 1.0), answer(12, 1.5), answer(50, 1.2)]
    scaling = made({(BRAIN, 64, 2): {"runs": runs}, (BRAIN, 64, 1): {"runs": [answer(24, others=0.5)]}})
    table = scaling.by_size(BRAIN).markdown()
    floor = 260_000 * 40.5 / 2e6  # what LEVELS move in all, over 2 MB a second
    assert cells(table, "voxels") == [
        *("voxels", "seconds", "prepare", "deformable", "peak GB", "grid", "iterations", "floor", "of the floor")
    ]
    assert cells(table, "64^3")[1:5] == ["12.0", "3.0", "6.0", "1.50"]
    assert cells(table, "64^3")[6:] == ["100+20", f"{floor:.2f}", f"{6 / floor:.1f} x"]
    cores = scaling.by_cores().markdown()
    assert cells(cores, "1 ")[1:3] == ["24.0~", "1.00 x"]
    assert cells(cores, "2 ")[1:3] == ["12.0", "2.00 x"]


def test_a_bandwidth_measured_on_a_busy_machine_is_used_only_if_there_is_no_other(made):
    scaling = made({(BRAIN, 64, 2): {"runs": [answer()]}})
    busy, idle = {"bytes a second": 9e6, "others": 0.5}, {"bytes a second": 2e6, "others": None}
    mixed = dataclasses.replace(scaling, bandwidths={2: {"runs": [busy, idle]}})
    assert (mixed.bandwidth(2), mixed.is_copy_loaded(2)) == (2e6, False)
    loaded = dataclasses.replace(scaling, bandwidths={2: {"runs": [busy]}})
    assert (loaded.bandwidth(2), loaded.is_copy_loaded(2)) == (9e6, True)
    assert cells(loaded.by_size(BRAIN).markdown(), "64^3")[-2].endswith("~")


@pytest.mark.parametrize(
    ("rows", "passed"),
    [
        ({512: {"runs": [answer(memory=LIMIT_GB)]}}, True),
        ({512: {"runs": [answer(memory=7.0), answer(memory=LIMIT_GB + 0.1)]}}, False),
        ({512: {"error": "killed by SIGKILL", "limit": 60.0}}, False),
        ({256: {"runs": [answer(memory=2.0)]}}, None),
        ({256: {"error": "not done after 60 s", "limit": 60.0}, 512: {"runs": [answer()]}}, False),
        ({}, None),
    ],
)
def test_ct_of_512_must_end_within_its_memory(made, rows, passed):
    scaling = made({(BRAIN, 64, 2): {"runs": [answer()]}} | {(CT, size, 2): row for size, row in rows.items()})
    assert scaling.passed is passed
    text = scaling.limit().markdown()
    assert ("Passed." in text, "FAILED." in text) == (passed is True, passed is False)
    assert text in scaling.markdown()


def test_the_plot_is_small_and_the_same_each_time(made, tmp_path):
    rows = {
        (role, size, 2): {"runs": [answer(size / 8, size / 100)]} for role in (BRAIN, CT) for size in (64, 128, 512)
    }
    rows |= {(BRAIN, 128, 1): {"runs": [answer(40, others=0.6)]}, (CT, 384, 2): {"error": "x", "limit": 1.0}}
    scaling = made(rows)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw(scaling, tmp_path / name / "scaling.svg")
    text = (tmp_path / "a" / "scaling.svg").read_bytes()
    assert text == (tmp_path / "b" / "scaling.svg").read_bytes()
    assert len(text) < 200_000
    assert ET.fromstring(text).tag.endswith("svg")
    assert all(word in text.decode() for word in ("floor of deformable", "512³", "limit for CT"))
