"""Runs in fresh processes: their memory, time and mistakes are their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run_fresh(module: str, *arguments: object, limit: float) -> dict[str, Any]:
    """Run a module that writes JSON to the path it is given last; a failure is returned under "error"."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", module, *map(str, arguments), str(answer)]
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {limit:.0f} s"}
        if done.returncode != 0 or not answer.is_file():
            return {"error": last_line(done.stderr) or f"exit code {done.returncode}"}
        return dict(json.loads(answer.read_text(encoding="utf-8")))


def last_line(text: str) -> str:
    """Return the last line that says something, at most 120 characters of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else ""


def peak_memory() -> float:
    """Return the largest resident memory this process has had, in GB."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e9
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
