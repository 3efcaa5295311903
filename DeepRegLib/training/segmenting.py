"""The section of a configuration that says how a segmentation is learned, and what its labels are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from DeepRegLib.errors import InputError
from DeepRegLib.segments import Segment, colour_of
from DeepRegLib.tables import require

LARGEST_LABEL = 32767


@dataclass(frozen=True)
class Segmenting:
    """How a segmentation network learns.

    Parameters
    ----------
    names
        What each label of the label maps is called: a table with the labels as keys. All labels must be named; these
        are the segments of the model.
    colours
        Red, green and blue of a label, 0 to 1 each; others get a colour by their number.
    terminology
        What a label is by a coding scheme, as Slicer writes it in the tag ``TerminologyEntry``.
    dice
        Weight of 1 - soft Dice, the mean over the labels that a patch has.
    cross_entropy
        Weight of the cross-entropy of all voxels.
    balance
        How much more a voxel of a rare label counts in the cross-entropy: its weight is one over the label's share of
        all voxels to this power; 0 counts all alike, 1 gives each label the same say.
    foreground
        Share of the patches that lie about a voxel of a label, which is drawn evenly from those of the scan.
    mirror
        Mirror half of the patches along each axis. Not where left and right are two labels.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    colours: Mapping[str, Any] = field(default_factory=dict)
    terminology: Mapping[str, Any] = field(default_factory=dict)
    dice: float = 1.0
    cross_entropy: float = 1.0
    balance: float = 0.5
    foreground: float = 0.67
    mirror: bool = False

    def __post_init__(self) -> None:
        for name in ("dice", "cross_entropy"):
            require(getattr(self, name) >= 0, f"segmentation.{name}", getattr(self, name), "0 or more")
        require(self.dice + self.cross_entropy > 0, "segmentation.dice", self.dice, "a weight to it or cross_entropy")
        for name in ("balance", "foreground"):
            require(0 <= getattr(self, name) <= 1, f"segmentation.{name}", getattr(self, name), "0 to 1")
        for table in ("names", "colours", "terminology"):
            for key in getattr(self, table):
                right = str(key).isdecimal() and 1 <= int(key) <= LARGEST_LABEL
                require(right, f"segmentation.{table}", key, f"labels from 1 to {LARGEST_LABEL} as keys")
                require(key in self.names, f"segmentation.{table}", key, "labels alone that segmentation.names has")
        self.segments()

    def segments(self) -> tuple[Segment, ...]:
        """Return the labels with names, colours and terminology, ascending.

        Raises
        ------
        InputError
            If one of them cannot be used.
        """
        return tuple(self._segment(key) for key in sorted(self.names, key=int))

    def _segment(self, key: str) -> Segment:
        name, colour = self.names[key], self.colours.get(key, list(colour_of(int(key))))
        terminology = self.terminology.get(key, "")
        require(isinstance(name, str) and bool(name.strip()), f"segmentation.names.{key}", name, "a text in quotes")
        numbers = isinstance(colour, list | tuple) and all(isinstance(part, int | float) for part in colour)
        three = numbers and len(colour) == 3
        require(three, f"segmentation.colours.{key}", colour, "red, green and blue, 0 to 1 each")
        require(isinstance(terminology, str), f"segmentation.terminology.{key}", terminology, "a text in quotes")
        red, green, blue = (float(part) for part in colour)
        try:
            return Segment(int(key), name, (red, green, blue), terminology)
        except InputError as error:
            raise InputError(f"segmentation: {error.message}", error.hint) from error
