"""The DICOM objects that a command writes beside a result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.cli.label_files import LabelFiles
    from DeepRegLib.exporting import DicomExport
    from DeepRegLib.result import Registration

Dicom = Annotated[
    bool,
    typer.Option(
        "--dicom",
        help="Also write DICOM objects that refer to both series: registration.dcm, of labels segmentation.dcm and "
        "structures.dcm, of a dose dose.dcm.",
    ),
]
Root = Annotated[
    str | None,
    typer.Option(metavar="UID", help="What new DICOM UIDs begin with; by default they are made of random UUIDs."),
]


def wanted_export(fixed: Path, moving: Path, wanted: bool, root: str | None) -> DicomExport | None:
    """Return the series that the objects refer to, if objects are wanted.

    Raises
    ------
    InputError
        If a root is given for nothing, or a scan is no DICOM series.
    """
    if not wanted:
        if root is not None:
            raise InputError("--dicom-root was given without --dicom.", "Give --dicom too, or leave it out.")
        return None
    from DeepRegLib.exporting import dicom_export

    return dicom_export(fixed, moving, root)


def with_objects(export: DicomExport | None, labels: LabelFiles, dose: Path | None) -> DicomExport | None:
    """Return the export with what structures are called, and a dose to carry over.

    Raises
    ------
    InputError
        If there is a dose but no export, or it cannot be read.
    """
    if export is None:
        if dose is not None:
            raise InputError(f"{dose} was given without --dicom.", "Give --dicom too, or leave it out.")
        return None
    from DeepRegLib.exporting import read_dose

    return replace(export, structures=labels.structures, dose=None if dose is None else read_dose(dose, export.moving))


def write_objects(result: Registration, export: DicomExport | None, folder: Path) -> dict[str, str]:
    """Write the objects of a result, if there are to be any, and return their names by what they are."""
    if export is None:
        return {}
    from DeepRegLib.exporting import write_dicom

    return dict(write_dicom(result, export, folder))
