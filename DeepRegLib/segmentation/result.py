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
        Mean over the atlases that took part and have it, brought onto the scan, in ml; None where a model segmented.
    agreement
        Mean inside it of the segmentation's `agreement`; None if it was not found.
    """

    label: int
    name: str
    volume: float
    atlas_volume: float | None
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
        not show a place has no say, and where none does it is 0. Where a model segmented, its confidence instead: the
        probability that it gives to what the result says there.
    segments
        Names, colours and terminology of the labels of atlases or model, ascending; those that were not found are
        among them.
    rows
        Volume and agreement of each segment, in the same order.
    atlases
        What became of each atlas, in the order given; none where a model segmented.
    verdict, warnings, decisions
        How far to trust it, what to know, what was chosen.
    recipe
        With which the atlases were registered; None where there are none.
    fusion
        How their labels became one; "" where there are none.
    timings
        Seconds a step.
    provenance
        Versions, device, seed, hashes of the inputs.
    model
        Name, version and hash of the weights of the model that segmented; empty where atlases did.
    """

    scan: Image
    labels: Image
    agreement: Image
    segments: tuple[Segment, ...]
    rows: tuple[SegmentRow, ...]
    atlases: tuple[AtlasRow, ...]
    verdict: Verdict
    recipe: Recipe | None
    fusion: str
    warnings: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
