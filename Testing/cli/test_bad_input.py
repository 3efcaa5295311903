"""Bad input to `deepreg register`: one line that names the file and the remedy, exit code 2, nothing written."""

from __future__ import annotations

import errno
import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib import saving
from DeepRegLib.image import Image, read_image, to_sitk, write_image
from DeepRegLib.landmarks import write_points
from Testing.cli.conftest import Deepreg, Files
from Testing.synthetic import geometry_in

Usage = namedtuple("Usage", "total used free")
Case = Callable[[Path, Files], list[object]]
"""Writes the bad file and returns the words after `register`; `-o OUT` is added."""


def moving_file(name: str, write: Callable[[Path, Image], object]) -> Case:
    def case(folder: Path, files: Files) -> list[object]:
        write(folder / name, read_image(files.moving))
        return [files.fixed, folder / name]

    return case


def changed(function: Callable[[np.ndarray], np.ndarray], dtype: type = np.float32) -> Callable[[Path, Image], object]:
    return lambda path, image: write_image(image.with_array(function(image.array.astype(dtype))), path)


def truncated(path: Path, image: Image) -> None:
    write_image(image, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def two_dimensional(path: Path, image: Image) -> None:
    sitk.WriteImage(to_sitk(image)[:, :, 5], str(path))


def four_dimensional(path: Path, image: Image) -> None:
    sitk.WriteImage(sitk.JoinSeries([to_sitk(image)] * 3), str(path))


def degenerate(path: Path, image: Image) -> None:
    write_image(image, path)
    header, mark, rest = path.read_bytes().partition(b"TransformMatrix = ")
    path.write_bytes(header + mark + b"1 0 0 1 0 0 0 0 1\n" + rest.partition(b"\n")[2])


def with_option(option: str, name: str, write: Callable[[Path], object]) -> Case:
    def case(folder: Path, files: Files) -> list[object]:
        write(folder / name)
        return [files.fixed, files.moving, option, folder / name]

    return case


def elsewhere(path: Path) -> None:
    write_image(Image(np.ones((22, 22, 22), dtype=np.uint8), geometry_in("LPS", (22, 22, 22))), path)


def empty_mask(folder: Path, files: Files) -> list[object]:
    fixed = read_image(files.fixed)
    write_image(fixed.with_array(np.zeros(fixed.array.shape, dtype=np.uint8)), folder / "bad.nii.gz")
    return [files.fixed, files.moving, "--fixed-mask", folder / "bad.nii.gz"]


def fractional_labels(folder: Path, files: Files) -> list[object]:
    moving = read_image(files.moving)
    write_image(moving.with_array(moving.array.astype(np.float32) / 7), folder / "bad.nii.gz")
    return [files.fixed, files.moving, "--moving-labels", folder / "bad.nii.gz"]


def fixed_labels_elsewhere(folder: Path, files: Files) -> list[object]:
    elsewhere(folder / "bad.nii.gz")
    labels = ("--fixed-labels", folder / "bad.nii.gz", "--moving-labels", files.moving_labels)
    return [files.fixed, files.moving, *labels]


def uneven_landmarks(folder: Path, files: Files) -> list[object]:
    write_points(np.eye(3), folder / "bad.csv")
    write_points(np.eye(3)[:2], folder / "other.csv")
    return [
        *(files.fixed, files.moving),
        *("--fixed-landmarks", folder / "bad.csv", "--moving-landmarks", folder / "other.csv"),
    ]


CASES: dict[str, tuple[Case, str, str]] = {
    "missing": (moving_file("bad.nii.gz", lambda path, image: None), "does not exist", "Check the path"),
    "no image": (moving_file("bad.nii.gz", lambda path, image: path.write_text("hello")), "bad.nii.gz", "again|Give"),
    "empty": (moving_file("bad.nrrd", lambda path, image: path.touch()), "is empty", "again"),
    "constant": (moving_file("bad.nrrd", changed(lambda array: array * 0 + 7)), "constant|same value", r"\. \w"),
    "all NaN": (moving_file("bad.nrrd", changed(lambda array: array * np.nan)), "finite|NaN", r"\. \w"),
    "2-D": (moving_file("bad.nrrd", two_dimensional), "2-D", "3-D"),
    "4-D": (moving_file("bad.nii.gz", four_dimensional), "4-D", "Extract"),
    "truncated nii.gz": (moving_file("bad.nii.gz", truncated), "truncated", "again"),
    "truncated nrrd": (moving_file("bad.nrrd", truncated), "truncated", "again"),
    "truncated mha": (moving_file("bad.mha", truncated), "truncated", "again"),
    "degenerate direction": (moving_file("bad.mha", degenerate), "direction", "Repair"),
    "mask elsewhere": (with_option("--fixed-mask", "bad.nii.gz", elsewhere), "not lie on the grid", "Resample"),
    "moving mask elsewhere": (with_option("--moving-mask", "bad.nii.gz", elsewhere), "not lie on the grid", "Resample"),
    "empty mask": (empty_mask, "is empty", "Draw"),
    "labels elsewhere": (with_option("--moving-labels", "bad.nii.gz", elsewhere), "not lie on the grid", "Resample"),
    "fixed labels elsewhere": (fixed_labels_elsewhere, "not lie on the grid", "Resample"),
    "fractional labels": (fractional_labels, "not whole numbers", "label map"),
    "fixed labels alone": (with_option("--fixed-labels", "bad.nii.gz", elsewhere), "without moving labels", "Give"),
    "uneven landmarks": (uneven_landmarks, "3 points and .*other.csv 2", "same number"),
    "landmarks of one image": (
        with_option("--moving-landmarks", "bad.csv", lambda path: write_points(np.eye(3), path)),
        "one image only",
        "Give both",
    ),
    "landmarks no file": (
        with_option("--fixed-landmarks", "bad.csv", lambda path: None),
        "one image|exist",
        "Give|Check",
    ),
    "wrong key": (
        with_option("--recipe", "bad.toml", lambda path: path.write_text("[linear]\nmodle = 'rigid'\n")),
        "linear.modle is unknown",
        "linear.model",
    ),
    "wrong value": (
        with_option("--recipe", "bad.toml", lambda path: path.write_text("[linear]\nvoxels = 'many'\n")),
        "linear.voxels",
        "whole number",
    ),
    "no TOML": (with_option("--recipe", "bad.toml", lambda path: path.write_text("[linear")), "not a TOML", "Compare"),
    "unknown recipe": (with_option("--recipe", "bad", lambda path: None), "no recipe named", "Give one of auto"),
    "no transform": (
        with_option("--initial-transform", "bad.h5", lambda path: path.write_text("hello")),
        "not a readable ITK transform",
        "Give",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told_in_one_line(name: str, deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    case, problem, remedy = CASES[name]
    words = case(tmp_path, files)
    before = sorted(path.name for path in tmp_path.iterdir())
    if "--recipe" not in words:
        words += ["--recipe", files.recipe]
    outcome = deepreg("register", *words, "-o", tmp_path / "out", "--json")
    check(outcome.err, "bad", problem, remedy)
    assert outcome.code == 2
    assert outcome.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def check(err: str, *parts: str) -> None:
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    for part in parts:
        assert re.search(part, err), f"{part!r} not in {err!r}"


def test_a_device_that_is_not_there(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out", "--device", "cuda:77", "--json")
    check(outcome.err, "no device 'cuda:77'", "Choose one of .*cpu")
    assert outcome.code == 2
    assert not list(tmp_path.iterdir())


def test_an_earlier_result_is_found_before_anything_is_read(deepreg: Deepreg, tmp_path: Path) -> None:
    (tmp_path / "warped.nii.gz").write_text("earlier")
    outcome = deepreg("register", "nowhere", "neither", "-o", tmp_path, "--json")
    check(outcome.err, "already holds a result", "--overwrite")
    assert outcome.code == 2


def test_a_result_that_would_replace_an_input_is_refused_before_anything_is_read(
    deepreg: Deepreg, tmp_path: Path
) -> None:
    start = tmp_path / "transform.h5"
    start.write_text("my start")
    command = ("register", "nowhere", "neither", "--initial-transform", start, "-o", tmp_path, "--overwrite", "--json")
    outcome = deepreg(*command)
    check(outcome.err, "transform.h5 is an input of this run", "another output folder")
    assert outcome.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["transform.h5"]


def test_a_read_only_folder(deepreg: Deepreg, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out", "--json")
    check(outcome.err, "cannot be written", "another output folder")
    assert outcome.code == 2


def test_a_full_disk(deepreg: Deepreg, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - 10**6, 10**6))
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out", "--json")
    check(outcome.err, "1 MB left", "Free some space")
    assert outcome.code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_run")
def test_a_disk_that_fills_while_writing(
    deepreg: Deepreg, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(image: Image, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(saving, "write_image", fail)
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out", "--json")
    check(outcome.err, "is full", "Free some space")
    assert outcome.code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_report")
def test_some_nan_in_a_good_scan_is_a_warning(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    image = read_image(files.moving)
    array = image.array.astype(np.float32)
    array[4:6, 5:8, 6:9] = np.nan
    array[8, 8, 8] = np.inf
    bad = tmp_path / "holes.nrrd"
    write_image(image.with_array(array), bad)
    outcome = deepreg("register", files.fixed, bad, "-o", tmp_path / "out", "--recipe", files.recipe)
    assert "warning: holes.nrrd has 19 NaN or infinite voxels" in outcome.err
    assert np.isfinite(read_image(tmp_path / "out" / "warped.nii.gz").array).all()
    assert outcome.code in (0, 1)
