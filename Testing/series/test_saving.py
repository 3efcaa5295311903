"""A series as a folder and on the command line: whole, resumable, applied again."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.formats.nifti_series import write_nifti_series
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.landmarks import write_points
from DeepRegLib.recipes import recipe_to_dict
from DeepRegLib.series.frames import read_frames
from DeepRegLib.series.report import series_report
from DeepRegLib.series.saved import read_series_folder
from DeepRegLib.series.saving import reserved_series, save_series
from DeepRegLib.transforms import LinearTransform
from Testing.series.breathing import GRID, breath, inner_points, rigid_recipe
from Testing.series.test_registering import breathing

typer = pytest.importorskip("typer")
pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ball = (np.linalg.norm(GRID.points() - GRID.centre, axis=-1) < 8).reshape(GRID.shape).astype(np.uint8)
    return save_series(breathing(), tmp_path_factory.mktemp("out") / "series", Image(ball, GRID, "ball"))


def deepreg(*words: object) -> int:
    from DeepRegLib.cli import main

    return main([str(word) for word in words])


def test_the_folder_holds_all_of_it_and_no_name_of_a_folder(folder: Path) -> None:
    table = json.loads((folder / "series.json").read_text(encoding="utf-8"))
    assert all((folder / name).is_file() for name in table["files"].values())
    assert len(table["frames"]) == 5
    assert str(folder.parent) not in (folder / "series.json").read_text(encoding="utf-8")
    with (folder / "frames.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["index"]) for row in rows] == list(range(5))
    assert read_image(folder / "frame_0002" / "labels.nii.gz").array.any()
    stable = read_frames(folder / "stabilised.nii.gz")
    assert len(stable) == 5
    assert stable[0].read().geometry.is_close(GRID)


def test_the_picture_moves_and_the_page_needs_nothing_else(folder: Path) -> None:
    from PIL import Image as Pictures

    with Pictures.open(folder / "moving.gif") as picture:
        assert picture.n_frames > 1
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"Over time ({breathing().frames.unit})" in page
    assert "http://www.w3.org" not in page.replace("xmlns", "")
    assert "Roughness" in page


def test_names_are_text_in_the_page_and_never_markup() -> None:
    series = breathing()
    rows = (replace(series.rows[0], name="<script>x</script>"), *series.rows[1:])
    assert "<script>" not in series_report(replace(series, rows=rows), None, b"")


def test_transforms_read_from_the_folder_are_those_of_the_result(folder: Path) -> None:
    saved = read_series_folder(folder)
    for mine, theirs in zip(breathing().transforms, saved.transforms, strict=True):
        np.testing.assert_allclose(
            mine.apply_to_points(inner_points()), theirs.apply_to_points(inner_points()), atol=1e-4
        )


def test_a_folder_with_a_series_is_not_overwritten_unasked(folder: Path) -> None:
    with pytest.raises(InputError, match="already holds a series"):
        save_series(breathing(), folder)


def test_a_damaged_table_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "series.json").write_text('{"frames": 3}', encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        read_series_folder(tmp_path)


def test_apply_takes_the_folder_for_points_labels_and_another_series(folder: Path, tmp_path: Path) -> None:
    write_points(inner_points(3), tmp_path / "points.csv")
    assert deepreg("apply", folder, tmp_path / "points.csv", "-o", tmp_path / "paths.csv") == 0
    with (tmp_path / "paths.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 15
    assert deepreg("apply", folder, folder / "stabilised.nii.gz", "-o", tmp_path / "again.nii.gz") == 0
    assert len(read_frames(tmp_path / "again.nii.gz")) == 5
    write_image(Image((GRID.points()[..., 2] > 0).reshape(GRID.shape).astype(np.uint8), GRID), tmp_path / "half.nii.gz")
    assert deepreg("apply", folder, tmp_path / "half.nii.gz", "--labels", "-o", tmp_path / "labels.nii.gz") == 0
    assert deepreg("apply", folder, folder / "reference.nii.gz", "-o", tmp_path / "one.nii.gz") == 2
    before = (tmp_path / "again.nii.gz").read_bytes()
    for output in (tmp_path / "again.nii.gz", folder / "stabilised.nii.gz"):
        assert deepreg("apply", folder, tmp_path / "again.nii.gz", "-o", output) == 2
    assert (tmp_path / "again.nii.gz").read_bytes() == before, "an input is not replaced"


def test_the_command_registers_a_4d_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text(_toml(recipe_to_dict(rigid_recipe())), encoding="utf-8")
    write_nifti_series(tmp_path / "two.nii.gz", [breath(5)[n].array for n in (0, 2)], 2, GRID)
    words = ("series", tmp_path / "two.nii.gz", "-o", tmp_path / "out", "--recipe", recipe, "--reference", "0")
    assert deepreg(*words, "--device", "cpu", "--json") in (0, 1)
    table = json.loads(capsys.readouterr().out)
    assert len(table["frames"]) == 2
    assert (tmp_path / "out" / "rigid_motion.csv").is_file()
    assert not list((tmp_path / "out").rglob("found.*"))
    assert deepreg(*words) == 2


def test_a_volume_is_refused_on_the_command_line(folder: Path, tmp_path: Path, capsys) -> None:
    assert deepreg("series", folder / "reference.nii.gz", "-o", tmp_path / "out") == 2
    assert "one volume" in capsys.readouterr().err


def _toml(table: dict) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", *(f"{name} = {json.dumps(each)}" for name, each in value.items())]
    return "\n".join(lines)


def test_files_of_the_users_are_neither_replaced_nor_removed(tmp_path: Path) -> None:
    scans = tmp_path / "frame_0007"
    scans.mkdir()
    (scans / "notes.txt").write_text("mine")
    (tmp_path / "stabilised.nii.gz").write_text("mine")
    with (
        pytest.raises(InputError, match="is there and not of a series"),
        reserved_series(tmp_path),
    ):
        pass
    for given in (tmp_path, scans, scans / "1.dcm", tmp_path / "stabilised.nii.gz"):
        with pytest.raises(InputError, match="is an input"), reserved_series(tmp_path, overwrite=True, inputs=[given]):
            pass
    save_series(breathing(), tmp_path, overwrite=True)
    assert (scans / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "frame_0000" / "found.json").exists()


def test_a_series_that_is_not_saved_to_the_end_leaves_the_earlier_one_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "series")
    before = {path: path.read_bytes() for path in (tmp_path / "series").rglob("*") if path.is_file()}

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("DeepRegLib.series.saving.frames_as_csv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_series(breathing(), tmp_path / "series", overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "series").rglob("*") if path.is_file()} == before


def test_a_series_saved_over_an_earlier_one_has_its_own_transforms(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "series")
    series = breathing()
    moved = np.eye(4)
    moved[:3, 3] = (1, 2, 3)
    save_series(
        replace(series, transforms=tuple(LinearTransform(moved) for _ in series.frames)),
        tmp_path / "series",
        overwrite=True,
    )
    again = read_series_folder(tmp_path / "series").transforms[0]
    np.testing.assert_allclose(again.apply_to_points([[0.0, 0.0, 0.0]]), [[1, 2, 3]], atol=1e-4)
