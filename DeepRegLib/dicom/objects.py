"""New DICOM objects: what each of them has, whatever it holds; patient, study and frame of reference come along."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from DeepRegLib.dicom.reading import without_pydicom_messages
from DeepRegLib.dicom.series import Series, require_pydicom
from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.version import VERSION

UTF_8 = "ISO_IR 192"
MANUFACTURER, MODEL = "SlicerDeepReg contributors", "DeepReg"
LONGEST_ROOT = 40  # of 64 characters, so that what follows cannot meet by chance
# Copied from the source, as it has them; nothing else is, private elements least of all.
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
WHERE_PRESENT = (
    *("IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("StudyDescription", "PatientAge", "PatientSize", "PatientWeight", "PositionReferenceIndicator"),
)
_ROOT = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


def new_uid(root: str | None) -> str:
    """Return a UID nobody else has.

    Parameters
    ----------
    root
        What it begins with, such as ``"1.2.826.0.1.3680043.10.999"``; None for one made of a random UUID (2.25).

    Raises
    ------
    InputError
        If the root is no UID or too long.
    """
    require_pydicom()
    from pydicom.uid import generate_uid

    if root is None:
        return str(generate_uid(prefix=None))
    check_root(root)
    return str(generate_uid(prefix=f"{root}."))


def check_root(root: str) -> None:
    """Make sure that UIDs can begin with a root.

    Raises
    ------
    InputError
        If it is no UID or too long.
    """
    if len(root) > LONGEST_ROOT or not _ROOT.fullmatch(root):
        raise InputError(
            f"{root[:80]} is no root for DICOM UIDs.",
            f"Give numbers joined by dots, at most {LONGEST_ROOT} characters, as it was assigned to you.",
        )


def new_object(source: Series, sop_class: str, modality: str, description: str, root: str | None) -> Any:
    """Return a pydicom data set with patient, study and frame of reference of `source` and UIDs of its own."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(new_uid(root))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    copy_identity(source.first, dataset)
    dataset.FrameOfReferenceUID = source.frame
    dataset.Modality, dataset.SeriesInstanceUID = modality, new_uid(root)
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 1, 1, description
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, MODEL
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = VERSION, VERSION
    now = datetime.now()
    dataset.SeriesDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.SeriesTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")
    return dataset


def copy_identity(source: Any, dataset: Any) -> None:
    """Copy patient and study; what the standard wants and the source lacks is empty."""
    dataset.SpecificCharacterSet = UTF_8
    with without_pydicom_messages():
        for key in (*PATIENT, *STUDY):
            setattr(dataset, key, str(source.get(key, None) or ""))
        for key in WHERE_PRESENT:
            if source.get(key) not in (None, ""):
                setattr(dataset, key, source.get(key))
    if "PositionReferenceIndicator" not in dataset:
        dataset.PositionReferenceIndicator = ""


def image_items(images: Iterable[tuple[str, str]]) -> list[Any]:
    """Return references to images as a sequence's items: SOP class and instance UID."""
    from pydicom.dataset import Dataset

    items = []
    for sop_class, instance in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        items.append(item)
    return items


def refer_to(dataset: Any, referenced: Sequence[Series]) -> None:
    """Fill in the module Common Instance Reference: the series of the object's own study, and those of others."""
    from pydicom.dataset import Dataset

    studies: dict[str, list[Any]] = {}
    for series in {series.uid: series for series in referenced}.values():
        item = Dataset()
        item.ReferencedInstanceSequence = image_items(series.images)
        item.SeriesInstanceUID = series.uid
        studies.setdefault(series.study, []).append(item)
    own = studies.pop(str(dataset.StudyInstanceUID), None)
    if own:
        dataset.ReferencedSeriesSequence = own
    others = []
    for study, items in studies.items():
        item = Dataset()
        item.ReferencedSeriesSequence, item.StudyInstanceUID = items, study
        others.append(item)
    if others:
        dataset.StudiesContainingOtherReferencedInstancesSequence = others


def write_object(dataset: Any, path: str | Path) -> None:
    """Write a data set as a DICOM file, through a temporary name.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    write_atomically(path, lambda temporary: dataset.save_as(temporary, enforce_file_format=True))
