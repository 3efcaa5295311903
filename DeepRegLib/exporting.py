"""A registration as DICOM objects that refer to the series it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.dicom.objects import check_root
from DeepRegLib.dicom.series import Series, require_pair, series_of
from DeepRegLib.errors import InputError
from DeepRegLib.naming import shown
from DeepRegLib.result import Registration
from DeepRegLib.saving import OUTPUT_FILES
from DeepRegLib.transforms.dicom_writing import write_dicom_registration


@dataclass(frozen=True, eq=False)
class DicomExport:
    """What DICOM objects are made from, beside the result itself.

    Parameters
    ----------
    fixed, moving
        The series of the two scans.
    root
        What new UIDs begin with; None for UIDs made of random UUIDs.
    """

    fixed: Series
    moving: Series
    root: str | None = None


def dicom_export(fixed: Path, moving: Path, root: str | None = None) -> DicomExport:
    """Find out, before anything is computed, what DICOM objects will refer to.

    Parameters
    ----------
    fixed, moving
        Where the scans were read from.
    root
        What new UIDs begin with.

    Raises
    ------
    InputError
        If a scan is no DICOM, names no frame of reference, both are of two patients, or the root is none.
    """
    if root is not None:
        check_root(root)
    series = []
    for path in (fixed, moving):
        found = series_of(path)
        if found is None:
            raise InputError(
                f"{shown(path)} is no DICOM series, so no DICOM object can refer to it.",
                "Give DICOM folders for both scans, or leave out --dicom.",
            )
        series.append(found)
    require_pair(*series)
    return DicomExport(series[0], series[1], root)


def write_dicom(registration: Registration, export: DicomExport, folder: Path) -> dict[str, str]:
    """Write the DICOM objects of a result into a folder.

    Returns
    -------
    dict
        File names by what they are, as in `DeepRegLib.saving.OUTPUT_FILES`.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    name = OUTPUT_FILES["dicom_registration"]
    write_dicom_registration(registration.transform, folder / name, export.fixed, export.moving, root=export.root)
    return {"dicom_registration": name}
