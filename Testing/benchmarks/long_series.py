"""Five hundred frames in a process of its own: how much memory the run ever takes."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.formats.nifti_series import write_nifti_series
from DeepRegLib.geometry import Geometry
from DeepRegLib.recipes import load_recipe
from Testing.benchmarks.child import peak_memory, run_fresh
from Testing.benchmarks.options import Options

COUNT, SIZE = 500, 32
MOST_GB = 4.0
LIMIT = 3600.0


def long_row(options: Options) -> dict[str, Any]:
    """Register many frames of a file, and tell the most memory."""
    del options
    told = run_fresh(__spec__.name, limit=LIMIT)
    what = f"{COUNT} frames of {SIZE}^3"
    if "error" in told:
        return {"what": what, "how": told["error"]}
    how = (
        f"series in a folder: {told['before GB']:.2f} GB before, {told['few GB']:.2f} GB after {told['few']} frames, "
        f"{told['GB']:.2f} GB after all; wanted {MOST_GB:g} GB"
    )
    return {"what": what, "how": how, "CPU seconds": told["seconds"], "verdict": told["verdict"]}


def run() -> dict[str, Any]:
    """Register a small body that breathes, frame after frame from one compressed file, and save it."""
    from DeepRegLib.series.frames import read_frames
    from DeepRegLib.series.registering import register_series
    from DeepRegLib.series.saving import reserved_series, write_series

    before = peak_memory()
    few = 20
    with tempfile.TemporaryDirectory() as place:
        told: dict[str, Any] = {"before GB": before, "few": few}
        for count, key in ((few, "few GB"), (COUNT, "GB")):
            path, output = Path(place) / f"{count}.nii.gz", Path(place) / f"out{count}"
            write_nifti_series(path, (_frame(n) for n in range(count)), count, _grid(), 0.5)
            begun = time.process_time()
            with reserved_series(output, inputs=[path]) as folder:
                series = register_series(read_frames(path), _recipe(), reference=0, device="cpu", store=folder.store)
                write_series(series, folder, None)
            told |= {key: peak_memory(), "seconds": time.process_time() - begun, "verdict": series.verdict.level}
    return told


def _recipe() -> Any:
    fast = load_recipe("fast")
    stage = replace(fast.deformable, shrink=(2, 1), iterations=(8, 4))
    return replace(fast, search=replace(fast.search, enabled=False), deformable=stage)


def _grid() -> Geometry:
    return Geometry((SIZE, SIZE, SIZE), (3.0, 3.0, 3.0))


def _frame(number: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    z, y, x = np.mgrid[:SIZE, :SIZE, :SIZE] - SIZE / 2
    up = 2 * np.sin(number / 4) ** 2
    body = 300 * np.exp(-(x**2 + y**2 + z**2) / (SIZE / 3) ** 2)
    blobs = 500 * np.exp(-((x - 4) ** 2 + y**2 + (z - up) ** 2) / 18) + 400 * np.exp(
        -((x + 5) ** 2 + (y - 3) ** 2 + (z + 3 - up) ** 2) / 12
    )
    noise = np.random.default_rng(number).normal(0, 8, x.shape)
    return (body + blobs + noise).astype(np.int16)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(run()), encoding="utf-8")
