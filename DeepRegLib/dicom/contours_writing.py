"""RT Structure Sets written: labels on the grid of a series become closed contours in its slices."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.contours_reading import STRUCTURES
from DeepRegLib.dicom.objects import image_items, new_object, write_object
from DeepRegLib.dicom.polygons import outlines
from DeepRegLib.dicom.registration_writing import decimals
from DeepRegLib.dicom.series import Series, require_frame, require_pydicom
from DeepRegLib.dicom.structures import StructureSet
from DeepRegLib.geometry import Geometry

DESCRIPTION = "DeepReg structures"
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, which the standard still wants here


def write_contours(path: str | Path, structures: StructureSet, series: Series, root: str | None = None) -> None:
    """Write structures as an RT Structure Set that refers to a series.

    Borders run halfway between voxel centres, so that filling them gives the same voxels; a hole is joined to what
    surrounds it by a channel of no width.

    Parameters
    ----------
    path
        The file.
    structures
        On the grid of the series.
    series
        What it refers to; patient, study and frame of reference are its own.
    root
        What new UIDs begin with.

    Raises
    ------
    InputError
        If the series names no frame of reference.
    OutputError
        If the file cannot be written.
    """
    require_frame(series, "fixed")
    require_pydicom()
    from pydicom.dataset import Dataset

    dataset = new_object(series, STRUCTURES, "RTSTRUCT", DESCRIPTION, root)
    now = datetime.now()
    dataset.OperatorsName, dataset.ApprovalStatus = "", "UNAPPROVED"
    dataset.StructureSetLabel = "DEEPREG"
    dataset.StructureSetDate, dataset.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.ReferencedFrameOfReferenceSequence = [_frame_item(series)]
    regions, contours, observations = [], [], []
    images = image_of_slice(series, structures.geometry)
    for structure in structures.structures:
        region, contour, observation = Dataset(), Dataset(), Dataset()
        region.ROINumber, region.ROIName = structure.label, structure.name[:64]
        region.ReferencedFrameOfReferenceUID, region.ROIGenerationAlgorithm = series.frame, "AUTOMATIC"
        contour.ReferencedROINumber, contour.ROIDisplayColor = structure.label, list(structure.colour)
        contour.ContourSequence = _contours(structures.mask(structure.label), structures.geometry, images)
        observation.ObservationNumber = observation.ReferencedROINumber = structure.label
        observation.RTROIInterpretedType, observation.ROIInterpreter = "", ""
        regions.append(region)
        observations.append(observation)
        if contour.ContourSequence:
            contours.append(contour)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = regions, contours
    dataset.RTROIObservationsSequence = observations
    write_object(dataset, path)


def image_of_slice(series: Series, geometry: Geometry) -> dict[int, tuple[str, str]]:
    """Return SOP class and instance UID of the image that lies in each slice k, where there is one."""
    found = {}
    for header, image in zip(series.headers, series.images, strict=True):
        position = header.get("ImagePositionPatient")
        if position is None:
            continue
        level = float(geometry.to_index([float(p) for p in position])[2])
        if abs(level - round(level)) < 0.1:
            found[round(level)] = image
    return found


def _frame_item(series: Series) -> Any:
    from pydicom.dataset import Dataset

    frame, study, inner = Dataset(), Dataset(), Dataset()
    inner.SeriesInstanceUID = series.uid
    inner.ContourImageSequence = image_items(series.images)
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_CLASS, series.study
    study.RTReferencedSeriesSequence = [inner]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = series.frame, [study]
    return frame


def _contours(mask: NDArray[np.bool_], geometry: Geometry, images: dict[int, tuple[str, str]]) -> list[Any]:
    from pydicom.dataset import Dataset

    items = []
    for plane in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for polygon in outlines(mask[plane]):
            points = geometry.to_world(np.column_stack([polygon, np.full(len(polygon), plane)]))
            item = Dataset()
            if plane in images:
                item.ContourImageSequence = image_items([images[plane]])
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            item.ContourData = decimals(points.ravel())
            items.append(item)
    return items
