"""A translated scan as a folder of files, complete or not there at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from DeepRegLib.files import write_text
from DeepRegLib.files.output_folder import RESULT, OutputFolder, reserved_folder
from DeepRegLib.image import Image, write_image
from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.saving import json_text
from DeepRegLib.translation.result import Translation

SCHEMA_VERSION = 1
# What each file is called, by what it is. The result comes last: where it lies, the other lies too.
FILES: Mapping[str, str] = {"synthetic": "synthetic.nii.gz", "result": RESULT}
TEXT_BYTES = 100_000


def reserved_translation(
    directory: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), needed: int = 0
) -> AbstractContextManager[OutputFolder]:
    """Reserve the folder of a translation before it is computed; see `reserved_folder`."""
    return reserved_folder(directory, is_translation_file, overwrite=overwrite, inputs=inputs, needed=needed)


def is_translation_file(name: str) -> bool:
    """Tell whether a file name is one that a saved translation has."""
    return name in FILES.values()


def expected_bytes(scan: Image) -> int:
    """Return about how many bytes a translation takes on the disk, rather too many than too few."""
    return math.prod(scan.geometry.size) * 4 + TEXT_BYTES


def save_translation(translation: Translation, directory: str | Path, *, overwrite: bool = False) -> Path:
    """Write a translated scan into a folder; it appears complete or not at all.

    Parameters
    ----------
    translation
        What to save.
    directory
        The folder, created with its parents where there is none. It gets ``synthetic.nii.gz`` and ``result.json``.
    overwrite
        Whether an earlier translation in it may be replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If it is a file, holds an earlier result and `overwrite` is false, or the scan was read from a file of it.
    OutputError
        If it cannot be written, another run is writing there, or the disk is full.
    """
    inputs, needed = (translation.scan.name,), expected_bytes(translation.scan)
    with reserved_translation(directory, overwrite=overwrite, inputs=inputs, needed=needed) as place:
        return place.commit(write_translation_into(translation, place))


def write_translation_into(translation: Translation, place: OutputFolder) -> list[str]:
    """Write a translation into a reserved folder, where nobody sees it before `commit` gets the returned names."""
    return place.write(lambda folder: _write_all(translation, folder))


def translation_to_dict(translation: Translation) -> dict[str, Any]:
    """Return what ``result.json`` holds: plain values, no folder names."""
    found, names = translation, [translation.scan.name]
    return {
        "schema_version": SCHEMA_VERSION,
        "synthetic": True,
        "verdict": {"level": found.verdict.level, "reasons": without_folders(found.verdict.reasons, names)},
        "decisions": without_folders(found.decisions, names),
        "scan": {
            "name": base_name(found.scan.name),
            "dtype": str(found.scan.array.dtype),
            **asdict(found.scan.geometry),
        },
        "structure": found.structure,
        "model": dict(found.model),
        "timings": dict(found.timings),
        "provenance": dict(found.provenance),
        "files": dict(FILES),
    }


def _write_all(translation: Translation, folder: Path) -> list[str]:
    write_image(translation.synthetic, folder / FILES["synthetic"])
    write_text(folder / FILES["result"], json_text(translation_to_dict(translation)))
    return list(FILES.values())
