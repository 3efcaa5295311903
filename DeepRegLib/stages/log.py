"""What a run notes for its result while it lasts: the one thing about a run that grows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image


@dataclass(frozen=True, eq=False)
class RunLog:
    """Notes of a run, in the order in which its stages make them.

    Parameters
    ----------
    decisions
        Sentences on what was chosen and why.
    warnings
        Sentences on what the user should know.
    curves
        Similarity per iteration, one array a stage and level.
    maps
        Volumes on the fixed image's grid that are delivered beside the transform, by name.
    provenance
        What else the result depends on, such as a model.
    """

    decisions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    maps: dict[str, Image] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def add_decision(self, sentence: str) -> None:
        """Note what was chosen and why."""
        self.decisions.append(sentence)

    def add_warning(self, sentence: str) -> None:
        """Note what the user should know."""
        self.warnings.append(sentence)

    def add_curve(self, name: str, similarity: NDArray[np.float64]) -> None:
        """Note the similarity at each iteration of a level, ``(iterations,)``."""
        self.curves[name] = similarity

    def add_map(self, image: Image) -> None:
        """Note a volume to be delivered; its name tells what it shows."""
        self.maps[image.name] = image

    def add_provenance(self, name: str, value: Any) -> None:
        """Note what else the result depends on, as numbers, text, lists and dictionaries."""
        self.provenance[name] = value

    def with_decisions(self, decisions: list[str]) -> RunLog:
        """Return a log with other decisions; the rest is the same."""
        return replace(self, decisions=decisions)
