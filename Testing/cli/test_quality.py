"""`deepreg quality`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.landmarks import write_points
from DeepRegLib.registration import Registration
from Testing.small import TRUTH, small_registration
from Testing.synthetic import points_in


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Path:
    registration: Registration = small_registration()
    return registration.save(tmp_path_factory.mktemp("r") / "OUT")


def test_a_sheet_says_what_was_measured_with_what_and_by_whom(deepreg, files, result, tmp_path: Path) -> None:
    points = points_in(small_registration().fixed.geometry, 12, margin=4)
    write_points(points, tmp_path / "f.csv", None)
    write_points(TRUTH.apply_to_points(points), tmp_path / "m.csv", None)
    words = ("quality", files.fixed, files.moving, "--transform", result / "transform.h5", "-o", tmp_path / "q")
    words += ("--fixed-labels", files.fixed_labels, "--moving-labels", files.moving_labels)
    words += ("--fixed-landmarks", tmp_path / "f.csv", "--moving-landmarks", tmp_path / "m.csv", "--by", "A. Physicist")
    outcome = deepreg(*words)
    assert outcome.code == 0, outcome.err
    assert "Grade:" in outcome.out
    table = json.loads((tmp_path / "q" / "quality.json").read_text(encoding="utf-8"))
    names = {item["name"] for item in table["items"]}
    assert {"target registration error, mean", "Dice", "inverse consistency, 99 %", "folded voxels"} <= names
    error = next(item for item in table["items"] if item["name"] == "target registration error, mean")
    expected = small_registration().transform.apply_to_points(points) - TRUTH.apply_to_points(points)
    assert error["value"] == pytest.approx(float(np.linalg.norm(expected, axis=1).mean()), abs=1e-3)
    about = table["about"]
    assert (about["by"], about["recipe"], about["verdict"]) == ("A. Physicist", "small", "ok")
    assert about["measured with"]["deepreg"]
    assert len(about["transform_sha256"]) == 64
    assert (tmp_path / "q" / "quality.csv").is_file()
    assert "A. Physicist" in (tmp_path / "q" / "quality.html").read_text(encoding="utf-8")


def test_a_result_of_other_scans_is_told(deepreg, files, result, tmp_path: Path) -> None:
    words = ("quality", files.moving, files.fixed, "--transform", result / "transform.h5", "-o", tmp_path / "q")
    outcome = deepreg(*words, "--stereotactic")
    assert outcome.code == 0, outcome.err
    assert "made of other scans" in outcome.err
    assert json.loads((tmp_path / "q" / "quality.json").read_text())["about"]["limit of distances"] == "1 mm"
    outcome = deepreg(*words)
    assert (outcome.code, "exists already" in outcome.err) == (2, True)
    outcome = deepreg(*words[:-1], tmp_path / "other", "--fixed-landmarks", tmp_path / "f.csv")
    assert (outcome.code, "one scan only" in outcome.err) == (2, True)
