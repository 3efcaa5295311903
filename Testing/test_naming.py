"""What of a path may be shown."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib.naming import without_paths


def test_folders_of_inputs_and_what_may_be_meant_for_one_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "Doe_Jane").mkdir()
    (tmp_path / "scan").write_bytes(b"")
    files = {
        "fixed": str(tmp_path / "Doe_Jane"),
        "moving": str(tmp_path / "Doe_John"),  # not there
        "fixed_labels": str(tmp_path / "labels.nii.gz"),
        "moving_labels": str(tmp_path / "scan"),
    }
    told = without_paths(", ".join(files.values()), files)
    assert told == "the folder of fixed, a path without an ending, labels.nii.gz, scan"
