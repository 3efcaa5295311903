"""DICOM series made for tests: whole CT objects, each with a patient, a study and a frame of reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from DeepRegLib.dicom.registration_writing import decimals
from DeepRegLib.image import Image

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = "1.2.826.0.1.3680043.2.1125.9"


def write_scan(
    folder: Path, image: Image, uid: str, *, frame: str | None = None, patient: str = "P1", study: str = STUDY
) -> Path:
    """Write an image as a CT series `uid`; its frame of reference is ``uid.7`` unless told, none if it is empty."""
    folder.mkdir(parents=True)
    axes = image.geometry.axes
    for k, plane in enumerate(image.array.astype("<i2")):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, f"{uid}.1.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        values = {
            "SOPClassUID": CT,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "StudyDate": "20260102",
            "StudyTime": "101112",
            "AccessionNumber": "A7",
            "Modality": "CT",
            "Manufacturer": "maker",
            "ReferringPhysicianName": "",
            "PatientName": "Doe^Jane",
            "PatientID": patient,
            "PatientBirthDate": "19500101",
            "PatientSex": "F",
            "StudyInstanceUID": study,
            "SeriesInstanceUID": uid,
            "StudyID": "S1",
            "SeriesNumber": 1,
            "InstanceNumber": k + 1,
            "PositionReferenceIndicator": "",
            "ImagePositionPatient": decimals(image.geometry.to_world([0, 0, k])),
            "ImageOrientationPatient": decimals(axes[:, :2].T.ravel()),
            "SliceThickness": image.geometry.spacing[2],
            "KVP": 120,
            "AcquisitionNumber": 1,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": plane.shape[0],
            "Columns": plane.shape[1],
            "PixelSpacing": [image.geometry.spacing[1], image.geometry.spacing[0]],
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "RescaleIntercept": 0,
            "RescaleSlope": 1,
            "RescaleType": "HU",
            "PixelData": np.ascontiguousarray(plane).tobytes(),
        }
        for key, value in values.items():
            setattr(dataset, key, value)
        if frame != "":
            dataset.FrameOfReferenceUID = frame or f"{uid}.7"
        private = dataset.private_block(0x0099, "SECRET", create=True)
        private.add_new(1, "LO", "what only the maker knows")
        dataset.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)
    return folder
