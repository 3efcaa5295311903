"""What a result says of how it was made: enough to judge it anew, or to improve it, if the scans are still there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from DeepRegLib.correction import Correction
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry, geometry_from
from DeepRegLib.image import Image
from DeepRegLib.orientation import in_standard_order, standard_order
from DeepRegLib.provenance import image_hash
from DeepRegLib.recipes import Recipe, recipe_from_dict, without_folder
from DeepRegLib.request import Drivers, Request
from DeepRegLib.transforms import Transform

# What a result must be given again, by on whose grid it lies.
GIVEN_AGAIN = {"fixed_mask": "fixed", "moving_mask": "moving", "sliding_mask": "fixed", "rigid_labels": "fixed"}
# The parts of a saved result's table that make a record.
RECORDED = ("recipe", "fixed", "moving", "verdict", "warnings", "decisions", "provenance")


@dataclass(frozen=True, eq=False)
class Record:
    """How a registration was made.

    Parameters
    ----------
    recipe
        As it ran.
    fixed, moving
        The grids of the scans.
    verdict
        The level of its verdict.
    warnings, decisions
        What was to be known of it, and what was chosen and why.
    corrections
        What was corrected by hand, in its order.
    provenance
        Versions, seed and hashes of what was registered, as `provenance_of` gives them.
    """

    recipe: Recipe
    fixed: Geometry
    moving: Geometry
    verdict: str
    warnings: tuple[str, ...]
    decisions: tuple[str, ...]
    corrections: tuple[Correction, ...]
    provenance: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The seed of what is sampled at random."""
        seed = self.provenance.get("seed", 0)
        return seed if isinstance(seed, int) and not isinstance(seed, bool) else 0

    @property
    def background(self) -> float | None:
        """The value outside the moving field of view that was asked for, or None."""
        value = self.provenance.get("background")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def require_scans(self, fixed: Image, moving: Image) -> None:
        """Make sure that these are the scans that were registered, in whatever order their axes are stored.

        Raises
        ------
        InputError
            If the voxels or the grid of one are others.
        """
        for role, image in (("fixed", fixed), ("moving", moving)):
            if not self._is_the(role, image, role):
                raise InputError(
                    f"{image.name} is not the {role} scan of this result: its voxels or its grid differ.",
                    "Give the scans that were registered, the fixed one first, or register these.",
                )

    def unlike(self, drivers: Drivers) -> list[str]:
        """Return a sentence for each mask of the registration that these drivers lack or have another one for."""
        sentences = []
        for name, role in GIVEN_AGAIN.items():
            mask, words = getattr(drivers, name), name.replace("_", " ")
            if f"{name}_sha256" not in self.provenance:
                continue
            if mask is None:
                sentences.append(f"The result was registered with a {words}, which is not given now.")
            elif not self._is_the(name, mask, role):
                sentences.append(f"The {words} is not the one that the result was registered with.")
        return sentences

    def _is_the(self, name: str, image: Image, role: str) -> bool:
        """Tell whether an image is the one that was hashed by a name, on the grid of the scan of a role."""
        return bool(self.provenance.get(f"{name}_sha256") == image_hash(_stored_as(getattr(self, role), image)))


@dataclass(frozen=True, eq=False)
class Restoring:
    """A result of which transforms and record are left, to be judged anew.

    Parameters
    ----------
    request
        The scans, and what is known and wanted of them.
    record
        How the result was made.
    transform
        Fixed points to moving points.
    inverse
        The way back; None if it has to be found.
    """

    request: Request
    record: Record
    transform: Transform
    inverse: Transform | None = None


def record_of_text(text: str, where: str) -> Record:
    """Return the record that a text holds as JSON.

    Parameters
    ----------
    text
        A table with the parts `RECORDED`, as `DeepRegLib.saving.result_to_dict` gives them.
    where
        What the text was read from, for errors.

    Raises
    ------
    InputError
        If it is damaged.
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(where, "it is no JSON") from error
    if not isinstance(table, dict):
        raise damaged(where, "it holds no table")
    return record_of(table, where)


def record_of(table: Mapping[str, Any], where: str) -> Record:
    """Return the record that the table of a result holds; models are known by their names alone.

    Raises
    ------
    InputError
        If it is damaged.
    """
    provenance = part(table, "provenance", dict, where)
    made = provenance.get("corrections", [])
    return Record(
        recipe=without_folder(recipe_from_dict(part(table, "recipe", dict, where), where)),
        fixed=_geometry(part(table, "fixed", dict, where), where),
        moving=_geometry(part(table, "moving", dict, where), where),
        verdict=part(part(table, "verdict", dict, where), "level", str, where),
        warnings=tuple(str(each) for each in part(table, "warnings", list, where)),
        decisions=tuple(str(each) for each in part(table, "decisions", list, where)),
        corrections=tuple(_correction(each, where) for each in (made if isinstance(made, list) else [])),
        provenance=provenance,
    )


def part(table: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """Return a part of a table that was read from a file.

    Raises
    ------
    InputError
        If it is missing or of another kind.
    """
    value = table.get(key)
    if not isinstance(value, kind):
        raise damaged(where, f"{key!r} is missing, or of another kind")
    return value


def damaged(where: str, what: str) -> InputError:
    """Return the error that says what is wrong with a result that was read."""
    return InputError(f"{where} is damaged: {what}.", "Take the result as DeepReg saved it, or register again.")


def _stored_as(grid: Geometry, image: Image) -> Image:
    """Return an image with its axes as a grid has them, if it lies on that grid; else as it is."""
    order, standard = standard_order(grid), in_standard_order(image)
    return order.back(standard, grid) if order.of_geometry(grid).is_close(standard.geometry) else image


def _geometry(description: Mapping[str, Any], where: str) -> Geometry:
    try:
        return geometry_from(description)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(where, f"a scan has no grid ({error})") from error


def _correction(listed: Any, where: str) -> Correction:
    try:
        return Correction(listed["shown"], listed["wanted"])
    except (KeyError, TypeError) as error:
        raise damaged(where, "a correction has no places") from error
