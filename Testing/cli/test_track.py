"""`deepreg track`."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.image import read_image
from DeepRegLib.transforms import DisplacementField, compose, read_transform, write_transform
from Testing.cli.conftest import Deepreg, Files
from Testing.small import FIXED_GRID, TRUTH

WAIT = ("--settle", 0, "--once")


def test_each_scan_of_a_folder_is_registered_once_and_half_a_file_is_not_read(
    deepreg: Deepreg, files: Files, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(files.moving, folder / f"{name}{''.join(files.moving.suffixes)}")
    whole = files.moving.read_bytes()
    half = folder / f"half{''.join(files.moving.suffixes)}"
    half.write_bytes(whole[: len(whole) // 2])
    words = ("track", files.fixed, folder, "-o", out, "--recipe", files.recipe, "--labels", files.fixed_labels, *WAIT)
    outcome = deepreg(*words)
    assert outcome.code == 0, outcome.err
    assert "is left out until it changes" in outcome.err
    rows = list(csv.DictReader((out / "track.csv").read_text().splitlines()))
    assert [row["found by"] for row in rows] == ["search", "following"]
    results = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert [name[0] for name in results] == ["a", "b"]
    carried = read_image(out / results[1] / "plan_labels.nii.gz")
    moving = read_image(files.moving)
    assert carried.geometry.is_close(moving.geometry)
    drawn, truth = carried.array > 0, read_image(files.moving_labels).array > 0
    assert 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum()) > 0.8

    half.write_bytes(whole)
    outcome = deepreg(*words)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("is done already") == 2
    assert (out / half.name / "result.json").is_file()
    rows = list(csv.DictReader((out / "track.csv").read_text().splitlines()))
    assert [row["scan"][0] for row in rows] == ["a", "b", "h"], "what an earlier run wrote stays in the table"


@pytest.mark.parametrize(
    ("words", "told"),
    [(("--settle", -1), "--settle is -1"), (("--labels", "other.nii.gz"), "does not lie on the grid")],
)
def test_mistakes_are_told_before_anything_is_computed(
    deepreg: Deepreg, files: Files, tmp_path: Path, words: tuple[object, ...], told: str
) -> None:
    shutil.copy(files.moving, files.folder / "other.nii.gz")
    given = [files.folder / word if word == "other.nii.gz" else word for word in words]
    (tmp_path / "in").mkdir()
    outcome = deepreg("track", files.fixed, tmp_path / "in", "-o", tmp_path / "out", *given)
    assert outcome.code == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_series_that_is_still_copied_waits_and_a_plan_replaces_the_search(
    deepreg: Deepreg, files: Files, tmp_path: Path
) -> None:
    pytest.importorskip("pydicom")
    from Testing.dicom.scans import write_scan

    folder, out, plan = tmp_path / "in", tmp_path / "out", tmp_path / "plan.h5"
    series = write_scan(folder / "Doe^Jane", read_image(files.moving), "1.2.826.0.1.3680043.2.1125.3")
    late = sorted(series.iterdir())[8]
    late.rename(tmp_path / late.name)
    write_transform(compose(DisplacementField(np.zeros((*FIXED_GRID.shape, 3)), FIXED_GRID), TRUTH), plan)
    words = ("track", files.fixed, folder, "-o", out, "--recipe", files.recipe, "--initial-transform", plan, *WAIT)
    outcome = deepreg(*words)
    assert outcome.code == 0, outcome.err
    assert "is left out until it changes" in outcome.err
    assert not list(out.glob("*/result.json"))
    (tmp_path / late.name).rename(late)
    outcome = deepreg(*words)
    assert outcome.code == 0, outcome.err
    (row,) = csv.DictReader((out / "track.csv").read_text().splitlines())
    assert (row["found by"], row["verdict"]) == ("following", "ok")
    assert "Doe" not in outcome.out + outcome.err + row["scan"]
    found = read_transform(out / row["scan"] / "transform.h5").apply_to_points(FIXED_GRID.centre)
    assert np.linalg.norm(found - TRUTH.apply_to_points(FIXED_GRID.centre)) < 0.5


@pytest.mark.parametrize("place", [".", "out", "out/deep"])
def test_results_do_not_go_where_scans_come(place: str, deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    outcome = deepreg("track", files.fixed, tmp_path, "-o", tmp_path / place, *WAIT)
    assert outcome.code == 2
    assert "would be taken for scans" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"name,phone\n", b"scan,verdict\na,ok\n", b"", b"\xff\xfe", b"\x00"])
def test_a_table_of_somebody_else_is_not_replaced(
    content: bytes, deepreg: Deepreg, files: Files, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for place in (folder, out):
        place.mkdir()
    (out / "track.csv").write_bytes(content)
    outcome = deepreg("track", files.fixed, folder, "-o", out, *WAIT)
    assert outcome.code == 2
    assert "is no table that deepreg track has written" in outcome.err
    assert (out / "track.csv").read_bytes() == content
