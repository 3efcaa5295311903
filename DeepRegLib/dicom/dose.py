"""RT Dose in and out (PS3.3 C.8.8.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.frames import RT_DOSE
from DeepRegLib.dicom.objects import new_object, write_object
from DeepRegLib.dicom.reading import without_pydicom_messages
from DeepRegLib.dicom.registration_writing import decimals, right_handed
from DeepRegLib.dicom.series import Series, require_frame, require_one_patient, require_pydicom
from DeepRegLib.dicom.structures import check_frame
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.naming import shown

DESCRIPTION = "DeepReg dose"
STEPS = 2**16 - 1  # of 16 bits, which every reader takes: a step is less than 0.002 % of the largest dose
COPIED = ("DoseUnits", "DoseType", "DoseSummationType")


def read_dose_header(source: str | Path, scan: Series) -> Any:
    """Return the header of a dose, without its pixels, if it belongs to a scan.

    Raises
    ------
    InputError
        If the file is of another kind, another patient or another frame of reference.
    """
    path = Path(source)
    with guarded(path), without_pydicom_messages():
        path.stat()
        require_pydicom()
        from pydicom import dcmread

        header, name = dcmread(path, stop_before_pixels=True, force=True), shown(path)
        if str(header.get("SOPClassUID", "")) != RT_DOSE:
            raise InputError(f"{name} is no DICOM dose.", "Give an RTDOSE file.")
        require_one_patient(header, scan.first, f"{name} and its scan")
        check_frame(str(header.get("FrameOfReferenceUID", "") or ""), scan.frame, name)
        return header


def write_dose(
    path: str | Path,
    dose: NDArray[np.floating],
    geometry: Geometry,
    source: Any,
    series: Series,
    *,
    registration: tuple[str, str] | None = None,
    rigid: bool = False,
    root: str | None = None,
) -> None:
    """Write a dose that was carried to the frame of reference of a series.

    Parameters
    ----------
    path
        The file.
    dose
        ``(k, j, i)`` on `geometry`, at least zero, in the units of `source`.
    geometry
        Its grid.
    source
        pydicom's header of the dose it was made of, which tells units and type.
    series
        The scan it lies on now.
    registration
        SOP class and instance UID of the registration that carried it.
    rigid
        Whether that was a rigid one.
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

    array, grid = right_handed(np.asarray(dose, dtype=np.float64), geometry)
    dataset = new_object(series, RT_DOSE, "RTDOSE", DESCRIPTION, root)
    dataset.OperatorsName = ""
    scaling = decimals([max(float(array.max()), 1e-9) / STEPS])[0]
    stored = np.clip(np.rint(array / float(scaling)), 0, STEPS).astype("<u2")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.NumberOfFrames, dataset.FrameIncrementPointer = len(stored), 0x3004000C
    dataset.Rows, dataset.Columns = stored.shape[1:]
    dataset.PixelSpacing = decimals([grid.spacing[1], grid.spacing[0]])
    dataset.SliceThickness = decimals([grid.spacing[2]])[0]
    dataset.ImagePositionPatient = decimals(grid.origin)
    dataset.ImageOrientationPatient = decimals(grid.axes[:, :2].T.ravel())
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    for key, otherwise in zip(COPIED, ("GY", "PHYSICAL", "PLAN"), strict=True):
        setattr(dataset, key, source.get(key) or otherwise)
    if source.get("ReferencedRTPlanSequence"):
        dataset.ReferencedRTPlanSequence = [_reference(item) for item in source.ReferencedRTPlanSequence]
    dataset.GridFrameOffsetVector = decimals(np.arange(len(stored), dtype=np.float64) * grid.spacing[2])
    dataset.DoseGridScaling = scaling
    if registration is not None:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = registration
        dataset.SpatialTransformOfDose = "RIGID" if rigid else "NON_RIGID"
        dataset.ReferencedSpatialRegistrationSequence = [item]
    dataset.PixelData = stored.tobytes()
    write_object(dataset, path)


def _reference(item: Any) -> Any:
    from pydicom.dataset import Dataset

    copy = Dataset()
    copy.ReferencedSOPClassUID = item.ReferencedSOPClassUID
    copy.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID
    return copy
