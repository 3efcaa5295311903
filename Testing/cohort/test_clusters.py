"""Clusters that someone else runs, and batch systems: what they are asked, what is told when nothing comes of it."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytest.importorskip("typer")
pytest.importorskip("distributed", reason="the extra cohort is not installed")

from DeepRegLib.cohort import watching
from DeepRegLib.cohort.clusters import executor_of, local_cluster, running_cluster
from DeepRegLib.cohort.queue_options import Queue
from DeepRegLib.cohort.queues import jobs_cluster
from DeepRegLib.cohort.steps import Steps
from DeepRegLib.cohort.watching import JobWatch
from DeepRegLib.errors import InputError
from DeepRegLib.versions import versions
from Testing.cli.conftest import Deepreg, deepreg  # noqa: F401  # a fixture
from Testing.cohort.conftest import ROOT, Table
from Testing.cohort.test_command import rows

ADDRESS = re.compile(r"tcp://127\.0\.0\.1:\d+")


@contextmanager
def dask(*words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Give a running `dask scheduler` or `dask worker`, whose cases run in no time."""
    command = [sys.executable, "-m", "dask", *words]
    paths = os.pathsep.join((str(ROOT / "Testing" / "cohort" / "standin"), str(ROOT)))
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": paths} | more, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def address_of(scheduler: subprocess.Popen[str]) -> str:
    assert scheduler.stderr is not None
    return next(found[0] for line in scheduler.stderr if (found := ADDRESS.search(line)))


def test_a_cluster_that_runs_already_has_one_case_on_each_graphics_card_and_its_end_is_told(
    deepreg: Deepreg,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    table: Table,
    tmp_path: Path,
) -> None:
    path = table("a", "b", "c", "d")
    with dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard") as scheduler:
        address = address_of(scheduler)
        words = ("--nthreads", "3", "--resources", "GPU=2", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1")
        folder = ("--local-directory", str(tmp_path / "dask"))
        with dask("worker", address, *words, *folder, CUDA_VISIBLE_DEVICES="7,9"):
            outcome = deepreg("cohort", path, "-o", tmp_path / "out", "--scheduler", address, "--gpus", 1)
            assert (outcome.code, "4 done" in outcome.out) == (0, True), outcome.err
            assert {row["device"] for row in rows(tmp_path / "out").values()} == {"7", "9"}
            with running_cluster(address) as cluster:  # the steps of a template go the same way
                executor = executor_of(cluster, {}, a_gpu=True)
                total = Steps(executor, tmp_path, versions()).reduced("add", "sum", list(range(1, 40)), {})
                executor.stop()
            assert Path(total).read_text(encoding="ascii") == str(sum(range(1, 40)))
            assert total.endswith("sum-2-0.npz")  # ten sums of four, two of those, one
        monkeypatch.setattr(watching, "PATIENCE_SECONDS", 0.0)
        outcome = deepreg("cohort", path, "-o", tmp_path / "other", "--scheduler", address, "--gpus", 1)
        assert (outcome.code, f"The cluster at {address} has had no worker" in outcome.err) == (2, True)
        assert {row["status"] for row in rows(tmp_path / "other").values()} == {"missing"}
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait()
        monkeypatch.setattr("DeepRegLib.cohort.clusters.CONNECT_SECONDS", 0.2)
        outcome = deepreg("cohort", path, "-o", tmp_path / "other", "--scheduler", address)
        assert (outcome.code, f"No Dask scheduler answers at {address}" in outcome.err) == (2, True)


def listening() -> set[tuple[str, int]]:
    """Return where this process listens to the network."""
    return {tuple(one.laddr) for one in psutil.Process().net_connections("inet") if one.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize("address", ["127.0.0.1:0", None])
def test_nothing_but_the_dashboard_of_this_machine_listens(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.setattr("DeepRegLib.cohort.clusters.DASHBOARD", address)
    before = listening()
    with local_cluster(2) as cluster:
        opened = listening() - before
        assert {host for host, _ in opened} == ({"127.0.0.1"} if address else set())
        assert cluster.dashboard == "".join(f"http://127.0.0.1:{port}/status" for _, port in opened)
    assert listening() <= before


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("kind", "directives"),
    [
        ("slurm", ("#SBATCH -p long", "#SBATCH -t 01:30:30", "#SBATCH --cpus-per-task=4", "#SBATCH --gres=gpu:2")),
        ("pbs", ("#PBS -q long", "#PBS -l walltime=01:30:30", "#PBS -l select=1:ncpus=4:mem=8gb:ngpus=2")),
        ("lsf", ("#BSUB -q long", "#BSUB -W 01:30", "#BSUB -n 4", '#BSUB -gpu "num=2"')),
        ("sge", ("#$ -q long", "#$ -l h_rt=01:30:30")),
    ],
)
def test_each_batch_system_is_asked_in_its_own_words(kind: str, directives: tuple[str, ...], tmp_path: Path) -> None:
    queue = Queue(kind, 3, "long", 90.5, 4, 8, 2, ("-X own",))
    cluster = jobs_cluster(queue, str(tmp_path), JobWatch(kind, tmp_path, print))
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    lines = script.splitlines()
    assert {*directives, f"{directives[0].split()[0]} -X own"} <= set(lines)
    # Two cards are two cases at a time, and the worker leaves a minute before its time is over.
    for words in (
        "--nthreads 2",
        "--resources GPU=2",
        "--lifetime 5370s",
        "--no-nanny",
        "--no-dashboard",
        "--protocol tls://",
    ):
        assert words in lines[-1]
    (key,) = re.findall(r"--tls-key (\S+)", lines[-1])
    assert stat.S_IMODE(Path(key).stat().st_mode) == 0o600
    assert Path(key).parent == tmp_path
    assert "PRIVATE KEY" not in script


def test_graphics_cards_of_grid_engine_are_named_by_the_site() -> None:
    with pytest.raises(InputError, match="names graphics cards"):
        Queue("sge", gpus=1)


LINES = {
    "slurm": ("11 PENDING Resources\n12 PENDING JobHeldUser", "12 PENDING JobHeldUser", "99 RUNNING None"),
    "pbs": (
        "Job id  Name  User  Time Use S Queue\n11  deepreg  me  0 Q batch\n12  deepreg  me  0 H batch",
        "12  deepreg  me  0 H batch",
        "11  deepreg  me  0 F batch",
    ),
    "sge": (
        "job-ID prior name user state\n11 0.5 deepreg me qw 11/29/2026\n12 0.5 deepreg me Eqw 11/29/2026",
        "12 0.5 deepreg me Eqw 11/29/2026",
        "99 0.5 other me qw 11/29/2026",
    ),
    "lsf": ("11 PEND\n12 PSUSP", "12 PSUSP", "11 EXIT\n12 DONE"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="stands in for commands by scripts of the shell")
@pytest.mark.parametrize("kind", list(LINES))
def test_what_the_batch_system_says_of_the_jobs_decides_whether_to_wait(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waiting, held, over = LINES[kind]
    program = tmp_path / watching.BATCH_SYSTEMS[kind].words[0]
    monkeypatch.setattr(watching, "ASK_SECONDS", 0.0)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said: list[str] = []
    watch = JobWatch(kind, tmp_path, said.append, jobs=["11", "12"])

    def answer(lines: str) -> str:
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n", encoding="ascii")
        program.chmod(0o755)
        return watch.trouble()

    assert (answer(waiting), len(said), "11" in said[0]) == ("", 1, True)
    assert "will not begin" in answer(held)
    (tmp_path / "job.err").write_text("python: not found\n\n", encoding="ascii")
    assert answer(over) == "The jobs ended before one was a worker. The last one said: python: not found"
    watch.refused.append("no such queue")
    assert answer(waiting) == "The batch system takes no job: no such queue."


def test_a_batch_system_that_does_not_answer_is_waited_for_some_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(watching, "ASK_SECONDS", 0.0)
    monkeypatch.setenv("PATH", str(tmp_path))
    watch = JobWatch("slurm", tmp_path, print, jobs=["11"])
    assert watch.trouble() == ""
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", -1.0)
    assert "squeue tells nothing" in watch.trouble()
