"""`deepreg phantom`, and `deepreg evaluate --truth`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.transforms import LinearTransform, write_transform
from Testing.phantom.test_phantom import body


def test_a_phantom_is_a_pair_and_its_truth_and_another_transform_is_compared_with_it(deepreg, tmp_path: Path) -> None:
    scan = body()
    write_image(scan, tmp_path / "scan.nii.gz")
    write_image(Image((scan.array > 60).astype(np.uint8), scan.geometry), tmp_path / "labels.nii.gz")
    words = ("phantom", tmp_path / "scan.nii.gz", "-o", tmp_path / "p", "--motion", "breathing", "--motion", "tumour")
    outcome = deepreg(*words, "--amount", 6, "--noise", 0.2, "--labels", tmp_path / "labels.nii.gz", "--json")
    assert outcome.code == 0, outcome.err
    table = json.loads((tmp_path / "p" / "phantom.json").read_text())
    assert json.loads(outcome.out) == table
    assert [motion["kind"] for motion in table["motions"]] == ["breathing", "tumour"]
    assert (read_image(tmp_path / "p" / "fixed_labels.nii.gz").array > 0).any()

    folder = tmp_path / "p"
    compare = ("evaluate", "--truth", folder / "truth.h5", "--reference", folder / "fixed.nii.gz", "--json")
    outcome = deepreg(*compare, "--transform", folder / "truth.h5", "--error-map", tmp_path / "e.nii.gz")
    assert json.loads(outcome.out)["truth_error_mm"]["largest"] < 0.01
    assert read_image(tmp_path / "e.nii.gz").array.max() < 0.01
    write_transform(LinearTransform.identity(), tmp_path / "still.tfm")
    error = json.loads(deepreg(*compare, "--transform", tmp_path / "still.tfm").out)["truth_error_mm"]
    assert error["mean"] == pytest.approx(error["moved"], abs=1e-6)
    assert error["mean"] > 1
    assert abs(error["mean"] - table["moved_mm"]["mean"]) < 0.5


def test_mistakes_are_told(deepreg, tmp_path: Path) -> None:
    write_image(body(), tmp_path / "scan.nii.gz")
    scan = tmp_path / "scan.nii.gz"
    for words, said in (
        (("phantom", scan, "-o", tmp_path / "p", "--motion", "dancing"), "no motion of a phantom"),
        (("evaluate", "--truth", scan), "nothing to evaluate"),
        (("evaluate", "--error-map", tmp_path / "e.nrrd", "--transform", scan, "--reference", scan), "no truth"),
    ):
        outcome = deepreg(*words)
        assert (outcome.code, said in outcome.err) == (2, True), outcome.err
    assert not (tmp_path / "p").exists()


def test_a_folder_with_something_in_it_is_told_before_anything_is_computed(deepreg, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "notes.txt").write_text("mine")
    outcome = deepreg("phantom", tmp_path / "none.nii.gz", "-o", tmp_path / "p")
    assert (outcome.code, "exists already" in outcome.err) == (2, True), outcome.err
    outcome = deepreg("phantom", tmp_path / "none.nii.gz", "-o", tmp_path / "p" / "notes.txt" / "deep")
    assert (outcome.code, "is a file" in outcome.err) == (2, True), outcome.err
