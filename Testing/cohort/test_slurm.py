"""`deepreg cohort` on a real Slurm, which the test starts: jobs as workers, and an array job."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("dask_jobqueue", reason="the extra cohort is not installed")

from DeepRegLib.cohort import queue_options
from Testing.cli.conftest import Deepreg, deepreg  # noqa: F401  # a fixture
from Testing.cohort.conftest import ROOT, Table
from Testing.cohort.slurm import missing, running_slurm
from Testing.cohort.test_command import rows

pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing() or "-"), pytest.mark.slow]


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """Give the variables of a Slurm of one node; its socket needs a short path."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, running_slurm(Path(folder)) as variables:
        yield variables


@pytest.fixture
def at_slurm(slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have jobs run cases in no time."""
    paths = os.pathsep.join((str(ROOT / "Testing" / "cohort" / "standin"), str(ROOT)))
    for name, value in (slurm | {"PYTHONPATH": paths}).items():
        monkeypatch.setenv(name, value)


def test_twenty_cases_run_in_jobs_and_one_that_is_cancelled_is_replaced(
    deepreg: Deepreg,  # noqa: F811
    at_slurm: None,
    table: Table,
    tmp_path: Path,
) -> None:
    names = [*(f"case {number}" for number in range(19)), "cancelled"]
    words = ("--slurm", "--jobs", 1, "--job-memory", 1)
    outcome = deepreg("cohort", table(*names), "-o", tmp_path / "out", *words)
    assert (outcome.code, "20 done" in outcome.out) == (0, True), outcome.err
    found = rows(tmp_path / "out")
    assert [name for name, row in found.items() if row["attempts"] == "2"] == ["cancelled"]
    assert "Traceback" not in outcome.err
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_job_that_is_refused_ends_the_run_by_a_sentence(
    deepreg: Deepreg,  # noqa: F811
    at_slurm: None,
    table: Table,
    tmp_path: Path,
) -> None:
    words = ("--slurm", "--job-memory", 1, "--partition", "nowhere")
    outcome = deepreg("cohort", table("a"), "-o", tmp_path / "out", *words)
    assert outcome.code == 2
    assert "The batch system takes no job: sbatch: error: invalid partition specified: nowhere" in outcome.err


def test_an_array_job_of_twenty_cases_writes_the_same_folders(
    deepreg: Deepreg,  # noqa: F811
    at_slurm: None,
    monkeypatch: pytest.MonkeyPatch,
    table: Table,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(queue_options, "MOST_TASKS", 2)
    path, output, script = table(*(f"case {number}" for number in range(20))), tmp_path / "out", tmp_path / "job.sh"
    words = ("--jobs", 2, "--job-memory", 1)
    outcome = deepreg("cohort", path, "-o", output, "--array", script, *words)
    assert f"sbatch {script}" in outcome.out
    told = subprocess.run(["sbatch", "--wait", script], capture_output=True, text=True, check=False)
    logs = [log.read_text(encoding="utf-8") for log in (output / "jobs").iterdir()]
    assert told.returncode == 0, (told.stderr, logs)
    assert deepreg("cohort", path, "-o", output, "--collect").code == 0
    assert {row["status"] for row in rows(output).values()} == {"done"}
