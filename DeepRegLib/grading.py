"""Items of a quality sheet (AAPM TG-132), each beside its limit, and how they are graded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from DeepRegLib.geometry import Geometry
from DeepRegLib.result import Registration

PASS, LOOK, FAIL, INFORMATION = "pass", "look", "fail", "information"
LOOK_UP_TO = 2.0  # times a distance's limit
DICE_LOOK = 0.1  # below the limit
LANDMARK_ERROR, OVERLAP = "target registration error, mean", "Dice"
ACCURACY = (LANDMARK_ERROR, OVERLAP)
DICE = 0.8
DROVE = "the landmarks drew the field: keep some back for deepreg quality"


@dataclass(frozen=True)
class Item:
    """One line of the sheet.

    Parameters
    ----------
    name
        What was measured.
    structure
        Of what; empty for the whole scan.
    value
        NaN if it could not be.
    unit
        Of the value; empty for a plain number.
    limit
        What it is compared with, in words; empty for information.
    grade
        ``"pass"``, ``"look"``, ``"fail"`` or ``"information"``.
    note
        What to know about it.
    """

    name: str
    structure: str
    value: float
    unit: str
    limit: str
    grade: str
    note: str = ""


def longest_edge(fixed: Geometry, moving: Geometry) -> float:
    """Return TG-132's limit of distances in mm: the longest edge of a voxel of both scans."""
    return max(*fixed.spacing, *moving.spacing)


def overall(items: Sequence[Item]) -> str:
    """Return the gravest grade; ``"look"`` without landmarks and overlaps: a smooth field may be wrong."""
    grades = {item.grade for item in items}
    if FAIL in grades:
        return FAIL
    accurate = any(item.name in ACCURACY and item.grade == PASS for item in items)
    return PASS if accurate and LOOK not in grades else LOOK


def distance_item(name: str, structure: str, value: float, limit: float, note: str = "") -> Item:
    """Grade a distance in mm: it passes up to its limit, and is to be looked at up to twice that."""
    grade = PASS if value <= limit else LOOK if value <= LOOK_UP_TO * limit else FAIL
    return Item(name, structure, value, "mm", f"{limit:.3g} mm", grade, note)


def least_item(name: str, structure: str, value: float, limit: float, look: float) -> Item:
    """Grade a plain number: it passes from its limit on, and is to be looked at down to `look` below."""
    grade = PASS if value >= limit else LOOK if value >= limit - look else FAIL
    return Item(name, structure, value, "", f"at least {limit:g}", grade)


def items_of(registration: Registration, dice_limit: float = DICE) -> tuple[Item, ...]:
    """Return those items that a registration has measured of itself.

    Landmarks and labels that drove it say little of its error, which their notes tell; `deepreg quality` takes others.

    Parameters
    ----------
    registration
        The result.
    dice_limit
        From which a Dice passes.
    """
    measures = registration.measures
    limit = longest_edge(registration.fixed.geometry, registration.moving.geometry)
    items = []
    if measures.tre_after is not None:
        drove = registration.recipe.deformable.enabled and registration.recipe.deformable.landmark_pull > 0
        items.append(distance_item(LANDMARK_ERROR, "", measures.tre_after, limit, DROVE if drove else ""))
    for label, value in (measures.dice_after or {}).items():
        items.append(least_item(OVERLAP, f"Label {label}", value, dice_limit, DICE_LOOK))
    low = measures.jacobian_min
    items += [
        _folds_item("folded voxels", measures.folds),
        *([] if measures.inverse_folds is None else [_folds_item("folded voxels, inverse", measures.inverse_folds)]),
        Item("Jacobian, minimum", "", low, "", "above 0", PASS if low > 0 else FAIL),
        Item("Jacobian, maximum", "", measures.jacobian_max, "", "", INFORMATION),
        distance_item("inverse consistency, mean", "", measures.inverse_error_mean, limit),
        distance_item("inverse consistency, 99 %", "", measures.inverse_error_p99, limit),
        Item("cross correlation", "", measures.ncc_after, "", "", INFORMATION),
        Item("mutual information (1 to 2)", "", measures.nmi_after, "", "", INFORMATION),
    ]
    return tuple(items)


def _folds_item(name: str, folds: int) -> Item:
    return Item(name, "", float(folds), "", "0", PASS if folds == 0 else FAIL)


def value_text(item: Item) -> str:
    """Return an item's value with its unit; a dash where it could not be measured."""
    return "-" if math.isnan(item.value) else f"{item.value:.4g} {item.unit}".strip()
