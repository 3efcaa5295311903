"""The report of all cases, the script of an array job, and the names of BIDS derivatives."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from DeepRegLib.cohort.bids import cases_in_bids
from DeepRegLib.cohort.coordinating import run_all
from DeepRegLib.cohort.local_executor import LocalExecutor
from DeepRegLib.cohort.page import outliers_of, page_of, worst_first
from DeepRegLib.cohort.plan import Choice, plan_of
from DeepRegLib.cohort.queue_options import Queue, array_script
from DeepRegLib.cohort.summary import check_summary, write_derivatives, write_summary
from DeepRegLib.cohort.table import Line
from DeepRegLib.errors import InputError
from DeepRegLib.versions import versions


def done(name: str, row: int, verdict: str = "ok", dice: float = 0.8) -> Line:
    return Line(name, row, "done", verdict, measures={"dice_after_mean": dice}, seconds=2.0, device="cpu", host="a")


LINES = [
    *(done(f"case {row}", row, dice=0.8 + row / 1000) for row in range(2, 12)),
    done("poor", 12, dice=0.2),
    done("unsure", 13, "check"),
    Line('<script>alert("x")</script>', 14, "failed", reasons=("Its process & worker died.",)),
    Line("wrong", 15, "wrong row", reasons=("The file of fixed does not exist.",)),
    Line("later", 16, "missing"),
]


def test_the_worst_cases_come_first_and_outliers_are_named(tmp_path: Path) -> None:
    assert [line.case for line in sorted(LINES, key=worst_first)][1:5] == ["wrong", "unsure", "poor", "case 2"]
    assert outliers_of({line.case: line.measures["dice_after_mean"] for line in LINES if line.measures}) == ["poor"]
    page = page_of(LINES, tmp_path, {"Where": "here"})
    assert "Far from the others: poor (0.2)" in page
    assert re.findall(r'<div class="count (\w+)"><b>(\d+)</b>', page) == [
        *(("ok", "11"), ("check", "1"), ("failed", "1"), ("wrong", "1"), ("missing", "1")),
    ]


def test_no_name_or_reason_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    page = page_of(LINES, tmp_path, {})
    assert "alert(&#34;x&#34;)" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_an_array_job_runs_this_call_in_parts_and_its_script_is_bash(tmp_path: Path) -> None:
    queue = Queue("slurm", jobs=5, partition="long", minutes=90, gpus=1, extra=("--account=ab12",))
    words = ["cohort", "/data/my table's.csv", "--output=/out"]
    text = array_script(queue, 2500, words, tmp_path)
    for line in ("#SBATCH --array=1-1000%5", "#SBATCH --time=01:30:00", "#SBATCH --account=ab12"):
        assert line in text.splitlines()
    shown = text.replace("exec ", "printf '%s\\n' ")
    told = subprocess.run(
        ["bash", "-c", shown], env={"SLURM_ARRAY_TASK_ID": "7"}, capture_output=True, text=True, check=True
    ).stdout
    assert told.splitlines() == [sys.executable, "-m", "DeepRegLib", *words, "--part", "7/1000"]


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"minutes": 0.1}, {"extra": ("--a\nrm -rf /",)}, {"partition": "a\nb"}])
def test_what_cannot_stand_in_a_script_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        replace(Queue("slurm"), **wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_results_of_a_bids_data_set_get_its_names(quick: list[str], scan: bytes, tmp_path: Path) -> None:
    root, output = tmp_path / "bids", tmp_path / "out"
    for session in (1, 2):
        path = root / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(scan)
    (root / "dataset_description.json").touch()
    manifest = cases_in_bids(root, "ses-1", "ses-2", {})
    plan = plan_of(manifest, output, versions(), Choice())
    with LocalExecutor(1, {}) as executor:
        run_all((case.work for case in plan.todo), executor, output)
    for _ in range(2):  # a second call finds them there
        check_summary(output, None, root)
        lines = write_summary(manifest, plan, output, {})
        assert write_derivatives(manifest, lines, output, root, "1") == 1
    found = {path.relative_to(output).as_posix() for path in output.glob("sub-*/**/*") if path.is_file()}
    assert found == {"sub-01/anat/sub-01_ses-2_space-ses1_T1w.nii.gz"}
    assert '"DatasetType": "derivative"' in (output / "dataset_description.json").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="is the data set itself"):
        check_summary(root, None, root)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cohort.csv", "case,fixed,moving\n"),
        ("cohort.csv", ""),
        ("cohort.json", "{}"),
        ("cohort.html", "<html>"),
        ("dataset_description.json", '{"GeneratedBy": [{"Name": "fMRIPrep"}]}'),
        ("dataset_description.json", '{"GeneratedBy": [1]}'),
    ],
)
def test_files_that_no_cohort_has_written_are_not_replaced(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="was not written by deepreg cohort"):
        check_summary(tmp_path, None, tmp_path / "bids")


def test_the_table_of_cases_is_not_replaced_by_that_of_results(tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("case,row,status,verdict,reasons\n")
    check_summary(tmp_path, None, None)
    for given in (table, tmp_path / "x" / ".." / "cohort.csv"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="is the table of cases"):
            check_summary(tmp_path, given, None)
