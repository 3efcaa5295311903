"""A template as a folder: the mean, its variability, a folder a member with both transforms, and a table."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_text
from DeepRegLib.image import Image, write_image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.naming import without_folders
from DeepRegLib.recipes import recipe_to_dict, without_folder
from DeepRegLib.saving import json_text
from DeepRegLib.series.frames import VOLUME_SUFFIXES
from DeepRegLib.series.saving import SeriesFolder, folder_for, locked_folder, remove_found_in
from DeepRegLib.series.stores import INVERSE, TRANSFORM
from DeepRegLib.series.template import Template, change_between

SCHEMA_VERSION = 1
TEMPLATE_JSON = "template.json"
MEMBER = re.compile(r"member_[0-9]{4,}")
CHANGE = re.compile(r"change_[0-9]{4,}_[0-9]{4,}\.nii\.gz")
IMAGES = ("template.nii.gz", "variability.nii.gz", "shape_variability.nii.gz", "labels.nii.gz")


@contextlib.contextmanager
def reserved_template(
    directory: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()
) -> Iterator[SeriesFolder]:
    """Reserve a folder for a template. What an interrupted run left in it is gone on from; see `FolderStore`.

    Parameters
    ----------
    directory
        The folder; made where there is none.
    overwrite
        Whether an earlier result in it may be replaced.
    inputs
        Files and folders that the run reads; none may be the folder, or lie in it.

    Raises
    ------
    InputError
        If it is a file, holds an input, or holds a template or files called as a template's and `overwrite` is false.
    OutputError
        If it cannot be written, or another run has it.
    """
    folder = folder_for(directory)
    home = Path(os.path.realpath(folder))
    given = next((each for each in inputs if Path(os.path.realpath(each)).is_relative_to(home)), None)
    if given is not None:
        raise InputError(f"{given} is an input of this run and lies in its output.", "Choose another output folder.")
    present = [name for name in (TEMPLATE_JSON, *IMAGES) if (folder / name).exists()]
    if present and not overwrite:
        raise InputError(
            f"{folder} already holds {present[0]}.",
            "Choose another output folder, or give --overwrite (overwrite=True in Python).",
        )
    with locked_folder(folder) as place:
        yield place


def member_files(folder: Path, labels: Path | None = None) -> tuple[list[Path], list[Path] | None]:
    """Return the volumes of a folder in the order of their names, and the label map of the same name of each.

    Raises
    ------
    InputError
        If there is no such folder, or a member has no label map.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Give a folder that holds a volume a member.")
    members = sorted(path for path in folder.iterdir() if path.name.lower().endswith(VOLUME_SUFFIXES))
    if labels is None:
        return members, None
    missing = next((path.name for path in members if not (labels / path.name).is_file()), None)
    if missing is not None:
        raise InputError(f"{labels} has no label map {missing}.", "Give each the file name of its volume.")
    return members, [labels / path.name for path in members]


def write_template(
    template: Template, place: SeriesFolder, *, longitudinal: bool = False, poll: Poll = never_cancel
) -> list[str]:
    """Write what belongs to a template into its folder, in place of an earlier one, all or nothing; return the names.

    Parameters
    ----------
    template
        The result; its transforms lie among the new files already.
    place
        From `reserved_template`.
    longitudinal
        Also write the change of volume from each member to the next.
    poll
        May raise to stop.
    """
    parts = template.image, template.variability, template.shape_variability, template.labels
    images: dict[str, Image | None] = dict(zip(IMAGES, parts, strict=True))
    used = [row.index for row in template.rows if row.used]
    for first, second in pairwise(used) if longitudinal else ():
        images[f"change_{first:04d}_{second:04d}.nii.gz"] = change_between(template, first, second, poll=poll)
    written = [name for name, image in images.items() if image is not None]
    for name in written:
        poll()
        image = images[name]
        assert image is not None  # noqa: S101  # for mypy: it is written
        write_image(image, place.new / name)
    write_text(place.new / TEMPLATE_JSON, json_text(template_to_dict(template, written)))
    place.commit([*_of_members(place.new), *written, TEMPLATE_JSON], _earlier(place.folder))
    _tidy(place.folder)
    return [*written, TEMPLATE_JSON]


def _of_members(folder: Path) -> list[str]:
    """Return the transforms of members in a folder, relative to it."""
    found = (path for path in sorted(folder.iterdir()) if MEMBER.fullmatch(path.name) and path.is_dir())
    return [f"{path.name}/{name}" for path in found for name in (TRANSFORM, INVERSE) if (path / name).exists()]


def _earlier(folder: Path) -> list[str]:
    """Return what lies in a folder and is called as what a template's folder gets, relative to it."""
    files = [path.name for path in sorted(folder.iterdir()) if path.is_file()]
    return _of_members(folder) + [name for name in files if name in (*IMAGES, TEMPLATE_JSON) or CHANGE.fullmatch(name)]


def _tidy(folder: Path) -> None:
    """Remove what is only there for a run that goes on, and the folders of members that are no longer there."""
    for path in folder.iterdir():
        if MEMBER.fullmatch(path.name) and path.is_dir():
            remove_found_in(path)
            with contextlib.suppress(OSError):  # not empty: a member's, or somebody else's
                path.rmdir()


def template_to_dict(template: Template, files: Sequence[str]) -> dict[str, Any]:
    """Return what ``template.json`` holds: plain values, no folder names."""
    names = [row.name for row in template.rows]
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": {"level": template.verdict.level, "reasons": without_folders(template.verdict.reasons, names)},
        "warnings": without_folders(template.warnings, names),
        "bias_mm": template.bias,
        "shifts_mm": template.shifts,
        "members": [asdict(row) | {"folder": f"member_{row.index:04d}"} for row in template.rows],
        "recipe": recipe_to_dict(without_folder(template.recipe)),
        "provenance": template.provenance,
        "files": list(files),
    }
