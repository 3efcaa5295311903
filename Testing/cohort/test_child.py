"""The process that runs cases: what becomes of it costs one case."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from DeepRegLib.cohort.child import Child, ChildError
from DeepRegLib.cohort.manifest import read_manifest
from DeepRegLib.cohort.plan import Choice, plan_of
from DeepRegLib.cohort.record import folder_of
from DeepRegLib.cohort.work import DIED, DONE, INPUT, MEMORY, RUN, STOPPED, TIME, VERSIONS, Limits, Work
from DeepRegLib.versions import versions
from Testing.cohort.conftest import QUICK, Table

linux = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read as Linux tells it")


def works(table: Path, output: Path) -> dict[str, Work]:
    return {case.work.name: case.work for case in plan_of(read_manifest(table, {}), output, versions(), Choice()).todo}


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    """Give a process that is started with the first case, and again after it has ended."""
    made = Child({}, QUICK)
    yield made
    made.close()


def test_one_process_runs_one_case_after_another_and_writes_their_folders(
    child: Child, table: Table, tmp_path: Path
) -> None:
    for name, work in works(table("a, ü 肝", "b"), tmp_path / "out").items():
        assert child.run(work, lambda: False).kind == DONE
        folder = folder_of(tmp_path / "out", name)
        assert sorted(path.name for path in folder.iterdir()) == [
            "case.json",
            "log.txt",
            "result.json",
            "warped.nii.gz",
        ]
        assert (folder / "log.txt").read_text(encoding="utf-8") == f"running {name}.nii.gz\n"
        record = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        dice = {"dice_after_1": 0.5, "dice_after_2": 1.0, "dice_after_mean": 0.75}
        assert record["measures"] == {"ncc_after": 0.75, "folds": 0} | dice
        assert (record["voxels"], record["attempt"], record["verdict"]) == (60, 1, "ok")
        assert str(tmp_path) not in json.dumps(record)


@linux
def test_whatever_a_case_does_it_is_told_and_the_next_one_runs(child: Child, table: Table, tmp_path: Path) -> None:
    output = tmp_path / "out"
    given = works(table("die", "hang", "eat", "refused", "unregistered", "good"), output)
    limits = {"hang": Limits(seconds=0.3), "eat": Limits(bytes=200_000_000)}
    kinds, reasons = {}, {}
    for name, work in given.items():
        outcome = child.run(replace(work, limits=limits.get(name, Limits())), lambda: False)
        kinds[name], reasons[name] = outcome.kind, outcome.reason
        assert outcome.log == "" if name == "good" else f"running {name}.nii.gz" in outcome.log
    assert kinds == {"die": DIED, "hang": TIME, "eat": MEMORY, "refused": INPUT, "unregistered": RUN, "good": DONE}
    assert "signal 9" in reasons["die"]
    assert "longer than 0.3 s" in reasons["hang"]
    assert "200 MB are allowed" in reasons["eat"]
    assert reasons["refused"] == "fixed.nii.gz is damaged."
    assert [path.name for path in (output / "cases").iterdir() if not path.name.startswith(".partial")] == ["good"]


def test_a_case_is_ended_when_the_run_is_stopped(child: Child, table: Table, tmp_path: Path) -> None:
    (work,) = works(table("hang"), tmp_path / "out").values()
    assert child.run(work, lambda: True).kind == STOPPED


def test_a_worker_with_other_libraries_runs_nothing(child: Child, table: Table, tmp_path: Path) -> None:
    (work,) = works(table("a"), tmp_path / "out").values()
    outcome = child.run(replace(work, wanted={**work.wanted, "versions": {"torch": "9"}}), lambda: False)
    assert outcome.kind == VERSIONS
    assert "in place of 9" in outcome.reason


def test_a_result_that_another_worker_has_made_meanwhile_is_kept(child: Child, table: Table, tmp_path: Path) -> None:
    (work,) = works(table("a"), tmp_path / "out").values()
    child.run(work, lambda: False)
    before = (Path(work.folder) / "case.json").stat().st_mtime_ns
    assert child.run(work, lambda: False).kind == DONE
    assert (Path(work.folder) / "case.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("what", ["put there", "changed", "added", "a record that is none"])
def test_what_somebody_has_put_into_a_case_by_hand_is_not_replaced(
    what: str, child: Child, table: Table, tmp_path: Path
) -> None:
    path, output = table("a"), tmp_path / "out"
    (work,) = works(path, output).values()
    folder = Path(work.folder)
    if what == "put there":
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}", encoding="utf-8")
    else:
        assert child.run(work, lambda: False).kind == DONE
        (path.parent / "a.nii.gz").write_bytes((path.parent / "a.nii.gz").read_bytes() + b"\0")
        (work,) = works(path, output).values()
        name = {"changed": "result.json", "added": "inverse.h5"}.get(what, "case.json")
        (folder / name).write_text("mine", encoding="utf-8")
    mine = {each.name: each.read_bytes() for each in folder.iterdir()}
    outcome = child.run(work, lambda: False)
    assert (outcome.kind, "Move the files elsewhere" in outcome.reason) == (INPUT, True)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == mine


def test_what_a_cohort_has_written_itself_is_replaced_when_the_scan_changes(
    child: Child, table: Table, tmp_path: Path
) -> None:
    path, output = table("a"), tmp_path / "out"
    for more in (b"", b"\0"):
        (path.parent / "a.nii.gz").write_bytes((path.parent / "a.nii.gz").read_bytes() + more)
        (work,) = works(path, output).values()
        assert child.run(work, lambda: False).kind == DONE


def test_a_process_that_cannot_serve_is_told_with_what_it_said(tmp_path: Path) -> None:
    broken = Child({}, [sys.executable, "-c", "import sys; sys.exit('no torch here')"])
    work = Work({"name": "a", "row": 2}, os.fspath(tmp_path), {})
    with pytest.raises(ChildError, match="no torch here"):
        broken.run(work, lambda: False)
    broken.close()
