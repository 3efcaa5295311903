"""A result that was saved in a folder, read again as far as it can be improved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DeepRegLib.correction import Correction
from DeepRegLib.errors import InputError
from DeepRegLib.files.output_folder import LARGEST_RESULT, RESULT
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image
from DeepRegLib.provenance import image_hash
from DeepRegLib.recipes import Recipe, recipe_from_dict
from DeepRegLib.request import Drivers
from DeepRegLib.transforms import Transform, read_transform

MASKS = ("fixed_mask", "moving_mask", "sliding_mask")
AGAIN = "Give the folder that deepreg register wrote."


@dataclass(frozen=True, eq=False)
class SavedResult:
    """What a result folder says of its registration.

    Parameters
    ----------
    recipe
        As it ran.
    transform, inverse
        Fixed points to moving points, and back.
    decisions
        What was chosen and why.
    corrections
        What was corrected by hand, in its order.
    provenance
        Versions, seed and hashes of what was registered, as `provenance_of` gives them.
    verdict
        The level of its verdict.
    """

    recipe: Recipe
    transform: Transform
    inverse: Transform
    decisions: tuple[str, ...]
    corrections: tuple[Correction, ...]
    provenance: Mapping[str, Any]
    verdict: str

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

    def missing(self, drivers: Drivers) -> list[str]:
        """Return by name which masks the registration was given and these drivers lack."""
        return [name for name in MASKS if getattr(drivers, name) is None and f"{name}_sha256" in self.provenance]

    def require_scans(self, fixed: Image, moving: Image) -> None:
        """Make sure that these are the scans that were registered.

        Raises
        ------
        InputError
            If the voxels or the grid of one are others.
        """
        for role, image in (("fixed", fixed), ("moving", moving)):
            if self.provenance.get(f"{role}_sha256") != image_hash(image):
                raise InputError(
                    f"{image.name} is not the {role} scan of this result: its voxels or its grid differ.",
                    "Give the files that were registered, the fixed one first.",
                )


def read_result(folder: str | Path) -> SavedResult:
    """Read what a result folder says of its registration.

    Parameters
    ----------
    folder
        As `deepreg register` or `Registration.save` wrote it.

    Raises
    ------
    InputError
        If there is no result, or a file of it is missing or damaged.
    """
    path = Path(folder) / RESULT
    table = _table(path)
    files = _part(table, "files", dict, path)
    grids = {role: _geometry(_part(table, role, dict, path), path) for role in ("fixed", "moving")}
    provenance = _part(table, "provenance", dict, path)
    made = provenance.get("corrections", [])
    return SavedResult(
        recipe=recipe_from_dict(_part(table, "recipe", dict, path), str(path)),
        transform=read_transform(_file(folder, files, "transform"), fixed=grids["fixed"], moving=grids["moving"]),
        inverse=read_transform(_file(folder, files, "inverse"), fixed=grids["moving"], moving=grids["fixed"]),
        decisions=tuple(str(each) for each in _part(table, "decisions", list, path)),
        corrections=tuple(_correction(each, path) for each in (made if isinstance(made, list) else [])),
        provenance=provenance,
        verdict=_part(_part(table, "verdict", dict, path), "level", str, path),
    )


def _table(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_RESULT:
            raise InputError(f"{path} is too large for a result.", AGAIN)
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"There is no result in {path.parent} ({error.strerror or error}).", AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it is no JSON.", AGAIN) from error
    if not isinstance(table, dict):
        raise InputError(f"{path} is damaged: it holds no table.", AGAIN)
    return table


def _part(table: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    value = table.get(key)
    if not isinstance(value, kind):
        raise InputError(f"{path} is damaged: {key!r} is missing, or of another kind.", AGAIN)
    return value


def _file(folder: str | Path, files: Mapping[str, Any], name: str) -> Path:
    """Return a file of a result; only its plain name is believed."""
    listed = files.get(name)
    if not isinstance(listed, str) or Path(listed).name != listed:
        raise InputError(f"The result in {folder} lists no file for its {name}.", AGAIN)
    return Path(folder) / listed


def read_result_image(folder: str | Path, name: str) -> Image | None:
    """Read an image of a result, by its name in `DeepRegLib.saving.OUTPUT_FILES`; None if the result has none.

    Raises
    ------
    InputError
        If it is listed, but missing or damaged.
    """
    path = Path(folder) / RESULT
    files = _part(_table(path), "files", dict, path)
    return read_image(_file(folder, files, name)) if name in files else None


def _geometry(description: Mapping[str, Any], path: Path) -> Geometry:
    try:
        keys = "size", "spacing", "origin", "direction"
        return Geometry(*(tuple(description[key]) for key in keys))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: a scan has no grid ({error}).", AGAIN) from error


def _correction(listed: Any, path: Path) -> Correction:
    try:
        return Correction(listed["shown"], listed["wanted"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: a correction has no places.", AGAIN) from error
