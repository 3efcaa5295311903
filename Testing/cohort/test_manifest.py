"""What a table of cases may say, and how mistakes in it are told."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from DeepRegLib.cohort.cases import Case, name_problem, words_of
from DeepRegLib.cohort.checking import check_case, named_wrongly
from DeepRegLib.cohort.columns import COMMANDS
from DeepRegLib.cohort.manifest import read_manifest
from DeepRegLib.errors import InputError
from Testing.cohort.conftest import Table


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_option_of_a_command_is_a_column_or_left_out_on_purpose() -> None:
    pytest.importorskip("typer")
    from DeepRegLib.cli.registering import register
    from DeepRegLib.cli.segmenting import segment
    from DeepRegLib.cli.series import series

    # Where to write, what to run, and how to talk: the cohort's to say.
    ours = {"output", "engine", "overwrite", "cohort", "json_output", "verbose"}
    for name, function in (("register", register), ("segment", segment), ("series", series)):
        known = {*COMMANDS[name].scans, *COMMANDS[name].options}
        assert known == set(inspect.signature(function).parameters) - ours


def test_a_row_with_a_comma_quotes_and_letters_of_other_scripts_is_read(table: Table) -> None:
    name = 'Müller, "J." 肝'
    manifest = read_manifest(table(name.replace('"', ""), header="Case, Fixed,moving"), {})
    (case,) = manifest.cases
    assert case.name == name.replace('"', "")
    assert Path(case.values["fixed"]).is_file()
    assert check_case(case).problem == ""
    assert check_case(case).voxels == 60


def test_a_recipe_whose_name_is_too_long_for_a_path_is_a_name(table: Table) -> None:
    endless = "a" * 5000
    (case,) = read_manifest(table("a", header="case,fixed,moving,recipe", more=f",{endless}"), {}).cases
    assert case.values["recipe"] == endless


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_any_spreadsheet_is_read(tmp_path: Path, delimiter: str) -> None:
    text = "\ufefffixed,moving,Fixed-Mask,uncertainty\r\na.nii,b.nii,m.nii,yes\r\n,,,\r\n".replace(",", delimiter)
    (case,) = read_manifest(written(tmp_path, text), {"recipe": "fast", "atlas": None}).cases
    assert case.name == "b_to_a"
    assert case.values == {
        "fixed": str(tmp_path / "a.nii"),
        "moving": str(tmp_path / "b.nii"),
        "fixed_mask": str(tmp_path / "m.nii"),
        "uncertainty": "yes",
        "recipe": "fast",
    }


def test_every_wrong_row_is_told_by_its_number_and_stops_no_other(tmp_path: Path) -> None:
    rows = ["case,fixed,moving,dicom", "a,x.nii,y.nii,maybe", "b,x.nii", "c,x.nii,,", "d,x.nii,y.nii,no"]
    manifest = read_manifest(written(tmp_path, "\n".join(rows)), {})
    assert [case.name for case in manifest.cases] == ["d"]
    assert [problem.row for problem in manifest.problems] == [2, 3, 4]
    for problem, words in zip(manifest.problems, ("yes or no", "2 cells", "moving is empty"), strict=True):
        assert words in problem.message


@pytest.mark.parametrize(
    ("heading", "words"),
    [("fixed,moved", "columns"), ("fixed,moving,sped", "'sped'"), ("fixed,moving,fixed", "twice"), ("", "columns")],
)
def test_a_heading_that_fits_no_command_is_refused(tmp_path: Path, heading: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_manifest(written(tmp_path, f"{heading}\na,b,c\n"), {})


@pytest.mark.parametrize(
    "name", ["", "../up", "a/b", "CON", "nul.txt", ".hidden", "-o", "end.", "new\nline", "x" * 200]
)
def test_a_name_that_no_folder_can_have_everywhere_is_refused(name: str) -> None:
    assert name_problem(name)


def test_names_that_are_one_folder_on_some_system_are_all_refused() -> None:
    names = ("Anna", "anna", "é", "e\u0301", "other")
    problems = named_wrongly([Case(name, row, "register", {}, {}) for row, name in enumerate(names, start=2)])
    assert [problem.row for problem in problems] == [2, 3, 4, 5]
    assert "rows 2, 3" in problems[0].message


def test_no_value_is_ever_taken_for_an_option() -> None:
    values = {"fixed": "--output=/etc", "moving": "-v", "recipe": "--engine=sh", "dicom": "yes", "uncertainty": ""}
    words = words_of(Case("a", 2, "register", values, {}), "/out")
    assert words == ["register", "--output=/out", "--recipe=--engine=sh", "--dicom", "--", "--output=/etc", "-v"]


def test_a_missing_file_a_damaged_header_and_other_patients_are_seen_before_a_run(tmp_path: Path, scan: bytes) -> None:
    good, damaged = tmp_path / "sub-01_T1w.nii.gz", tmp_path / "damaged.nii.gz"
    other = tmp_path / "sub-02_T1w.nii.gz"
    good.write_bytes(scan)
    other.write_bytes(scan)
    damaged.write_bytes(scan[:20])

    def look(fixed: Path, moving: Path) -> tuple[str, str]:
        checked = check_case(Case("a", 2, "register", {"fixed": str(fixed), "moving": str(moving)}, {}))
        return checked.problem, checked.warning

    assert look(good, good) == ("", "")
    assert "does not exist" in look(good, tmp_path / "none.nii.gz")[0]
    assert "damaged.nii.gz" in look(damaged, good)[0]
    problem, warning = look(good, other)
    assert (problem, "different patients" in warning) == ("", True)
    assert "atlas or model" in check_case(Case("a", 2, "segment", {"scan": str(good)}, {})).problem
