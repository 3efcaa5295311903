"""A segmentation as a folder of files, complete or not there at all."""

from __future__ import annotations

import csv
import io
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
from DeepRegLib.recipes import recipe_to_dict, without_folder
from DeepRegLib.saving import json_text, report_written
from DeepRegLib.segmentation.result import Segmentation
from DeepRegLib.segmentation.seg_nrrd import write_segmentation

SCHEMA_VERSION = 1
# What each file is called, by what it is. The result comes last: where it lies, the others lie too.
SEGMENTATION_FILES: Mapping[str, str] = {
    "segmentation": "segmentation.seg.nrrd",
    "agreement": "agreement.nii.gz",
    "segments": "segments.csv",
    "atlases": "atlases.csv",
    "report": "report.html",
    "result": RESULT,
}
MODEL_FILES: Mapping[str, str] = {
    "segmentation": "segmentation.seg.nrrd",
    "confidence": "confidence.nii.gz",
    "segments": "segments.csv",
    "report": "report.html",
    "result": RESULT,
}
TABLE_BYTES = 2_000_000  # and the report


def reserved_segmentation(
    directory: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), needed: int = 0
) -> AbstractContextManager[OutputFolder]:
    """Reserve the folder of a segmentation before it is computed; see `reserved_folder`."""
    return reserved_folder(directory, is_segmentation_file, overwrite=overwrite, inputs=inputs, needed=needed)


def is_segmentation_file(name: str) -> bool:
    """Tell whether a file name is one that a saved segmentation has."""
    return name in (*SEGMENTATION_FILES.values(), *MODEL_FILES.values())


def expected_bytes(scan: Image) -> int:
    """Return about how many bytes a segmentation takes on the disk, rather too many than too few."""
    return math.prod(scan.geometry.size) * 6 + TABLE_BYTES


def save_segmentation(segmentation: Segmentation, directory: str | Path, *, overwrite: bool = False) -> Path:
    """Write a segmentation into a folder; it appears complete or not at all.

    Parameters
    ----------
    segmentation
        What to save.
    directory
        The folder, created with its parents where there is none. It gets ``segmentation.seg.nrrd`` (labels with names,
        colours and terminology), ``agreement.nii.gz``, ``segments.csv``, ``atlases.csv``, ``result.json`` and
        ``report.html`` (if jinja2 and Pillow are installed); of a model ``confidence.nii.gz`` instead of agreement and
        atlases.
    overwrite
        Whether an earlier segmentation in it may be replaced.

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
    inputs, needed = (segmentation.scan.name,), expected_bytes(segmentation.scan)
    with reserved_segmentation(directory, overwrite=overwrite, inputs=inputs, needed=needed) as place:
        return place.commit(write_segmentation_into(segmentation, place))


def write_segmentation_into(segmentation: Segmentation, place: OutputFolder) -> list[str]:
    """Write a segmentation into a reserved folder, where nobody sees it before `commit` gets the returned names."""
    return place.write(lambda folder: _write_all(segmentation, folder))


def segmentation_to_dict(segmentation: Segmentation, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``result.json`` holds: plain values, no folder names; `files` are those written, by what they are."""
    found = segmentation
    names = [found.scan.name]
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": {"level": found.verdict.level, "reasons": without_folders(found.verdict.reasons, names)},
        "warnings": without_folders(found.warnings, names),
        "decisions": without_folders(found.decisions, names),
        "scan": {
            "name": base_name(found.scan.name),
            "dtype": str(found.scan.array.dtype),
            **asdict(found.scan.geometry),
        },
        "fusion": found.fusion,
        "recipe": None if found.recipe is None else recipe_to_dict(without_folder(found.recipe)),
        "model": found.model,
        "segments": [
            asdict(segment) | {"volume_ml": row.volume, "atlas_volume_ml": row.atlas_volume, "agreement": row.agreement}
            for segment, row in zip(found.segments, found.rows, strict=True)
        ],
        "atlases": [asdict(row) for row in found.atlases],
        "timings": found.timings,
        "provenance": found.provenance,
        "files": dict(files),
    }


def segments_as_csv(segmentation: Segmentation) -> str:
    """Return volume and agreement (or confidence) of each segment as CSV text."""
    rows = [
        [row.label, row.name, _number(row.volume), _number(row.atlas_volume), _number(row.agreement)]
        for row in segmentation.rows
    ]
    certainty = "confidence" if segmentation.model else "agreement"
    return _csv(["label", "name", "volume_ml", "atlas_volume_ml", certainty], rows)


def atlases_as_csv(segmentation: Segmentation) -> str:
    """Return what became of each atlas as CSV text."""
    rows = [
        [
            row.name,
            "yes" if row.used else "no",
            row.verdict.level,
            " ".join(row.verdict.reasons),
            _number(row.dice),
            _number(row.seconds),
        ]
        for row in segmentation.atlases
    ]
    return _csv(["name", "used", "verdict", "reasons", "dice_with_result", "seconds"], rows)


def _csv(heading: list[str], rows: list[list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([heading, *rows])
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def _write_all(segmentation: Segmentation, folder: Path) -> list[str]:
    from DeepRegLib.segmentation.report import write_segmentation_report

    found, files = segmentation, dict(MODEL_FILES if segmentation.model else SEGMENTATION_FILES)
    write_segmentation(found.labels, found.segments, folder / files["segmentation"])
    write_image(found.agreement, folder / files["confidence" if found.model else "agreement"])
    write_text(folder / files["segments"], segments_as_csv(found))
    if not found.model:
        write_text(folder / files["atlases"], atlases_as_csv(found))
    if not report_written(lambda: write_segmentation_report(found, folder / files["report"])):
        del files["report"]
    write_text(folder / files["result"], json_text(segmentation_to_dict(found, files)))
    return list(files.values())
