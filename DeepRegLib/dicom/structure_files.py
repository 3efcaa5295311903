"""Structures out of either kind of DICOM file: a segmentation (SEG) or a structure set (RTSTRUCT)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from DeepRegLib.dicom.contours_reading import STRUCTURES, read_contours
from DeepRegLib.dicom.frames import RT_DOSE
from DeepRegLib.dicom.reading import is_dicom, without_pydicom_messages
from DeepRegLib.dicom.segmentation import CLASSES, read_segmentation
from DeepRegLib.dicom.series import START_BYTES, Series
from DeepRegLib.dicom.structures import StructureSet
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded

SEGMENTS, CONTOURS, DOSE = "segmentation", "contours", "dose"
KINDS = {**dict.fromkeys(CLASSES, SEGMENTS), STRUCTURES: CONTOURS, RT_DOSE: DOSE}


def kind_of(source: str | Path) -> str | None:
    """Return ``"segmentation"``, ``"contours"`` or ``"dose"`` for a DICOM file of these kinds, None for any other."""
    path = Path(source)
    if not path.is_file() or find_spec("pydicom") is None:
        return None
    with guarded(path), without_pydicom_messages():
        with path.open("rb") as stream:
            if not is_dicom(path, stream.read(START_BYTES)):
                return None
        from pydicom import dcmread

        return KINDS.get(str(dcmread(path, specific_tags=["SOPClassUID"], force=True).get("SOPClassUID", "")))


def read_structures(source: str | Path, geometry: Geometry, scan: Series | None = None) -> StructureSet:
    """Read either kind of file as labels on the grid of its scan.

    Parameters
    ----------
    source
        The file.
    geometry
        The scan's grid.
    scan
        What the scan is in DICOM; its patient and frame of reference must be the file's. None if it is a volume file.

    Raises
    ------
    InputError
        As `read_contours` and `read_segmentation` do.
    """
    read = read_segmentation if kind_of(source) == SEGMENTS else read_contours
    return read(source, geometry, None if scan is None else scan.first)
