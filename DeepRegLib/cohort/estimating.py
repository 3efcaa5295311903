"""How long a run will take and how much it will write, from the cases that are done."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.cohort.plan import Known, Planned


@dataclass(frozen=True)
class Estimate:
    """What some cases need.

    Parameters
    ----------
    seconds
        Of all together, one after another.
    size
        Bytes on the disk.
    memory
        Of the largest, bytes.
    """

    seconds: float
    size: int
    memory: int


def estimate(todo: Sequence[Planned], done: Sequence[Known]) -> Estimate | None:
    """Return what cases need by what those that are done needed; None if none is done.

    A case is taken for the median of those done; one with larger scans for as many times of it, in size and memory,
    as it has more voxels.
    """
    if not done:
        return None
    middle = sorted(done, key=lambda known: known.seconds)[len(done) // 2]
    size = memory = 0
    seconds = 0.0
    for planned in todo:
        ratio = planned.voxels / middle.voxels if planned.voxels and middle.voxels else 1.0
        # Time grows more slowly than voxels do (docs/scaling.md); most of it does not depend on them.
        seconds += middle.seconds * max(ratio, 1.0) ** 0.5
        size += round(middle.size * ratio)
        memory = max(memory, round(middle.memory * max(ratio, 1.0)))
    return Estimate(seconds, size, memory)


def free_space(output: Path) -> int | None:
    """Return how many bytes are free where a folder is or will be; None if nobody knows."""
    folder = output.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total > 0 else None
