"""What every part of the benchmark is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The choices of the command line.

    Parameters
    ----------
    data, output
        Folder of cases; folder for the tables.
    only
        Part of the names of the cases to take, or "" for all.
    count
        Poses to try.
    repeats
        Runs of the measurements of speed and transport.
    recipe
        Recipe of all parts but `poses`.
    limit
        Longest time of one run in seconds.
    """

    data: Path
    output: Path
    only: str = ""
    count: int = 50
    repeats: int = 3
    recipe: str = "auto"
    limit: float = 300.0
