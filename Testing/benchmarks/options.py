"""What every part of the benchmark is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PeerOptions:
    """The choices of the comparison with other tools; `recipes` and `scaling` take those that they have a use for.

    Parameters
    ----------
    tools
        Their names, separated by commas; "" for all.
    pythons
        Interpreter by name of a tool's script, where it is not this one.
    threads
        How many threads each tool may use; `scaling` takes fewer as well.
    install
        Whether to install the tools that are missing, each in an environment of its own.
    fresh
        Whether to measure again what has been measured.
    both_ways
        Whether each tool registers the swapped images too, and the fixed one to itself.
    limit
        Longest time of one run in seconds.
    store
        File of what `peers` and `recipes` have measured; None for ``peers.json`` in the folder for the tables. The
        tables of a file that is named are written beside it, and so is all that `scaling` has.
    """

    tools: str = ""
    pythons: Mapping[str, str] = field(default_factory=dict)
    threads: int = os.cpu_count() or 1
    install: bool = False
    fresh: bool = False
    both_ways: bool = False
    limit: float = 3600.0
    store: Path | None = None


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
        Poses to try; scans that `segmentation` segments.
    repeats
        Runs of each time measurement.
    recipe
        Recipe of all parts but `poses`.
    model
        Name or folder of the model of `capture`, `contrast`, `gain`, `forward`, `described` and `explained`; names of
        `candidates` and `translation`, with commas.
    limit
        Longest time of one run in seconds.
    sizes
        Voxels along each axis of the cubes of `scaling`.
    spacing
        Of the voxels that `segmentation`, `labels`, `segment-tab` and the templates of `series` bring scans to, in mm;
        0 for what suits each.
    peers
        The choices of the comparison with other tools.
    """

    data: Path
    output: Path
    only: str = ""
    count: int = 50
    repeats: int = 3
    recipe: str = "auto"
    model: str = "anatomy"
    limit: float = 300.0
    sizes: tuple[int, ...] = (64, 128, 192, 256, 384, 512)
    spacing: float = 0.0
    peers: PeerOptions = field(default_factory=PeerOptions)
