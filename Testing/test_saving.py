"""A saved result: complete or not there at all, valid JSON, and no folder names in it."""

from __future__ import annotations

import errno
import json
import logging
import math
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib import saving
from DeepRegLib.errors import DeepRegError, InputError, OutputError
from DeepRegLib.image import Image, read_image
from DeepRegLib.recipes import Model, load_recipe, recipe_from_dict
from DeepRegLib.result import FAILED, Registration, Verdict
from DeepRegLib.saving import expected_bytes, json_text, reserved_output, result_to_dict, to_plain
from DeepRegLib.transforms import LinearTransform, read_transform
from Testing.small import small_pair, small_registration
from Testing.synthetic import geometry_in, points_in

ALL = {
    *("transform.h5", "inverse.h5", "warped.nii.gz", "warped_labels.nii.gz", "trust.nii.gz"),
    *("result.json", "report.html"),
}
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def result() -> Registration:
    return small_registration()


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which take seconds, where they are not what is tested."""
    monkeypatch.setattr("DeepRegLib.report.write_report", lambda registration, path: path.write_text("report"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def reserve(folder: Path, needed: int = 0) -> None:
    with reserved_output(folder, needed=needed):
        pass


def strict(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_everything_is_saved_and_can_be_read_back(result: Registration, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("PIL")
    _, _, fixed_labels, moving_labels = small_pair()
    labelled = result.with_labels(moving_labels, fixed_labels)
    folder = labelled.save(tmp_path / "new" / "out")
    assert {path.name for path in folder.iterdir()} == ALL
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    points = points_in(result.fixed.geometry, margin=2)
    for name, transform in (("transform.h5", result.transform), ("inverse.h5", result.inverse)):
        read = read_transform(folder / name)
        np.testing.assert_allclose(read.apply_to_points(points), transform.apply_to_points(points), atol=1e-4)
    warped = read_image(folder / "warped.nii.gz")
    assert warped.array.dtype == result.moving.array.dtype
    np.testing.assert_array_equal(warped.array, result.warped.array)
    np.testing.assert_array_equal(read_image(folder / "warped_labels.nii.gz").array, labelled.warped_labels.array)
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    table = strict((folder / "result.json").read_text(encoding="utf-8"))
    assert set(table["files"].values()) == ALL


@pytest.mark.usefixtures("no_report")
def test_layers_and_maps_are_saved_and_make_room_for_a_result_without(result: Registration, tmp_path: Path) -> None:
    labels = small_pair()[3]
    jacobian = result.warped.with_array(np.full(result.warped.array.shape, 1.25, np.float32))
    layers = (result.field_of_view, result.fixed_foreground)
    rich = replace(result, warped_layers=layers, jacobian=jacobian, uncertainty=jacobian)
    folder = rich.save(tmp_path / "out")
    added = {"warped_layer_1.nii.gz", "warped_layer_2.nii.gz", "jacobian.nii.gz", "uncertainty.nii.gz"}
    assert set(names(folder)) == (ALL - {"warped_labels.nii.gz"}) | added
    assert added < set(strict((folder / "result.json").read_text(encoding="utf-8"))["files"].values())
    second = read_image(folder / "warped_layer_2.nii.gz").array
    np.testing.assert_array_equal(second, result.fixed_foreground.array.astype(np.uint8))
    assert read_image(folder / "jacobian.nii.gz").array.dtype == np.float32
    with pytest.raises(InputError, match="warped_layer_1"):
        reserve(folder)
    result.with_labels(labels).save(folder, overwrite=True)
    assert set(names(folder)) == ALL


@pytest.mark.usefixtures("no_report")
def test_simpleitk_makes_the_saved_image_from_the_saved_transform(result: Registration, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "out")
    fixed, moving, _, _ = small_pair()
    grid = sitk.ReadImage(str(folder / "warped.nii.gz"))
    picture = sitk.GetImageFromArray(moving.array)
    picture.SetOrigin(moving.geometry.origin)
    picture.SetSpacing(moving.geometry.spacing)
    picture.SetDirection(moving.geometry.direction)
    transform = sitk.ReadTransform(str(folder / "transform.h5"))
    again = sitk.GetArrayFromImage(sitk.Resample(picture, grid, transform, sitk.sitkLinear, float(moving.array.min())))
    assert np.abs(again.astype(float) - sitk.GetArrayFromImage(grid)).max() <= 1
    assert again.shape == fixed.array.shape


@pytest.mark.usefixtures("no_report")
def test_the_json_tells_all_and_names_no_folder(result: Registration, tmp_path: Path) -> None:
    fixed = result.fixed.name
    told = replace(
        result,
        verdict=Verdict(FAILED, (f"{fixed} shows something else.",)),
        warnings=(f"{fixed} has 3 NaN or infinite voxels.",),
        recipe=replace(result.recipe, model=Model("/clinic/Smith John/brain")),
        measures=replace(result.measures, ncc_after=math.nan, jacobian_max=math.inf, dice_after={7: math.nan, 2: 0.5}),
    )
    text = (told.save(tmp_path / "out") / "result.json").read_text(encoding="utf-8")
    table = strict(text)
    assert "Smith" not in text
    assert str(tmp_path) not in text
    assert table["schema_version"] == saving.SCHEMA_VERSION
    assert table["verdict"] == {"level": "failed", "reasons": ["fixed.nii.gz shows something else."]}
    assert table["warnings"] == ["fixed.nii.gz has 3 NaN or infinite voxels."]
    assert table["measures"]["ncc_after"] is None
    assert table["measures"]["jacobian_max"] is None
    assert table["measures"]["dice_after"] == {"7": None, "2": 0.5}
    assert table["measures"]["folds"] == result.measures.folds
    assert recipe_from_dict(table["recipe"]) == replace(result.recipe, model=Model("brain"))
    assert list(table["timings"]) == list(result.timings)
    assert {name: len(curve) for name, curve in table["curves"].items()} == {
        name: len(curve) for name, curve in result.curves.items()
    }
    assert table["provenance"]["fixed_sha256"] == result.provenance["fixed_sha256"]
    assert table["fixed"]["name"] == "fixed.nii.gz"
    assert table["fixed"]["size"] == list(result.fixed.geometry.size)
    assert table["transform"]["kind"] == "composite"
    assert set(table["files"].values()) == ALL - {"warped_labels.nii.gz"}


def test_plain_values_are_what_json_knows() -> None:
    table = {1: np.float32(math.nan), "a": (np.int64(3), np.array([1.0, -math.inf])), "p": Path("x"), "b": np.bool_(1)}
    assert to_plain(table) == {"1": None, "a": [3, [1.0, None]], "p": "x", "b": True}
    text = json_text({"matrix": np.eye(2), "text": ["[a,\n b]", "{}"], "empty": [], "nested": [{"x": [1, 2]}]})
    assert strict(text) == {
        "matrix": [[1, 0], [0, 1]],
        "text": ["[a,\n b]", "{}"],
        "empty": [],
        "nested": [{"x": [1, 2]}],
    }
    assert "[1.0, 0.0]" in text


@pytest.mark.usefixtures("no_report")
def test_an_earlier_result_stays_unless_told(result: Registration, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    result.save(out)  # empty: fine
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    with pytest.raises(InputError, match=r"already holds a result .*--overwrite"):
        result.save(out)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    (out / "notes.txt").write_text("mine")
    (out / "warped_labels.nii.gz").write_text("somebody's, not listed in result.json")
    (out / "warped_layer_2.nii.gz").write_text("somebody's too")
    result.save(out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "warped_labels.nii.gz").read_text().startswith("somebody's")
    assert {path.name for path in out.iterdir()} == ALL | {"notes.txt", "warped_layer_2.nii.gz"}


@pytest.mark.usefixtures("no_report")
def test_what_an_earlier_result_lists_goes_if_the_new_one_has_it_not(result: Registration, tmp_path: Path) -> None:
    out = result.with_labels(small_pair()[3]).save(tmp_path / "out")
    assert (out / "warped_labels.nii.gz").exists()
    listing = strict((out / "result.json").read_text())
    listing["files"] |= {"notes": "notes.txt", "above": "../mine.txt", "odd": 3}  # by somebody who means harm
    (out / "result.json").write_text(json.dumps(listing))
    for path in (out / "notes.txt", tmp_path / "mine.txt"):
        path.write_text("mine")
    result.save(out, overwrite=True)
    assert set(names(out)) == (ALL | {"notes.txt"}) - {"warped_labels.nii.gz"}
    assert names(tmp_path) == ["mine.txt", "out"]


@pytest.mark.usefixtures("no_report")
def test_a_result_does_not_replace_what_it_was_computed_from(result: Registration, tmp_path: Path) -> None:
    out = result.save(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "link.nii.gz").symlink_to(out / "warped.nii.gz")
    for given in (out / "transform.h5", out / "." / "result.json", tmp_path / "link.nii.gz"):
        with (
            pytest.raises(InputError, match="is an input of this run"),
            reserved_output(out, overwrite=True, inputs=[given]),
        ):
            pass
    (out / "registration.dcm").write_text("a slice, by chance called so")
    with pytest.raises(InputError, match="is an input"), reserved_output(out, overwrite=True, inputs=[out]):
        pass
    (out / "registration.dcm").unlink()
    again = replace(result, moving=replace(result.moving, name=str(out / "warped.nii.gz")))
    with pytest.raises(InputError, match=r"warped\.nii\.gz is an input"):
        again.save(out, overwrite=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_second_run_into_the_same_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "new", tmp_path / "there", tmp_path / "deep" / "new"):
        with reserved_output(folder), pytest.raises(OutputError, match=f"Another run is writing to .*{folder.name}"):
            reserve(folder)
        reserve(folder)
    with reserved_output(tmp_path / "a"), reserved_output(tmp_path / "b"):
        assert len(names(tmp_path)) == 3
    assert names(tmp_path) == ["there"]


@pytest.mark.usefixtures("no_report")
def test_a_folder_that_somebody_makes_meanwhile_takes_the_result(result: Registration, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with reserved_output(out) as place:
        written = saving.write_into(result, place)
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        place.commit(written)
    assert set(names(out)) == (ALL | {"notes.txt"}) - {"warped_labels.nii.gz"}
    assert names(tmp_path) == ["out"]


@pytest.mark.usefixtures("no_report")
def test_names_up_to_what_the_system_takes_hold_a_result_and_longer_ones_are_told(
    result: Registration, tmp_path: Path
) -> None:
    longest = tmp_path / ("n" * 255)
    result.save(longest)
    assert set(names(longest)) == ALL - {"warped_labels.nii.gz"}
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for folder, told in ((tmp_path / ("n" * 256), "too long"), (tmp_path / "dangling", "is a link to something")):
        with pytest.raises(DeepRegError, match=told):
            reserve(folder)
    with pytest.raises(OutputError, match="not UTF-8"):
        reserve(tmp_path / "fran\udce7ois")
    assert sorted(names(tmp_path)) == sorted(["dangling", longest.name])


def test_folders_made_for_a_result_that_did_not_come_are_removed(tmp_path: Path) -> None:
    def interrupted() -> None:
        with reserved_output(tmp_path / "a" / "b" / "c"):
            assert (tmp_path / "a" / "b").is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


@pytest.mark.usefixtures("no_report")
def test_a_folder_of_other_files_is_used(result: Registration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    result.save(".")
    assert names(tmp_path) == sorted((ALL | {"notes.txt"}) - {"warped_labels.nii.gz"})


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("failing", ["write_transform", "write_image", "write_text"])
def test_a_full_disk_leaves_nothing(
    result: Registration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, exists: bool
) -> None:
    def fail(thing: object, path: Path, *rest: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    out = tmp_path / "out"
    if exists:
        out.mkdir()
        (out / "transform.h5").write_text("earlier")
    monkeypatch.setattr(saving, failing, fail)
    with pytest.raises(OutputError, match=r"out.* is full") as caught:
        result.save(out, overwrite=True)
    assert ".partial-" not in str(caught.value)
    assert names(tmp_path) == (["out"] if exists else [])
    if exists:
        assert (out / "transform.h5").read_text() == "earlier"
        assert names(out) == ["transform.h5"]


@pytest.mark.usefixtures("no_report")
def test_an_interruption_leaves_nothing(result: Registration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "write_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        result.save(tmp_path / "out")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DeepRegError("The report needs jinja2.", "Install it."), "The report needs jinja2. Install it."),
        (ValueError("no contour"), "drawing it failed"),
    ],
)
def test_a_report_that_fails_costs_no_result(
    result: Registration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    told: str,
) -> None:
    def fail(registration: Registration, path: Path) -> None:
        raise error

    monkeypatch.setattr("DeepRegLib.report.write_report", fail)
    with caplog.at_level(logging.WARNING, "DeepRegLib"):
        folder = result.save(tmp_path / "out")
    assert told in caplog.text
    assert "report" not in strict((folder / "result.json").read_text(encoding="utf-8"))["files"]
    assert not (folder / "report.html").exists()


def test_the_folder_is_checked_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file, not a folder"):
        reserve(tmp_path / "file")
    with pytest.raises(InputError, match="file is a file, not a folder"):
        reserve(tmp_path / "file" / "below")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 10**6))
    reserve(tmp_path / "out", needed=10**5)
    with pytest.raises(OutputError, match="has 1 MB left; the result may take 20 MB"):
        reserve(tmp_path / "out", needed=2 * 10**7)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))  # as some network drives say
    reserve(tmp_path / "out", needed=10**9)


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match="no permission"):
        reserve(tmp_path / "out")


@pytest.mark.usefixtures("no_report")
def test_the_space_asked_for_covers_what_is_written(result: Registration, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "out")
    written = sum(path.stat().st_size for path in folder.iterdir())
    assert written <= expected_bytes(result.fixed, result.recipe)
    assert expected_bytes(result.fixed, load_recipe("rigid")) < expected_bytes(result.fixed, load_recipe("auto"))


def test_labels_come_over_and_are_measured(result: Registration) -> None:
    _, _, fixed_labels, moving_labels = small_pair()
    labelled = result.with_labels(moving_labels, fixed_labels)
    assert result.warped_labels is None
    assert result.measures.dice_after is None
    assert labelled.warped_labels.geometry == result.fixed.geometry
    assert labelled.warped_labels.array.dtype == moving_labels.array.dtype
    before, after = labelled.measures.dice_before, labelled.measures.dice_after
    assert set(after) == {2, 7, 250}
    assert np.mean(list(after.values())) > max(0.75, np.mean(list(before.values())))
    assert result.with_labels(moving_labels).measures.dice_after is None


def test_labels_saved_as_floats_become_whole_numbers(result: Registration) -> None:
    _, _, _, labels = small_pair()
    floats = labels.with_array(labels.array.astype(np.float32))
    warped = result.with_labels(floats).warped_labels
    assert warped.array.dtype == np.int32
    np.testing.assert_array_equal(warped.array, result.with_labels(labels).warped_labels.array)
    for value in (0.5, np.nan, 1e12):
        array = floats.array.copy()
        array[3, 4, 5] = value
        with pytest.raises(InputError, match=r"moving_labels\.nii\.gz .*not whole numbers"):
            result.with_labels(floats.with_array(array))


def test_labels_of_another_grid_are_refused(result: Registration) -> None:
    _, _, fixed_labels, moving_labels = small_pair()
    other = Image(np.ones((22, 22, 22), dtype=np.uint8), geometry_in("LPS", (22, 22, 22)), "other.nii.gz")
    with pytest.raises(InputError, match=r"other\.nii\.gz do not lie on the grid of .*moving\.nii\.gz"):
        result.with_labels(other)
    with pytest.raises(InputError, match=r"other\.nii\.gz do not lie on the grid of .*fixed\.nii\.gz"):
        result.with_labels(moving_labels, other)
    with pytest.raises(InputError, match="do not lie on the grid"):
        result.with_labels(fixed_labels)


def test_linear_results_are_described_as_such(result: Registration) -> None:
    linear = replace(result, transform=LinearTransform.identity(), inverse=LinearTransform.identity())
    described = result_to_dict(linear, {})["transform"]
    assert described["kind"] == "linear"
    assert described["linear_part"] == np.eye(4).tolist()
