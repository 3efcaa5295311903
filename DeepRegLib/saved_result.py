"""A result that was saved in a folder, read again as far as it can be improved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DeepRegLib.errors import InputError
from DeepRegLib.files.output_folder import LARGEST_RESULT, RESULT
from DeepRegLib.guarding import guarded
from DeepRegLib.image import Image, read_image
from DeepRegLib.record import Record, damaged, part, record_of
from DeepRegLib.transforms import Transform, read_transform

AGAIN = "Give the folder that deepreg register wrote."


@dataclass(frozen=True, eq=False)
class SavedResult:
    """A result folder's transforms, and what it says of its registration.

    Parameters
    ----------
    record
        How it was made.
    transform, inverse
        Fixed points to moving points, and back.
    """

    record: Record
    transform: Transform
    inverse: Transform


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
    with guarded(path, AGAIN):
        return _read(Path(folder), path)


def _read(folder: Path, path: Path) -> SavedResult:
    table = _table(path)
    files = part(table, "files", dict, str(path))
    record = record_of(table, str(path))
    return SavedResult(
        record,
        transform=read_transform(_file(folder, files, "transform"), fixed=record.fixed, moving=record.moving),
        inverse=read_transform(_file(folder, files, "inverse"), fixed=record.moving, moving=record.fixed),
    )


def read_result_image(folder: str | Path, name: str) -> Image | None:
    """Read an image of a result, by its name in `DeepRegLib.saving.OUTPUT_FILES`; None if the result has none.

    Raises
    ------
    InputError
        If it is listed, but missing or damaged.
    """
    path = Path(folder) / RESULT
    with guarded(path, AGAIN):
        files = part(_table(path), "files", dict, str(path))
        return read_image(_file(folder, files, name)) if name in files else None


def _table(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_RESULT:
            raise InputError(f"{path} is too large for a result.", AGAIN)
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"There is no result in {path.parent} ({error.strerror or error}).", AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise damaged(str(path), "it is no JSON") from error
    if not isinstance(table, dict):
        raise damaged(str(path), "it holds no table")
    return table


def _file(folder: str | Path, files: Mapping[str, Any], name: str) -> Path:
    """Return a file of a result; only its plain name is believed."""
    listed = files.get(name)
    if not isinstance(listed, str) or Path(listed).name != listed:
        raise InputError(f"The result in {folder} lists no file for its {name}.", AGAIN)
    return Path(folder) / listed
