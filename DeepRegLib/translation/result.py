"""What a translation into another modality hands back. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from DeepRegLib.image import Image
from DeepRegLib.result import Verdict


@dataclass(frozen=True, eq=False)
class Translation:
    """A scan as another modality would show it, and how far it can be believed.

    Parameters
    ----------
    scan
        As given.
    synthetic
        What the network made of it: float32, 0 to 1, on the scan's grid. No scanner measured it.
    structure
        How well its edges run as those of the scan, 0 (chance) to 1: what is not in the scan was invented.
    verdict, decisions
        How far to trust it, what was done.
    timings
        Seconds a step.
    provenance
        Versions, device, hash of the scan.
    model
        Name, version and hash of the weights of the model.
    """

    scan: Image
    synthetic: Image
    structure: float
    verdict: Verdict
    decisions: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
