"""Seconds and memory of one answer of a network."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from DeepRegLib.models import find_model, load_bundle, load_network
from Testing.benchmarks.cases import FULL_SIZE
from Testing.benchmarks.child import peak_memory, run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table

TITLE = "One answer of the network"
SMALL = (96, 96, 96)


def measure(options: Options) -> Table:
    """Ask the model on images of two sizes, on each device there is; every run in a process of its own."""
    rows = []
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for size in (SMALL, FULL_SIZE):
            answers = [
                run_fresh(__spec__.name, options.model, device, *size, limit=options.limit)
                for _ in range(max(options.repeats, 1))
            ]
            rows.append({"device": device, "voxels": " x ".join(map(str, size)), **middle(answers)})
            print(f"  {rows[-1]}", flush=True)
    return Table(f"{TITLE} ({options.model})", ("device", "voxels", "seconds", "peak GB", "error"), rows)


def middle(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of what was measured, or an error."""
    failed = next((answer for answer in answers if "error" in answer), None)
    return failed or {key: median(answer[key] for answer in answers) for key in answers[0]}


@torch.no_grad()
def run_once(model: str, device: str, *size: str) -> dict[str, float]:
    """Return the seconds of a second answer, and the peak memory in GB: that of the process, or of the GPU."""
    network = load_network(load_bundle(find_model(model)), torch.device(device))
    fixed, moving = torch.rand(2, 1, 1, *map(int, size), device=device)
    network(fixed, moving)
    synchronise(device)
    start = time.perf_counter()
    network(fixed, moving)
    synchronise(device)
    seconds = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else peak_memory()
    return {"seconds": seconds, "peak GB": memory}


def synchronise(device: str) -> None:
    """Wait for what was started on a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
