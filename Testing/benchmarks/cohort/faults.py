"""What becomes of cases when workers or coordinators are killed, the disk is full, a case eats, hangs, is damaged."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from Testing.benchmarks.cohort.made import cohort, finished, made_table, statuses
from Testing.cohort.slurm import missing, running_slurm

KILLS, KILL_CASES, CASES = 10, 60, 20
SMALL_DISK = 12  # MB
WALLTIME_MINUTES = 2


def rows() -> Iterator[dict[str, Any]]:
    """Try every fault; a row has what, and what came of it."""
    for what in (killed, wrong_cases, full_disk, short_jobs):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield from what(Path(folder))


def killed(folder: Path) -> Iterator[dict[str, Any]]:
    """Kill by turns a process of a case and the coordinator, at random moments while cases run; let the run end."""
    moments, counts = random.Random(0), {"a case's process": 0, "the coordinator": 0}
    table, output = made_table(folder / "data", (f"sleep10-{n}" for n in range(KILL_CASES))), folder / "out"
    while sum(counts.values()) < KILLS:
        process = cohort(table, output, "--local", 2, "--retries", KILLS)
        victim = "the coordinator" if sum(counts.values()) % 2 else "a case's process"
        if not _cases_begun(process):
            finished(process)
            break
        time.sleep(moments.uniform(0, 2))
        if victim == "a case's process":
            counts[victim] += _killed_a_case(process)
            time.sleep(moments.uniform(1, 2))
        elif process.poll() is None:
            counts[victim] += 1
        process.kill()  # what a case's death leads to is seen by the next call
        finished(process)
    told = finished(cohort(table, output, "--local", 2))
    found = statuses(output)
    left = [path.name for path in (*output.iterdir(), *(output / "cases").iterdir()) if path.name.startswith(".")]
    done = sum(row["status"] == "done" for row in found.values())
    whole = sum((output / "cases" / name / "result.json").is_file() for name in found)
    counted = ", ".join(f"{name} {count} times" for name, count in counts.items())
    complete = sum(counts.values()) == KILLS and done == whole == len(found) == KILL_CASES
    yield {
        "what": f"killed (signal 9) while cases ran: {counted}",
        "came of it": f"{done} of {KILL_CASES} done, {whole} whole, {len(left)} left over",
        "right": complete and not left and f"{KILL_CASES} done" in told,
    }


def _cases_begun(process: subprocess.Popen[str]) -> bool:
    """Wait until a call has begun cases; return whether it has before its end."""
    own = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            if own.children():
                return True
        time.sleep(0.02)
    return False


def _killed_a_case(process: subprocess.Popen[str]) -> bool:
    """Kill one of the processes that run cases for a call; return whether there was one."""
    with contextlib.suppress(psutil.Error):
        for case in psutil.Process(process.pid).children(recursive=True):
            case.kill()
            return True
    return False


def wrong_cases(folder: Path) -> Iterator[dict[str, Any]]:
    """Run a table in which each case goes wrong in a way of its own."""
    names = ["good", "hang", "eat", "die", "once", "cut", "twice", "twice", "Ω, 肝 ü", "refused"]
    table, output = made_table(folder / "data", names), folder / "out"
    scan = table.parent / "cut.nii.gz"
    scan.write_bytes(scan.read_bytes()[:40])
    finished(cohort(table, output, "--local", 2, "--case-time", 0.05, "--case-memory", 0.2))
    found = statuses(output)
    wanted = {
        **dict.fromkeys(("good", "once", "Ω, 肝 ü"), ("done", "")),
        "hang": ("failed", "longer than 3 s"),
        "eat": ("failed", "200 MB are allowed"),
        "die": ("failed", "killed (signal 9)"),
        "cut": ("wrong row", "cut.nii.gz"),
        "twice": ("wrong row", "same name"),
        "refused": ("failed", "damaged"),
    }
    for name, (status, words) in wanted.items():
        row = found[name]
        yield {
            "what": f"case {name!r}",
            "came of it": f"{row['status']}, {row['attempts'] or 'no'} tries. {row['reasons']}".strip(),
            "right": row["status"] == status and words in row["reasons"],
        }


def full_disk(folder: Path) -> Iterator[dict[str, Any]]:
    """Write results to a disk that is too small for them."""
    output = folder / "disk"
    output.mkdir()
    mounted = (
        sys.platform == "linux"
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}m", "tmpfs", str(output)],
            check=False,
            capture_output=True,
        ).returncode
    )
    if not mounted:
        yield {"what": "disk full", "came of it": "not tried: no small disk can be mounted here", "right": None}
        return
    try:
        table = made_table(folder / "data", (f"case {n}" for n in range(CASES)), side=72)  # 0.7 MB each
        told = finished(cohort(table, output / "out", "--local", 2))
        whole = sum(path.name == "result.json" for path in (output / "out" / "cases").glob("*/*"))
        half = [path.name for path in (output / "out" / "cases").iterdir() if not (path / "result.json").is_file()]
        size = (table.parent / "moving.nii.gz").stat().st_size / 1e6
    finally:
        subprocess.run(["umount", str(output)], check=False)
    last = next((line for line in told.splitlines() if "The run ended" in line), "no word of it")
    yield {
        "what": f"a disk of {SMALL_DISK} MB, results of {size:.1f} MB",
        "came of it": f"{whole} whole, {len(half)} in part. {last.replace(str(folder), '')}",
        "right": 0 < whole < CASES and not half and "full" in last,
    }


def short_jobs(folder: Path) -> Iterator[dict[str, Any]]:
    """Run longer than a job of Slurm may last."""
    what = f"Slurm, jobs of {WALLTIME_MINUTES} minutes"
    if missing():
        yield {"what": what, "came of it": f"not tried: {missing()}", "right": None}
        return
    table, output = made_table(folder / "data", (f"sleep80-{n}" for n in range(CASES))), folder / "out"
    with running_slurm(folder / "slurm") as variables:
        words = ("--slurm", "--jobs", 1, "--job-memory", 1, "--time", WALLTIME_MINUTES, "--retries", 0)
        begun = time.perf_counter()
        told = finished(cohort(table, output, *words, **variables))
        minutes = (time.perf_counter() - begun) / 60
        jobs = set(_job_numbers(folder / "slurm"))
    found = statuses(output)
    again = sum(int(row["attempts"] or 0) > 1 for row in found.values())
    done = sum(row["status"] == "done" for row in found.values())
    yield {
        "what": what,
        "came of it": f"{done} of {CASES} done in {minutes:.1f} minutes by {len(jobs)} jobs, {again} cases begun again",
        "right": done == CASES and minutes > WALLTIME_MINUTES and len(jobs) > 1 and "Traceback" not in told,
    }


def _job_numbers(slurm: Path) -> Iterator[str]:
    for line in (slurm / "slurmctld.log").read_text(encoding="utf-8", errors="replace").splitlines():
        if "Allocate JobId=" in line:
            yield line.partition("JobId=")[2].split()[0]
