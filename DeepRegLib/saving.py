"""A registration as a folder of files, complete or not there at all."""

from __future__ import annotations

import json
import logging
import math
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.errors import DeepRegError, InputError, OutputError
from DeepRegLib.files import make_folder, output_error, partial_folder, write_text
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image
from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.recipes import Recipe, recipe_to_dict, without_folder
from DeepRegLib.result import Registration
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, linear_part, parts_of, write_transform

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
RESULT = "result.json"
# What each file is called, by what it is. The result comes last: where it lies, the others lie too.
OUTPUT_FILES: Mapping[str, str] = {
    "transform": "transform.h5",
    "inverse": "inverse.h5",
    "warped": "warped.nii.gz",
    "warped_labels": "warped_labels.nii.gz",
    "jacobian": "jacobian.nii.gz",
    "uncertainty": "uncertainty.nii.gz",
    "report": "report.html",
    "result": RESULT,
}
LAYERS = "warped_layer_*.nii.gz"
NUMBERS = re.compile(r"\[[^][{}\"]*\]")  # no text in it, so white space means nothing
REPORT_BYTES = 8_000_000
FINER_INVERSE = 8  # an inverse may need a finer grid than its transform
FIELD_BYTES = 24  # three float64 a voxel, as ITK writes them


def check_output_folder(directory: str | Path, overwrite: bool = False, needed: int = 0) -> None:
    """Make sure, before anything is computed, that a result can be saved in a folder; change nothing.

    Parameters
    ----------
    directory
        The folder; it need not exist.
    overwrite
        Whether an earlier result in it may be replaced.
    needed
        Bytes that will be written, see `expected_bytes`.

    Raises
    ------
    InputError
        If it is a file, or holds an earlier result and `overwrite` is false.
    OutputError
        If it cannot be written or the disk has too little room.
    """
    folder = Path(directory)
    try:
        parent = _existing_parent(folder)
        if not parent.is_dir():
            raise InputError(f"{parent} is a file, not a folder.", "Choose another output folder.")
        existing = [name for name in OUTPUT_FILES.values() if (folder / name).exists()]
        existing += sorted(path.name for path in folder.glob(LAYERS))
        if existing and not overwrite:
            raise InputError(
                f"{folder} already holds a result ({', '.join(existing)}).",
                "Choose another output folder, or give --overwrite (overwrite=True in Python).",
            )
        with tempfile.TemporaryFile(dir=parent):  # asking for the permission alone is wrong on network drives
            pass
        usage = shutil.disk_usage(parent)
    except OSError as error:
        raise output_error(folder, error) from error
    if usage.total > 0 and usage.free < needed:
        raise OutputError(
            f"The disk holding {folder} has {usage.free / 1e6:.0f} MB left; "
            f"the result may take {max(needed / 1e6, 1):.0f} MB.",
            "Free some space or choose another output folder.",
        )


def expected_bytes(fixed: Image, recipe: Recipe, labels: Image | None = None) -> int:
    """Return about how many bytes a result takes on the disk, rather too many than too few."""
    voxels = math.prod(fixed.geometry.size)
    field = FIELD_BYTES * min(recipe.deformable.voxels, 2 * voxels) if recipe.deformable.enabled else 0
    fields = (1 + FINER_INVERSE) * field
    label_bytes = 0 if labels is None else voxels * labels.array.dtype.itemsize
    return fields + voxels * fixed.array.dtype.itemsize + label_bytes + REPORT_BYTES


def save(registration: Registration, directory: str | Path, *, overwrite: bool = False) -> Path:
    """Write a registration into a folder; it appears complete or not at all.

    Parameters
    ----------
    registration
        What to save.
    directory
        The folder, created with its parents where there is none. It gets ``transform.h5``, ``inverse.h5``,
        ``warped.nii.gz``, ``result.json``, ``report.html`` (if jinja2 and matplotlib are installed), and of what the
        registration has, ``warped_labels.nii.gz``, ``warped_layer_1.nii.gz`` and so on, ``jacobian.nii.gz`` and
        ``uncertainty.nii.gz``. Other files in it stay.
    overwrite
        Whether an earlier result in it may be replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If it is a file, or holds an earlier result and `overwrite` is false.
    OutputError
        If it cannot be written or the disk is full.
    """
    folder = Path(directory)
    check_output_folder(folder, overwrite, _bytes_of(registration))
    fresh = not folder.exists()
    # Beside a new folder, to be renamed as a whole; inside an existing one, whose parent may not be ours to write.
    with partial_folder(make_folder(folder.absolute().parent) if fresh else folder, folder) as partial:
        files = _write_all(registration, partial)
        if fresh:
            partial.rename(folder)
        else:
            _replace_all(partial, folder, files)
    return folder


def result_to_dict(registration: Registration, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``result.json`` holds: plain values, valid JSON, no folder names.

    Parameters
    ----------
    registration
        The result to describe.
    files
        Name of each file written, by what it is.

    Returns
    -------
    dict
        NaN and infinite numbers are None; labels are text, as keys of JSON objects must be.
    """
    labels = (registration.warped_labels, *registration.warped_layers)
    names = [image.name for image in (registration.fixed, registration.moving, *labels) if image]
    verdict = registration.verdict
    table = {
        "schema_version": SCHEMA_VERSION,
        "verdict": {"level": verdict.level, "reasons": without_folders(verdict.reasons, names)},
        "warnings": without_folders(registration.warnings, names),
        "decisions": without_folders(registration.decisions, names),
        "measures": asdict(registration.measures),
        "fixed": _description(registration.fixed),
        "moving": _description(registration.moving),
        "transform": _transform_description(registration.transform),
        "recipe": recipe_to_dict(without_folder(registration.recipe)),
        "timings": registration.timings,
        "curves": registration.curves,
        "provenance": registration.provenance,
        "files": files,
    }
    plain: dict[str, Any] = to_plain(table)
    return plain


def to_plain(value: Any) -> Any:
    """Return a value made of what JSON knows: numpy's numbers and arrays as Python's, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def json_text(table: Mapping[str, Any]) -> str:
    """Return a table as JSON that a person can read too: lists of numbers stay on one line."""
    text = json.dumps(to_plain(table), indent=1, allow_nan=False)
    return NUMBERS.sub(lambda found: " ".join(found.group().split()).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


def _write_all(registration: Registration, folder: Path) -> dict[str, str]:
    """Write every file into an empty folder and return their names, the result last."""
    files = {name: OUTPUT_FILES[name] for name in ("transform", "inverse")}
    write_transform(registration.transform, folder / files["transform"])
    write_transform(registration.inverse, folder / files["inverse"])
    for name, (file, image) in _images(registration).items():
        files[name] = file
        write_image(image, folder / file)
    if _write_report(registration, folder / OUTPUT_FILES["report"]):
        files["report"] = OUTPUT_FILES["report"]
    files["result"] = RESULT
    write_text(folder / RESULT, json_text(result_to_dict(registration, files)))
    return files


def _images(registration: Registration) -> dict[str, tuple[str, Image]]:
    """Return the images of a registration with their file names, by what they are."""
    single = {
        "warped": registration.warped,
        "warped_labels": registration.warped_labels,
        "jacobian": registration.jacobian,
        "uncertainty": registration.uncertainty,
    }
    images = {name: (OUTPUT_FILES[name], image) for name, image in single.items() if image is not None}
    for number, layer in enumerate(registration.warped_layers, start=1):
        images[f"warped_layer_{number}"] = LAYERS.replace("*", str(number)), layer
    return images


def _write_report(registration: Registration, path: Path) -> bool:
    from DeepRegLib.report import write_report

    try:
        write_report(registration, path)
    except OutputError:
        raise
    except DeepRegError as error:
        logger.warning("No report was written. %s", error)
        return False
    except Exception:  # a picture that cannot be drawn must not cost the result of a long run
        logger.warning("No report was written: drawing it failed.")
        logger.info("The report failed with:", exc_info=True)
        return False
    return True


def _replace_all(partial: Path, folder: Path, files: Mapping[str, str]) -> None:
    (folder / RESULT).unlink(missing_ok=True)
    for name in files.values():
        (partial / name).replace(folder / name)
    # What an earlier result has and this one has not, such as labels, would pass for a part of this one.
    earlier = {*OUTPUT_FILES.values(), *(path.name for path in folder.glob(LAYERS))}
    for name in earlier - set(files.values()):
        (folder / name).unlink(missing_ok=True)


def _description(image: Image) -> dict[str, Any]:
    grid: Geometry = image.geometry
    return {"name": base_name(image.name), "dtype": str(image.array.dtype), **asdict(grid)}


def _transform_description(transform: Transform) -> dict[str, Any]:
    if isinstance(transform, LinearTransform):
        kind = "linear"
    else:
        kind = "displacement field" if isinstance(transform, DisplacementField) else "composite"
    return {"kind": kind, "maps": "fixed points to moving points, LPS mm", "linear_part": linear_part(transform).matrix}


def _bytes_of(registration: Registration) -> int:
    parts = (*parts_of(registration.transform), *parts_of(registration.inverse))
    total = sum(FIELD_BYTES * math.prod(part.geometry.size) for part in parts if isinstance(part, DisplacementField))
    return total + sum(image.array.nbytes for _, image in _images(registration).values()) + REPORT_BYTES


def _existing_parent(folder: Path) -> Path:
    parent = folder.absolute()
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    return parent
