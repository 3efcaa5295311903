"""Structures on a grid: label maps in layers, for structures may overlap, and what each label is called."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry

LARGEST_LABEL = 65535
PALETTE = (
    (230, 60, 60),
    (60, 160, 230),
    (90, 190, 70),
    (240, 170, 40),
    (160, 90, 210),
    (60, 200, 190),
    (220, 110, 160),
)


@dataclass(frozen=True)
class Structure:
    """What a label stands for.

    Parameters
    ----------
    label
        Its value in the layers.
    name
        As its author called it.
    colour
        Red, green and blue, 0 to 255.
    """

    label: int
    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class StructureSet:
    """Structures of one scan.

    Parameters
    ----------
    layers
        Label maps ``(k, j, i)``, uint16; structures that overlap lie in different ones.
    geometry
        Their grid.
    structures
        One a label.
    frame
        UID of the frame of reference; empty if there is none.
    """

    layers: tuple[NDArray[np.uint16], ...]
    geometry: Geometry
    structures: tuple[Structure, ...]
    frame: str = ""

    def mask(self, label: int) -> NDArray[np.bool_]:
        """Return where a label is, ``(k, j, i)``."""
        found = np.zeros(self.geometry.shape, dtype=np.bool_)
        for layer in self.layers:
            found |= layer == label
        return found


@dataclass
class Layers:
    """Label maps being filled.

    Parameters
    ----------
    shape
        ``(k, j, i)``.
    arrays
        The layers so far.
    """

    shape: tuple[int, int, int]
    arrays: list[NDArray[np.uint16]] = field(default_factory=list)

    def add(self, mask: NDArray[np.bool_], label: int) -> None:
        """Put a structure into the first layer in which its place is free."""
        for layer in self.arrays:
            if not np.any(layer[mask]):
                break
        else:
            layer = np.zeros(self.shape, dtype=np.uint16)
            self.arrays.append(layer)
        layer[mask] = label


def colour_of(number: int) -> tuple[int, int, int]:
    """Return a colour for a structure without one."""
    return PALETTE[number % len(PALETTE)]


def check_frame(frame: str, expected: str, what: str) -> None:
    """Make sure that an object lies in the frame of reference of its scan.

    Raises
    ------
    InputError
        If it names another one, or none while the scan does.
    """
    if expected and not frame:
        raise InputError(f"{what} names no frame of reference, so nobody knows where it lies.", "Export it again.")
    if expected and frame != expected:
        raise InputError(
            f"{what} lies in another frame of reference than its scan.", "Give the one that was made on this scan."
        )
