"""Limits of a quality sheet: those of TG-132 (Brock et al., Medical Physics 2017), and what a user sets instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from DeepRegLib.errors import InputError
from DeepRegLib.grading import DICE
from DeepRegLib.naming import shown
from DeepRegLib.tables import from_table, read_toml, require

STEREOTACTIC_MM = 1.0
EXAMPLE = "the page on the quality sheet"


@dataclass(frozen=True)
class StructureLimits:
    """What is expected of one structure.

    Parameters
    ----------
    dice
        Least overlap.
    jacobian
        Range of the volume each voxel may have in the moving scan per volume in the fixed one: (0.95, 1.05) for bone.
    volume_change
        Range in per cent by which the transform may change the structure's volume; empty if nothing is expected.
    """

    dice: float = DICE
    jacobian: tuple[float, ...] = (0.0, float("inf"))
    volume_change: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(0 <= self.dice <= 1, "dice", self.dice, "a number from 0 to 1")
        require(
            len(self.jacobian) == 2 and 0 <= self.jacobian[0] < self.jacobian[1],
            "jacobian",
            self.jacobian,
            "two numbers, the smaller first, none below 0",
        )
        require(
            len(self.volume_change) in (0, 2) and list(self.volume_change) == sorted(set(self.volume_change)),
            "volume_change",
            self.volume_change,
            "two numbers, the smaller first",
        )


@dataclass(frozen=True)
class Limits:
    """Limits of a sheet.

    Parameters
    ----------
    distance
        mm; 0 takes the larger voxel of both scans, as TG-132 has it.
    usual
        Of structures that are not named.
    structures
        Of named ones; names are compared without regard to case.
    """

    distance: float = 0.0
    usual: StructureLimits = field(default_factory=StructureLimits)
    structures: Mapping[str, StructureLimits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(0 <= self.distance < float("inf"), "distance", self.distance, "a number of mm, 0 for the voxel's")

    def of(self, name: str) -> StructureLimits:
        """Return the limits of a structure."""
        return self.structures.get(name.strip().lower(), self.usual)


def read_limits(path: Path) -> Limits:
    """Read limits from a TOML file: `distance`, tables `usual` and `structures.NAME`.

    Raises
    ------
    InputError
        If it cannot be read, or a key or value is wrong.
    """
    table = read_toml(path, EXAMPLE)
    unknown = sorted(set(table) - {each.name for each in fields(Limits)})
    if unknown:
        raise InputError(f"{shown(path)} has the unknown key {shown(unknown[0])}.", f"Compare it with {EXAMPLE}.")
    named = {
        name.strip().lower(): from_table(StructureLimits, _table(entry, name), f"structures.{name}.")
        for name, entry in _table(table.get("structures", {}), "structures").items()
    }
    usual = from_table(StructureLimits, _table(table.get("usual", {}), "usual"), "usual.")
    distance = table.get("distance", 0.0)
    require(isinstance(distance, int | float) and not isinstance(distance, bool), "distance", distance, "a number")
    return Limits(float(distance), usual, named)


def _table(value: Any, key: str) -> Mapping[str, Any]:
    require(isinstance(value, Mapping), key, value, "a table")
    table: Mapping[str, Any] = value
    return table
