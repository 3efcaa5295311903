"""Bytes a second that memory moves: a large copy, what is read and what is written both counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import torch

COPIED = 1 << 29  # bytes; more than any cache holds
COPIES = 8


def measure_copy(copied: int = COPIED, copies: int = COPIES) -> dict[str, float]:
    """Return the bytes a second of the fastest of some copies, after one that is not timed."""
    source = torch.ones(copied // 4)
    target = torch.zeros_like(source)
    target.copy_(source)
    fastest = min(_seconds(source, target) for _ in range(copies))
    return {"bytes a second": 2 * source.numel() * source.element_size() / fastest}


def _seconds(source: torch.Tensor, target: torch.Tensor) -> float:
    begin = perf_counter()
    target.copy_(source)
    return perf_counter() - begin


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(measure_copy()), encoding="utf-8")
