"""A registration as DICOM objects that refer to the series it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.contours_writing import write_contours
from DeepRegLib.dicom.dose import read_dose_header, write_dose
from DeepRegLib.dicom.objects import check_root
from DeepRegLib.dicom.registration_writing import matrix_type
from DeepRegLib.dicom.segmentation import require_highdicom, write_segmentation
from DeepRegLib.dicom.series import Series, require_frame, require_pair, series_of
from DeepRegLib.dicom.structures import Structure
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image
from DeepRegLib.naming import shown
from DeepRegLib.result import Registration
from DeepRegLib.saving import OUTPUT_FILES
from DeepRegLib.structures import structure_set
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_image
from DeepRegLib.transforms.dicom_writing import write_dicom_registration


@dataclass(frozen=True, eq=False)
class Dose:
    """A dose on its own grid, in the moving scan's frame of reference.

    Parameters
    ----------
    image
        Its values, in the units its header tells.
    header
        pydicom's, without pixels.
    """

    image: Image
    header: Any


@dataclass(frozen=True, eq=False)
class DicomExport:
    """What DICOM objects are made from, beside the result itself.

    Parameters
    ----------
    fixed, moving
        The series of the two scans.
    root
        What new UIDs begin with; None for UIDs made of random UUIDs.
    structures
        What the moving labels are called.
    dose
        A dose of the moving scan, or None.
    """

    fixed: Series
    moving: Series
    root: str | None = None
    structures: tuple[Structure, ...] = ()
    dose: Dose | None = None


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
        If a scan is no DICOM, names no frame of reference, both are of two patients, the root is none, or a package is
        missing.
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
    require_highdicom()
    return export_of(series[0], series[1], root)


def export_of(fixed: Series, moving: Series, root: str | None = None) -> DicomExport:
    """Return what DICOM objects of two series are made from.

    Raises
    ------
    InputError
        If one names no frame of reference, or they are of two patients.
    """
    require_pair(fixed, moving)
    return DicomExport(fixed, moving, root)


def read_dose(path: Path, scan: Series) -> Dose:
    """Read a dose that belongs to a scan.

    Raises
    ------
    InputError
        If the file is no dose, of another patient or another frame of reference, or damaged.
    """
    require_frame(scan, "moving")
    header = read_dose_header(path, scan)
    return Dose(read_image(path), header)


def carried_dose(transform: Transform, dose: Dose, grid: Geometry) -> NDArray[np.float64]:
    """Return a dose of the moving scan on the grid of the fixed one, at least zero; zero where there was none."""
    values = dose.image.with_array(dose.image.array.astype(np.float64))
    carried: NDArray[np.float64] = apply_to_image(transform, values, grid, background=0).array.astype(np.float64)
    return np.maximum(carried, 0)


def is_rigid(transform: Transform) -> bool:
    """Tell whether a transform is a rigid one, as DICOM has the word."""
    return isinstance(transform, LinearTransform) and matrix_type(transform.matrix) == "RIGID"


def write_dicom(
    registration: Registration, export: DicomExport, folder: Path, *, with_segmentation: bool = True
) -> dict[str, str]:
    """Write the DICOM objects of a result into a folder: the registration, and labels and dose where there are some.

    Without `with_segmentation`, which needs highdicom, labels are written as a structure set alone.

    Returns
    -------
    dict
        File names by what they are, as in `DeepRegLib.saving.OUTPUT_FILES`.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    files = {"dicom_registration": OUTPUT_FILES["dicom_registration"]}
    reference = write_dicom_registration(
        registration.transform, folder / files["dicom_registration"], export.fixed, export.moving, root=export.root
    )
    first = registration.warped_labels
    layers = [layer for layer in (first, *registration.warped_layers) if layer is not None and layer.array.any()]
    if layers:
        structures = structure_set(layers, export.structures)
        written = ("dicom_segmentation", "dicom_structures") if with_segmentation else ("dicom_structures",)
        files |= {key: OUTPUT_FILES[key] for key in written}
        if with_segmentation:
            write_segmentation(folder / files["dicom_segmentation"], structures, export.fixed, export.root)
        write_contours(folder / files["dicom_structures"], structures, export.fixed, export.root)
    if export.dose is not None:
        files["dicom_dose"] = OUTPUT_FILES["dicom_dose"]
        grid = registration.fixed.geometry
        write_dose(
            folder / files["dicom_dose"],
            carried_dose(registration.transform, export.dose, grid),
            grid,
            export.dose.header,
            export.fixed,
            registration=reference,
            rigid=is_rigid(registration.transform),
            root=export.root,
        )
    return files
