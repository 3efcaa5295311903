"""What a segmentation hands back. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from DeepRegLib.image import Image
from DeepRegLib.recipes import Recipe
from DeepRegLib.result import Verdict
from DeepRegLib.segmentation.segments import Segment


@dataclass(frozen=True)
class AtlasRow:
    """What became of one atlas.

    Parameters
    ----------
    name
        Of the atlas.
    used
        Whether its labels took part.
    verdict
        On its registration; ``"failed"`` leaves it out.
    dice
        Mean Dice of its carried labels with the result over their segments, or None if it took no part.
    seconds
        That its registration took.
    """

    name: str
    used: bool
    verdict: Verdict
    dice: float | None
    seconds: float


@dataclass(frozen=True)
class SegmentRow:
    """What was found of one segment.

    Parameters
    ----------
    label, name
        Which one.
    volume
        In ml; 0 if it was not found.
    atlas_volume
        Mean over the atlases that took part and have it, brought onto the scan, in ml.
    agreement
        Mean share of the atlases that say the same, inside it; None if it was not found.
    """

    label: int
    name: str
    volume: float
    atlas_volume: float
    agreement: float | None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on a scan, and how far they can be trusted.

    Parameters
    ----------
    scan
        As given.
    labels
        Label map on the scan's grid.
    agreement
        float32 on the scan's grid: share of the atlases that say what the result says there, 0 to 1; an atlas that does
        not show a place has no say, and where none does it is 0.
    segments
        Names, colours and terminology of the atlases' labels, ascending; those that were not found are among them.
    rows
        Volume and agreement of each segment, in the same order.
    atlases
        What became of each atlas, in the order given.
    verdict, warnings, decisions
        How far to trust it, what to know, what was chosen.
    recipe
        With which the atlases were registered.
    fusion
        How their labels became one.
    timings
        Seconds a step.
    provenance
        Versions, device, seed, hashes of the inputs.
    """

    scan: Image
    labels: Image
    agreement: Image
    segments: tuple[Segment, ...]
    rows: tuple[SegmentRow, ...]
    atlases: tuple[AtlasRow, ...]
    verdict: Verdict
    recipe: Recipe
    fusion: str
    warnings: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
