"""The programs under `examples/`, each run as its user would, on two phantoms with a known motion between them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib import read_image, read_transform, write_image, write_transform
from DeepRegLib.image import Image
from DeepRegLib.landmarks import write_points
from DeepRegLib.recipes import recipe_to_toml
from Testing.cohort.conftest import Table, quick, scan, table  # noqa: F401  # fixtures
from Testing.small import TRUTH, small_pair, small_recipe

FOLDER = Path(__file__).resolve().parent.parent / "examples"
LONGEST = 40
Run = Callable[..., str]


@pytest.fixture
def scans(tmp_path: Path) -> dict[str, str]:
    """Write two scans, their labels, a mask, landmarks and a quick recipe; return where they lie."""
    fixed, moving, fixed_labels, moving_labels = small_pair()
    mask = Image((fixed_labels.array > 0).astype(np.uint8), fixed.geometry, "mask")
    images = {"fixed": fixed, "moving": moving, "fixed_labels": fixed_labels, "moving_labels": moving_labels}
    places = {name: str(tmp_path / f"{name}.nii.gz") for name in (*images, "mask")}
    for name, image in (images | {"mask": mask}).items():
        write_image(image, places[name])
    offsets = np.array([[8, 0, 0], [-6, 5, 0], [0, -7, 6], [4, 6, -5], [-5, -4, -6], [1, 2, 3]])
    points = fixed.geometry.centre + offsets
    places |= {"fixed_points": str(tmp_path / "fixed.csv"), "moving_points": str(tmp_path / "moving.csv")}
    write_points(points, places["fixed_points"])
    write_points(TRUTH.apply_to_points(points), places["moving_points"])
    places["recipe"] = str(tmp_path / "small.toml")
    Path(places["recipe"]).write_text(recipe_to_toml(small_recipe()), encoding="utf-8")
    return places


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs an example's `main` and returns what it prints."""

    def call(name: str, *words: str) -> str:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.main(*words)
        return capsys.readouterr().out

    return call


def test_register_leaves_a_result_and_says_its_verdict(run: Run, scans: dict[str, str], tmp_path: Path) -> None:
    said = run("01_register", scans["fixed"], scans["moving"], str(tmp_path / "out"), scans["recipe"])
    verdict = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["verdict"]
    assert said.startswith(f"verdict: {verdict['level'] if isinstance(verdict, dict) else verdict}")
    assert "folds: 0" in said


def test_masks_say_how_far_the_results_lie_apart(run: Run, scans: dict[str, str]) -> None:
    said = run("02_masks", *(scans[name] for name in ("fixed", "moving", "mask", "recipe")))
    assert 0 < float(said.split(" mm apart")[0].split()[-1]) < 5


def test_landmarks_that_pull_help_those_kept_back(run: Run, scans: dict[str, str]) -> None:
    words = [scans[name] for name in ("fixed", "moving", "fixed_points", "moving_points", "recipe")]
    errors = [float(line.split()[-2]) for line in run("03_landmarks", *words).splitlines()]
    assert errors[1] < errors[0]


def test_labels_overlap_more_after_than_before(run: Run, scans: dict[str, str], tmp_path: Path) -> None:
    words = [scans[name] for name in ("fixed", "moving", "fixed_labels", "moving_labels")]
    lines = run("04_labels", *words, str(tmp_path / "out"), scans["recipe"]).splitlines()
    for line in lines:
        before, after = (float(word) for word in line.split("Dice ")[1].split(" -> "))
        assert after > before
    assert lines
    assert (tmp_path / "out" / "warped_labels.nii.gz").is_file()


def test_a_smoother_recipe_gives_a_smoother_field(run: Run, scans: dict[str, str], tmp_path: Path) -> None:
    said = run("05_recipe", scans["fixed"], scans["moving"], str(tmp_path / "out"), scans["recipe"]).splitlines()
    assert said[1].startswith("smooth: ")
    assert float(said[1].split()[-1]) < float(said[0].split()[-1])
    assert (tmp_path / "out" / "smooth.toml").is_file()


def test_transforms_bring_each_scan_to_the_other(run: Run, scans: dict[str, str], tmp_path: Path) -> None:
    write_transform(TRUTH, tmp_path / "truth.tfm")
    said = run("06_transforms", str(tmp_path / "truth.tfm"), scans["fixed"], scans["moving"], str(tmp_path / "out"))
    here, there = said.splitlines()[0].split(": ")[1], said.splitlines()[2].split(": ")[1]
    assert here == there  # and back
    fixed, warped = read_image(scans["fixed"]), read_image(tmp_path / "out" / "moving_on_fixed.nii.gz")
    assert np.corrcoef(fixed.array.ravel(), warped.array.ravel())[0, 1] > 0.97
    assert read_image(tmp_path / "out" / "fixed_on_moving.nii.gz").geometry == read_image(scans["moving"]).geometry


@pytest.mark.slow
def test_one_scan_that_fails_does_not_end_the_others(run: Run, scans: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "phases"
    folder.mkdir()
    (folder / "1.nii.gz").write_bytes(b"no scan")
    (folder / "2.nii.gz").write_bytes(Path(scans["moving"]).read_bytes())
    lines = run("07_many", scans["fixed"], str(folder), str(tmp_path / "out"), scans["recipe"]).splitlines()
    assert lines[0].startswith("1: ")
    assert "1.nii.gz has no NIfTI header" in lines[0]
    centre = read_image(scans["fixed"]).geometry.centre
    found = read_transform(tmp_path / "out" / "2" / "transform.h5").apply_to_points(centre)
    assert np.linalg.norm(found - TRUTH.apply_to_points(centre)) < 2


@pytest.mark.slow
def test_a_trained_model_is_asked(run: Run, scans: dict[str, str], tmp_path: Path) -> None:
    said = run("08_train", scans["fixed"], scans["moving"], str(tmp_path / "out"), "2")
    assert "The model's field" in said
    assert (tmp_path / "out" / "model" / "weights.safetensors").is_file()


def test_a_tumour_is_carried_over_and_what_moved_is_told(run: Run, scans: dict[str, str]) -> None:
    said = run("09_tumour", scans["fixed"], scans["moving"], scans["moving_labels"], "", scans["recipe"])
    volumes = re.findall(r"label 2: ([\d.]+) ml before, where it was: ([\d.]+) ml", said)
    before, after = map(float, volumes[0])
    assert 0.5 < after / before < 2
    assert "near it" in said


@pytest.mark.usefixtures("quick")
def test_a_table_of_cases_is_run_and_what_is_done_is_kept(
    run: Run,
    table: Table,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = str(table("a", "once", "refused")), str(tmp_path / "out"), "fast"
    said = run("10_cohort", *words).splitlines()
    assert sorted(said[:-1]) == [
        *("a: done ok", "once: done ok"),
        "once: retry Its process was killed (signal 9), as the system does when memory is short.",
        "refused: failed fixed.nii.gz is damaged.",
    ]
    assert said[-1] == "2 of 3 cases are done"
    assert run("10_cohort", *words).splitlines() == [
        "refused: failed fixed.nii.gz is damaged.",
        "2 of 3 cases are done",
    ]
    assert (tmp_path / "out" / "cohort.html").is_file()


def test_each_example_is_short_and_says_how_it_is_called() -> None:
    files = sorted(FOLDER.glob("*.py"))
    assert [file.name[:2] for file in files] == [f"{number:02d}" for number in range(1, len(files) + 1)]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) < LONGEST
        assert f"python examples/{file.name}" in text
