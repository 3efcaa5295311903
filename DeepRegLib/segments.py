"""What a segment is called and how it is shown."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from DeepRegLib.errors import InputError

Colour = tuple[float, float, float]

LONGEST_NAME = 200
GOLDEN_RATIO = 0.618034


@dataclass(frozen=True)
class Segment:
    """One segment of a label map.

    Parameters
    ----------
    label
        Its number in the label map, above 0.
    name
        What it is called.
    colour
        Red, green and blue, 0 to 1.
    terminology
        What it is by a coding scheme, as Slicer writes it (the value of its tag ``TerminologyEntry``), or empty.

    Raises
    ------
    InputError
        If the label is not above 0, the name too long, or the colour out of range.
    """

    label: int
    name: str
    colour: Colour
    terminology: str = ""

    def __post_init__(self) -> None:
        if self.label < 1:
            raise InputError(f"A segment has the label {self.label}.", "Give labels above 0; 0 is the background.")
        if len(self.name) > LONGEST_NAME:
            raise InputError(f"The name of segment {self.label} is {len(self.name)} characters long.", "Shorten it.")
        if not all(0 <= part <= 1 for part in self.colour):
            raise InputError(f"Segment {self.label} has the colour {self.colour}.", "Give red, green, blue, 0 to 1.")


def colour_of(label: int) -> Colour:
    """Return a colour for a label that has none; neighbours in number are far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_RATIO % 1, 0.55 + 0.15 * (label % 3), 0.9)
    return round(red, 3), round(green, 3), round(blue, 3)


def unnamed(label: int) -> Segment:
    """Return a segment for a label of which nothing else is known."""
    return Segment(label, f"Label {label}", colour_of(label))
