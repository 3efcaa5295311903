"""Spatial Registration and Deformable Spatial Registration objects written (PS3.3 C.20.2, C.20.3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.objects import image_items, new_object, refer_to, write_object
from DeepRegLib.dicom.registration_reading import DEFORMABLE, SPATIAL, Grid
from DeepRegLib.dicom.series import Series, require_pair, require_pydicom
from DeepRegLib.geometry import Geometry

DESCRIPTION = "DeepReg registration"
RIGID_TO = 1e-6


def write_spatial(
    path: str | Path, matrix: NDArray[np.float64], fixed: Series, moving: Series, root: str | None = None
) -> tuple[str, str]:
    """Write a Spatial Registration of two series, in the frame of reference of the fixed one.

    Parameters
    ----------
    path
        The file.
    matrix
        ``(4, 4)``, LPS mm, from points of the MOVING series to points of the fixed one, as the standard has it.
    fixed, moving
        What the object refers to.
    root
        What new UIDs begin with; see `DeepRegLib.dicom.objects.new_uid`.

    Returns
    -------
    tuple of str
        SOP class and instance UID of the new object.

    Raises
    ------
    InputError
        If a series names no frame of reference, or they are of two patients.
    OutputError
        If the file cannot be written.
    """
    dataset = _registration(SPATIAL, fixed, moving, root)
    from pydicom.dataset import Dataset

    items = []
    for series, values in ((fixed, np.eye(4)), (moving, matrix)):
        item, registration = Dataset(), Dataset()
        item.FrameOfReferenceUID = series.frame
        item.ReferencedImageSequence = image_items(series.images)
        registration.RegistrationTypeCodeSequence = []
        registration.MatrixSequence = [_matrix_item(values)]
        item.MatrixRegistrationSequence = [registration]
        items.append(item)
    dataset.RegistrationSequence = items
    write_object(dataset, path)
    return str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)


def write_deformable(
    path: str | Path,
    before: NDArray[np.float64],
    grid: Grid,
    after: NDArray[np.float64],
    fixed: Series,
    moving: Series,
    root: str | None = None,
) -> tuple[str, str]:
    """Write a Deformable Spatial Registration of two series, in the frame of reference of the fixed one.

    Parameters
    ----------
    path
        The file.
    before, grid, after
        What takes points of the FIXED series to points of the moving one, in this order: ``(4, 4)``, LPS mm;
        displacements in mm, LPS; ``(4, 4)``.
    fixed, moving, root
        As for `write_spatial`.

    Returns
    -------
    tuple of str
        SOP class and instance UID of the new object.

    Raises
    ------
    InputError
        If a series names no frame of reference, or they are of two patients.
    OutputError
        If the file cannot be written.
    """
    dataset = _registration(DEFORMABLE, fixed, moving, root)
    from pydicom.dataset import Dataset

    still, moved = Dataset(), Dataset()
    for item, series in ((still, fixed), (moved, moving)):
        item.SourceFrameOfReferenceUID = series.frame
        item.ReferencedImageSequence = image_items(series.images)
        item.RegistrationTypeCodeSequence = []
    moved.PreDeformationMatrixRegistrationSequence = [_matrix_item(before)]
    moved.PostDeformationMatrixRegistrationSequence = [_matrix_item(after)]
    moved.DeformableRegistrationGridSequence = [_grid_item(grid)]
    dataset.DeformableRegistrationSequence = [still, moved]
    write_object(dataset, path)
    return str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)


def _registration(sop_class: str, fixed: Series, moving: Series, root: str | None) -> Any:
    require_pair(fixed, moving)
    require_pydicom()
    dataset = new_object(fixed, sop_class, "REG", DESCRIPTION, root)
    dataset.Laterality = str(fixed.first.get("Laterality", "") or "")
    now = datetime.now()
    dataset.ContentDate, dataset.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.ContentLabel, dataset.ContentDescription, dataset.ContentCreatorName = "REGISTRATION", DESCRIPTION, ""
    refer_to(dataset, (fixed, moving))
    return dataset


def _matrix_item(matrix: NDArray[np.float64]) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.FrameOfReferenceTransformationMatrixType = matrix_type(matrix)
    item.FrameOfReferenceTransformationMatrix = decimals(matrix.ravel())
    return item


def matrix_type(matrix: NDArray[np.float64]) -> str:
    """Return RIGID, RIGID_SCALE or AFFINE, as PS3.3 C.20.2.1.2 has them."""
    gram = matrix[:3, :3].T @ matrix[:3, :3]
    if np.linalg.det(matrix[:3, :3]) > 0 and np.abs(gram - np.eye(3)).max() < RIGID_TO:
        return "RIGID"
    return "RIGID_SCALE" if np.abs(gram - np.diag(np.diag(gram))).max() < RIGID_TO else "AFFINE"


def decimals(values: Sequence[float] | NDArray[np.float64]) -> list[str]:
    """Return numbers as DICOM's decimal strings, which have at most 16 characters."""
    return [_decimal(float(value)) for value in values]


def _decimal(value: float) -> str:
    for digits in range(17, 5, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.6g}"


def _grid_item(grid: Grid) -> Any:
    from pydicom.dataset import Dataset

    array, geometry = right_handed(grid.array, grid.geometry)
    item = Dataset()
    item.ImagePositionPatient = decimals(geometry.origin)
    item.ImageOrientationPatient = decimals(geometry.axes[:, :2].T.ravel())
    item.GridDimensions = list(geometry.size)
    item.GridResolution = list(geometry.spacing)
    item.VectorGridData = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return item


def right_handed(array: NDArray[Any], geometry: Geometry) -> tuple[NDArray[Any], Geometry]:
    """Return the same values on a grid whose third axis is the cross product of the others: DICOM knows no other."""
    axes = geometry.axes
    if np.linalg.det(axes) > 0:
        return array, geometry
    x, y, z = geometry.to_world((0, 0, geometry.size[2] - 1)).tolist()
    turned = axes * np.array([1.0, 1.0, -1.0])
    return array[::-1], Geometry(geometry.size, geometry.spacing, (x, y, z), tuple(turned.ravel().tolist()))
