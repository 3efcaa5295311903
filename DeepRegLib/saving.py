"""A registration as a folder of files, complete or not there at all."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.errors import DeepRegError, OutputError
from DeepRegLib.files import write_text
from DeepRegLib.files.output_folder import RESULT, OutputFolder, reserved_folder
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image
from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.recipes import Recipe, recipe_to_dict, without_folder
from DeepRegLib.result import Registration
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, linear_part, parts_of, write_transform

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
# What each file is called, by what it is. The result comes last: where it lies, the others lie too.
OUTPUT_FILES: Mapping[str, str] = {
    "transform": "transform.h5",
    "inverse": "inverse.h5",
    "warped": "warped.nii.gz",
    "warped_labels": "warped_labels.nii.gz",
    "warped_segmentation": "warped_segmentation.seg.nrrd",
    "plan_labels": "plan_labels.nii.gz",
    "jacobian": "jacobian.nii.gz",
    "uncertainty": "uncertainty.nii.gz",
    "explanation": "explanation.nii.gz",
    "trust": "trust.nii.gz",
    "synthetic": "synthetic.nii.gz",
    "report": "report.html",
    "viewer": "viewer.html",
    "dicom_registration": "registration.dcm",
    "dicom_segmentation": "segmentation.dcm",
    "dicom_structures": "structures.dcm",
    "dicom_dose": "dose.dcm",
    "result": RESULT,
}
LAYERS = "warped_layer_{}.nii.gz"
LAYER = re.compile(r"warped_layer_[1-9][0-9]*\.nii\.gz")
NUMBERS = re.compile(r"\[[^][{}\"]*\]")  # no text in it, so white space means nothing
REPORT_BYTES = 8_000_000
FINER_INVERSE = 8  # an inverse may need a finer grid than its transform
FIELD_BYTES = 24  # three float64 a voxel, as ITK writes them

FurtherFiles = Callable[[Path], Mapping[str, str]]


def reserved_output(
    directory: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), needed: int = 0
) -> AbstractContextManager[OutputFolder]:
    """Reserve the folder of a registration before it is computed; see `reserved_folder`."""
    return reserved_folder(directory, is_output, overwrite=overwrite, inputs=inputs, needed=needed)


def is_output(name: str) -> bool:
    """Tell whether a file name is one that a saved registration may have."""
    return name in OUTPUT_FILES.values() or LAYER.fullmatch(name) is not None


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
        ``warped.nii.gz``, ``result.json``, ``report.html`` (if jinja2 and Pillow are installed), and of what the
        registration has, ``warped_labels.nii.gz``, ``warped_layer_1.nii.gz`` and so on, ``jacobian.nii.gz``,
        ``uncertainty.nii.gz``, ``explanation.nii.gz``, ``trust.nii.gz`` and ``synthetic.nii.gz``. Other
        files in it stay.
    overwrite
        Whether an earlier result in it may be replaced: files of the names above, and what its ``result.json`` lists.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If it is a file, holds an earlier result and `overwrite` is false, or one of the images was read from a file
        that would be replaced.
    OutputError
        If it cannot be written, another run is writing there, or the disk is full.
    """
    inputs = (registration.fixed.name, registration.moving.name)  # those that were read from files are named so
    with reserved_output(directory, overwrite=overwrite, inputs=inputs, needed=_bytes_of(registration)) as place:
        return place.commit(write_into(registration, place))


def write_into(registration: Registration, place: OutputFolder, further: FurtherFiles | None = None) -> list[str]:
    """Write a registration into a reserved folder, where nobody sees it before `commit` is given the returned names.

    `further` writes files of its own into the same folder, under names of `OUTPUT_FILES`, and returns them by key.
    """
    return place.write(lambda folder: [*_write_all(registration, folder, further).values()])


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
        "carried_labels": [asdict(row) for row in registration.carried],
        "explanation_agreement": registration.explanation_agreement(),
        "worst_places": [asdict(place) for place in registration.worst_places],
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


def _write_all(registration: Registration, folder: Path, further: FurtherFiles | None = None) -> dict[str, str]:
    """Write every file into an empty folder and return their names, the result last."""
    files = {name: OUTPUT_FILES[name] for name in ("transform", "inverse")}
    write_transform(registration.transform, folder / files["transform"])
    write_transform(registration.inverse, folder / files["inverse"])
    for name, (file, image) in _images(registration).items():
        files[name] = file
        write_image(image, folder / file)
    if _write_report(registration, folder / OUTPUT_FILES["report"]):
        files["report"] = OUTPUT_FILES["report"]
    if further is not None:
        files |= further(folder)
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
        "explanation": registration.explanation,
        "trust": registration.trust,
        "synthetic": registration.synthetic,
    }
    images = {name: (OUTPUT_FILES[name], image) for name, image in single.items() if image is not None}
    for number, layer in enumerate(registration.warped_layers, start=1):
        images[f"warped_layer_{number}"] = LAYERS.format(number), layer
    return images


def report_written(write: Callable[[], None]) -> bool:
    """Write a report, and tell whether there is one: a picture that cannot be drawn must not cost a long run's result.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    try:
        write()
    except OutputError:
        raise
    except DeepRegError as error:
        logger.warning("No report was written. %s", error)
        return False
    except Exception:
        logger.warning("No report was written: drawing it failed.")
        logger.info("The report failed with:", exc_info=True)
        return False
    return True


def _write_report(registration: Registration, path: Path) -> bool:
    from DeepRegLib.report import write_report

    return report_written(lambda: write_report(registration, path))


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
