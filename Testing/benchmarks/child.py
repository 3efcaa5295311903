"""Runs in fresh processes: their memory, time and mistakes are their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from DeepRegLib.process_setup import WAITING

ROOT = Path(__file__).resolve().parents[2]


def run_fresh(
    module: str,
    *arguments: object,
    limit: float,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a module that writes JSON to the path it is given last; a failure is returned under "error".

    `python` is the interpreter, and `environment` comes on top of this process's.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [python, "-m", module, *map(str, arguments), str(answer)]
        variables = {**WAITING, **os.environ, **(environment or {})}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {limit:.0f} s"}
        if done.returncode != 0 or not answer.is_file():
            return {"error": ending(done.returncode, done.stderr)}
        return dict(json.loads(answer.read_text(encoding="utf-8")))


def ending(code: int, stderr: str) -> str:
    """Return how a process ended, in a line."""
    if code < 0:  # killed: what it said last was about something else
        return f"killed by {signal.Signals(-code).name}"
    return last_line(stderr) or f"exit code {code}"


def last_line(text: str) -> str:
    """Return the last line that says something, at most 120 characters of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else ""


def peak_memory() -> float:
    """Return the largest resident memory this process has had, in GB."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e9
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    kilobytes = [float(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    if kilobytes:  # on Linux getrusage counts the most that the parent had when it started this process, too
        return kilobytes[0] * 1024 / 1e9
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
