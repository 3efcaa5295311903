"""What a cohort costs besides its cases: planning, memory of the coordinator, seconds a case, start of a process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from DeepRegLib.cohort.child import default_command
from Testing.benchmarks.child import ROOT
from Testing.benchmarks.cohort.made import made_table, quick_environment

MANY, FEW, PLANNED = 2000, 20, 10_000
LIMITS = {"plan": 20.0, "case": 0.3, "memory": 30.0}
STARTS = 3


def rows() -> Iterator[dict[str, Any]]:
    """Measure everything; a row has what, value, unit, limit."""
    with tempfile.TemporaryDirectory() as folder:
        table = made_table(Path(folder) / "planned", (f"case {n}" for n in range(PLANNED)))
        found = _child("plan", table, Path(folder) / "none")
        yield _row(f"{PLANNED} rows planned", found["seconds"], "s", LIMITS["plan"])
        yield _row(f"{PLANNED} rows planned, of the processor", found["cpu"], "s", None)
        runs = {}
        for count in (FEW, MANY):
            table = made_table(Path(folder) / str(count), (f"case {n}" for n in range(count)))
            runs[count] = _child("run", table, Path(folder) / f"out {count}")
        yield _row("a case besides its registration", runs[MANY]["seconds"] / MANY, "s", LIMITS["case"])
        yield _row("of it in the coordinator's processor", runs[MANY]["cpu"] / MANY, "s", None)
        for count, run in runs.items():
            yield _row(f"memory of the coordinator, {count} rows", run["megabytes"], "MB", None)
        grown = runs[MANY]["megabytes"] - runs[FEW]["megabytes"]
        yield _row(f"memory more with {MANY} rows", grown, "MB", LIMITS["memory"])
    begun = time.perf_counter()
    used = sum(_start() for _ in range(STARTS)) / STARTS
    yield _row("start of a process with torch", (time.perf_counter() - begun) / STARTS, "s", None)
    yield _row("start of a process with torch, of the processor", used, "s", None)


def _row(what: str, value: float, unit: str, limit: float | None) -> dict[str, Any]:
    return {"what": what, "value": round(value, 3), "unit": unit, "limit": limit}


def _child(what: str, table: Path, output: Path) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, what, str(table), str(output)]
    done = subprocess.run(command, cwd=ROOT, env=quick_environment(), check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _start() -> float:
    """Start the process of the cases until it is ready, and return the seconds of the processor that took."""
    import psutil

    with subprocess.Popen(default_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None  # for mypy: a pipe was asked for
        process.stdout.readline()
        times = psutil.Process(process.pid).cpu_times()
        process.kill()
    return float(times.user + times.system)


def main(what: str, table: Path, output: Path) -> None:
    """Plan a table, or run it by one worker; print what that took as JSON."""
    import psutil

    from DeepRegLib.cohort.clusters import executor_of, local_cluster, threads_of
    from DeepRegLib.cohort.coordinating import run_all
    from DeepRegLib.cohort.manifest import read_manifest
    from DeepRegLib.cohort.plan import Choice, plan_of
    from DeepRegLib.versions import versions

    known = versions()
    begun, used = time.perf_counter(), time.process_time()
    plan = plan_of(read_manifest(table, {}), output, known, Choice())
    if what == "run":
        (output / "cases").mkdir(parents=True)
        with local_cluster(1) as cluster:
            executor = executor_of(cluster, threads_of(1), a_gpu=False)
            begun, used = time.perf_counter(), time.process_time()
            run_all((planned.work for planned in plan.todo), executor, output)
            executor.stop()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    megabytes = psutil.Process().memory_info().rss / 1e6
    print(json.dumps({"seconds": seconds, "cpu": cpu, "megabytes": megabytes}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
