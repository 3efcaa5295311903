"""The DICOM files that a volume of the scene was loaded from."""

from __future__ import annotations

import slicer

from DeepRegLib.errors import InputError

INSTANCES = "DICOM.instanceUIDs"


def dicom_files(node: slicer.vtkMRMLVolumeNode, database: object) -> list[str]:
    """Return the files of a volume that Slicer's DICOM module loaded.

    Parameters
    ----------
    node
        The volume.
    database
        Slicer's DICOM database, which knows where each instance lies.

    Raises
    ------
    InputError
        If the volume does not come from DICOM, or the database has lost a file of it.
    """
    instances = str(node.GetAttribute(INSTANCES) or "").split()
    if not instances:
        raise InputError(
            f"{node.GetName()} was not loaded from DICOM, so no DICOM object can refer to it.",
            "Load both volumes with the DICOM module, and register them.",
        )
    find = getattr(database, "fileForInstance", None)
    files = [str(find(uid) or "") for uid in instances] if find is not None else []
    if not files or not all(files):
        raise InputError(
            f"The DICOM files of {node.GetName()} are no longer in Slicer's DICOM database.", "Import them again."
        )
    return files
