"""`deepreg cohort`, with a process that runs cases in no time."""

from __future__ import annotations

import csv
import json
import signal
import socket
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("distributed", reason="the extra cohort is not installed")

from DeepRegLib.cli.session import INTERRUPTED
from DeepRegLib.cohort.claiming import claimed
from Testing.cli.conftest import Deepreg, deepreg  # noqa: F401  # a fixture
from Testing.cohort.conftest import Table


@pytest.fixture
def without_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DeepRegLib.cohort.clusters.DASHBOARD", None)


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def test_a_table_of_cases_ends_in_a_folder_each_and_one_table(
    deepreg: Deepreg,  # noqa: F811
    quick: list[str],
    table: Table,
    tmp_path: Path,
) -> None:
    path, output = table("a, ü 肝", "b", "refused", "wrong", "once", "twin", "twin", "gone"), tmp_path / "out"
    (path.parent / "gone.nii.gz").unlink()
    outcome = deepreg("cohort", path, "-o", output, "--local", 2, "--json")
    assert outcome.code == 1, outcome.err
    assert "row 9: The file of fixed" in outcome.err
    assert "rows 7, 8 have the same name" in outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert (events[0]["event"], events[0]["cases"]) == ("run", 5)
    assert events[0]["where"].startswith("Running on 2 at a time on this machine. Dashboard: http://127.0.0.1:")
    assert events[-1]["cases"] == {"done": 4, "failed": 1, "wrong row": 3}
    assert [event["event"] for event in events if event.get("case") == "once"] == ["begun", "retry", "begun", "done"]
    found = rows(output)
    assert {name: (row["status"], row["verdict"], row["attempts"]) for name, row in found.items()} == {
        "a, ü 肝": ("done", "ok", "1"),
        "b": ("done", "ok", "1"),
        "refused": ("failed", "", "1"),
        "wrong": ("done", "failed", "1"),
        "once": ("done", "ok", "2"),
        "twin": ("wrong row", "", ""),
        "gone": ("wrong row", "", ""),
    }
    assert (found["b"]["dice_after_mean"], found["b"]["host"]) == ("0.75", socket.gethostname())
    assert found["refused"]["reasons"] == "fixed.nii.gz is damaged."
    assert sorted(path.name for path in output.iterdir()) == [
        "cases",
        "cohort.csv",
        "cohort.html",
        "cohort.json",
        "failures",
    ]
    assert sorted(path.name for path in (output / "cases").iterdir()) == ["a, ü 肝", "b", "once", "wrong"]

    before = (output / "cases" / "b" / "case.json").stat().st_mtime_ns
    again = deepreg("cohort", path, "-o", output, "--collect")
    assert "4 done, 1 failed, 3 wrong row. Verdicts: 3 ok, 1 failed" in again.out
    assert (output / "cases" / "b" / "case.json").stat().st_mtime_ns == before


def test_a_table_in_the_folder_of_the_results_stays(
    deepreg: Deepreg,  # noqa: F811
    quick: list[str],
    table: Table,
) -> None:
    path = table("a")
    path = path.rename(path.with_name("cohort.csv"))
    before = path.read_bytes()
    outcome = deepreg("cohort", path, "-o", path.parent)
    assert outcome.code == 2
    assert "is the table of cases" in outcome.err
    assert path.read_bytes() == before
    assert not (path.parent / "cases").exists()


def test_the_plan_says_what_would_run_by_a_first_case(
    deepreg: Deepreg,  # noqa: F811
    quick: list[str],
    without_dashboard: None,
    table: Table,
    tmp_path: Path,
) -> None:
    outcome = deepreg("cohort", table("a", "b", "c"), "-o", tmp_path / "out", "--plan", "--local", 1)
    assert outcome.code == 0, outcome.err
    assert "2 cases would run, 1 are done, 0 rows cannot run." in outcome.out
    assert "are free" in outcome.out
    assert [path.name for path in (tmp_path / "out" / "cases").iterdir()] == ["a"]


def test_parts_run_beside_each_other_and_together_are_the_whole(
    deepreg: Deepreg,  # noqa: F811
    quick: list[str],
    table: Table,
    tmp_path: Path,
) -> None:
    path, output = table("a", "b", "c"), tmp_path / "out"
    with claimed(output):  # a coordinator keeps no part from its work
        assert deepreg("cohort", path, "-o", output, "--part", "1/2").code == 0
        assert sorted(path.name for path in (output / "cases").iterdir()) == ["a", "c"]
        refused = deepreg("cohort", path, "-o", output)
        assert (refused.code, "Another run of this cohort" in refused.err) == (2, True)
    assert deepreg("cohort", path, "-o", output, "--part", "2/2").code == 0
    assert deepreg("cohort", path, "-o", output, "--collect").code == 0
    assert {row["status"] for row in rows(output).values()} == {"done"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "not clear which cases"),
        (("--fixed", "a*"), "belong together"),
        (("--scan", "*.nii", "--bids", "."), "--bids needs"),
        (("--scan", "*.nii", "--case-time", "0"), "--case-time is 0"),
        (("--scan", "*.nii", "--retries", "-1"), "--retries is -1"),
        (("--scan", "none*.nii"), "No file matches"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(
    deepreg: Deepreg,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = deepreg("cohort", *words, "-o", tmp_path / "out")
    assert (outcome.code, told in outcome.err, (tmp_path / "out").exists()) == (2, True, False)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to another process ends it there")
def test_ctrl_c_ends_what_runs_and_keeps_what_is_done(
    deepreg: Deepreg,  # noqa: F811
    quick: list[str],
    without_dashboard: None,
    table: Table,
    tmp_path: Path,
) -> None:
    path, output = table("a", "b", "hang", "interrupt", "c"), tmp_path / "out"
    before = signal.getsignal(signal.SIGINT)
    outcome = deepreg("cohort", path, "-o", output, "--local", 2)
    assert (outcome.code, "Stopping; Ctrl-C again stops at once." in outcome.err) == (INTERRUPTED, True)
    assert signal.getsignal(signal.SIGINT) is before
    # A case that is not ended sleeps for a minute and is done then.
    statuses = {name: row["status"] for name, row in rows(output).items()}
    assert statuses == {"a": "done", "b": "done", **dict.fromkeys(("hang", "interrupt", "c"), "missing")}
    assert sorted(child.name for child in (output / "cases").iterdir()) == ["a", "b"]
    assert not (output / "failures").exists()
    again = deepreg("cohort", path, "-o", output, "--collect")
    assert "2 done, 3 missing" in again.out
