"""Tables of made cases, and calls of `deepreg cohort` that run them in no time, by the stand-in of the tests."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image
from Testing.benchmarks.child import ROOT


def made_table(folder: Path, names: Iterable[str], side: int = 4) -> Path:
    """Write a table with a row a name; each has a fixed scan of that name, all the same moving one.

    Parameters
    ----------
    folder
        Made where there is none.
    names
        Of the cases; of several equal ones the scan is the same.
    side
        Voxels along each edge of a scan, of noise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(-30000, 30000, (side, side, side)).astype(np.int16)
    write_image(Image(noise, Geometry((side, side, side))), folder / "moving.nii.gz")
    whole = (folder / "moving.nii.gz").read_bytes()
    path = folder / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "fixed", "moving"])
        for name in names:
            (folder / f"{name}.nii.gz").write_bytes(whole)
            writer.writerow([name, f"{name}.nii.gz", "moving.nii.gz"])
    return path


def quick_environment() -> dict[str, str]:
    """Return the variables with which every process runs cases in no time."""
    standin = ROOT / "Testing" / "cohort" / "standin"
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(standin), str(ROOT)))}


def cohort(table: Path, output: Path, *words: object, **more: str) -> subprocess.Popen[str]:
    """Begin `deepreg cohort` with made cases."""
    command = [sys.executable, "-m", "DeepRegLib", "cohort", str(table), "-o", str(output), *map(str, words)]
    return subprocess.Popen(
        command,
        env=quick_environment() | more,
        cwd=table.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str], limit: float = 600.0) -> str:
    """Wait for a call, and return what it said."""
    told, _ = process.communicate(timeout=limit)
    return told


def statuses(output: Path) -> dict[str, dict[str, str]]:
    """Return the rows of `cohort.csv` by case."""
    with (output / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}
