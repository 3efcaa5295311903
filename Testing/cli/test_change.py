"""`deepreg change`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from DeepRegLib.change import segment_changes
from DeepRegLib.image import read_image
from Testing.cli.conftest import Deepreg, Files
from Testing.small import small_pair, small_registration


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _fixed, _moving, _fixed_labels, moving_labels = small_pair()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("DeepRegLib.report.write_report", lambda registration, path: path.write_text("report"))
        return small_registration().with_labels(moving_labels).save(tmp_path_factory.mktemp("change") / "OUT")


def test_what_has_changed_is_told_as_a_table_as_json_and_as_a_file(
    deepreg: Deepreg, files: Files, result: Path, tmp_path: Path
) -> None:
    expected = segment_changes(read_image(files.fixed_labels), read_image(result / "warped_labels.nii.gz"))
    told = deepreg("change", result, files.fixed_labels)
    assert told.code == 0, told.err
    assert [line.split()[0] for line in told.out.splitlines()[1:]] == [str(each.label) for each in expected]
    outcome = deepreg("change", result, files.fixed_labels, "-o", tmp_path / "c.csv", "--json")
    segments = json.loads(outcome.out)["segments"]
    assert [each["fixed_ml"] for each in segments] == [each.fixed_ml for each in expected]
    with (tmp_path / "c.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["added_ml"]) for row in rows] == [each["added_ml"] for each in segments]


def test_what_cannot_be_compared_is_told_in_one_line(
    deepreg: Deepreg, files: Files, result: Path, saved: Path, tmp_path: Path
) -> None:
    outcome = deepreg("change", saved, files.fixed_labels)
    assert (outcome.code, "carried no labels" in outcome.err) == (2, True)
    outcome = deepreg("change", tmp_path, files.fixed_labels)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "There is no result" in outcome.err
    outcome = deepreg("change", result, files.fixed_labels, "-o", tmp_path / "c.txt")
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
