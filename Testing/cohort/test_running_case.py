"""Cases that are segmented and series, run by the commands themselves: their folders, measures and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("PIL")

from PIL import Image as Pictures

from DeepRegLib.cohort.manifest import read_manifest
from DeepRegLib.cohort.plan import Choice, Plan, plan_of
from DeepRegLib.cohort.running_case import run_case
from DeepRegLib.cohort.table import as_csv, lines_of
from DeepRegLib.cohort.thumbnails import write_thumbnail
from DeepRegLib.cohort.work import DONE, RUN, Outcome
from DeepRegLib.files import workplace
from DeepRegLib.formats.nifti_series import write_nifti_series
from DeepRegLib.image import write_image
from DeepRegLib.judgement import Inherited
from DeepRegLib.recipes import recipe_to_toml
from DeepRegLib.segmentation.seg_nrrd import write_segmentation
from DeepRegLib.segments import Segment
from DeepRegLib.series.members import NOT_COMPARED
from DeepRegLib.versions import versions
from Testing.segmentation.tiny_model import tiny_model
from Testing.series.breathing import GRID, breath, rigid_recipe
from Testing.small import small_pair


def run_all(plan: Plan, log: Path) -> list[Outcome]:
    from DeepRegLib.cli import main

    return [run_case(planned.work, main, str(log)) for planned in plan.todo]


def table(folder: Path, heading: str, row: str) -> Path:
    path = folder / "table.csv"
    path.write_text(f"{heading}\n{row}\n", encoding="utf-8")
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_series_is_a_case_and_takes_the_place_of_an_earlier_one_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("DeepRegLib.finishing.compare_start", lambda *_given, **_named: Inherited(NOT_COMPARED))
    frames, output = breath(6)[1:3], tmp_path / "out"
    (tmp_path / "rigid.toml").write_text(recipe_to_toml(rigid_recipe()), encoding="utf-8")

    def write(count: int) -> None:
        write_nifti_series(tmp_path / "scan.nii.gz", (each.array for each in frames[:count]), count, GRID, 1.0)

    write(2)
    path = table(tmp_path, "case,frames,reference,recipe", "breath,scan.nii.gz,0,rigid.toml")
    manifest = read_manifest(path, {})
    plan = plan_of(manifest, output, versions(), Choice())
    (outcome,) = run_all(plan, tmp_path / "log.txt")
    assert outcome.kind == DONE, outcome.reason
    folder = output / "cases" / "breath"
    assert (folder / "frame_0001" / "transform.h5").is_file()
    with Pictures.open(folder / "thumbnail.jpg") as picture:
        assert picture.size[0] > 1
    assert plan_of(manifest, output, versions(), Choice()).todo == ()
    (row,) = csv.DictReader(as_csv(lines_of(manifest, plan, output)).splitlines())
    assert (row["status"], float(row["ncc_after_of_frames_max"]) > 0.99) == ("done", True)
    assert json.loads((folder / "case.json").read_text(encoding="utf-8"))["voxels"] == 2 * 20 * 22 * 18

    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    write(1)
    (again,) = plan_of(manifest, output, versions(), Choice()).todo
    assert again.why == "its frames has changed"

    def made(words: Sequence[str]) -> int:
        new = Path(words[1].removeprefix("--output="))
        (new / "frame_0000").mkdir()
        (new / "frame_0000" / "transform.h5").write_text("new", encoding="utf-8")
        (new / "series.json").write_text("{}", encoding="utf-8")
        return 0

    assert run_case(again.work, lambda _: 1, str(tmp_path / "log.txt")).kind == RUN
    kept = content(folder)
    assert "frame_0001/transform.h5" in kept  # what was whole stays until there is another
    moves = iter(range(100))

    def failing(path: Path, target: Path) -> None:
        if next(moves) == 9:
            raise OSError(5, "the drive went away")
        move(path, target)

    with monkeypatch.context() as patch:
        move = workplace._move
        patch.setattr(workplace, "_move", failing)
        outcome = run_case(again.work, made, str(tmp_path / "log.txt"))
    assert (outcome.kind != DONE, content(folder)) == (True, kept)
    assert run_case(again.work, made, str(tmp_path / "log.txt")).kind == DONE
    assert sorted(path.name for path in folder.iterdir()) == [
        *("case.json", "frame_0000", "log.txt", "notes.txt", "series.json"),
    ]
    assert [path.name for path in (output / "cases").iterdir()] == ["breath"]


def test_a_segmentation_has_a_picture_of_its_labels_on_the_scan(tmp_path: Path) -> None:
    write_image(small_pair()[0], tmp_path / "scan.nii.gz")
    tiny_model(tmp_path / "tiny")
    manifest = read_manifest(table(tmp_path, "case,scan,model,device", "a,scan.nii.gz,tiny,cpu"), {})
    plan = plan_of(manifest, tmp_path / "out", versions(), Choice())
    (outcome,) = run_all(plan, tmp_path / "log.txt")
    assert outcome.kind == DONE, outcome.reason
    folder = tmp_path / "out" / "cases" / "a"
    assert (folder / "thumbnail.jpg").is_file()
    (line,) = lines_of(manifest, plan, tmp_path / "out")
    assert any(name.startswith("volume_ml_") for name in line.measures or {})
    # The tiny model finds its label everywhere; a ball has an outline.
    scan = small_pair()[0]
    ball = np.linalg.norm(scan.geometry.points() - scan.geometry.centre, axis=-1) < 20
    labels = scan.with_array(ball.reshape(scan.geometry.shape).astype(np.uint8))
    write_segmentation(labels, [Segment(1, "ball", (1.0, 0.0, 0.0))], folder / "segmentation.seg.nrrd")
    assert write_thumbnail(manifest.cases[0], folder, tmp_path / "ball.jpg")
    with Pictures.open(tmp_path / "ball.jpg") as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert any(max(colour) - min(colour) > 60 for _, colour in colours)  # on a grey scan
