"""The DICOM files that a volume of the scene was loaded from."""

from __future__ import annotations

from collections.abc import Sequence

import slicer

from DeepRegLib.errors import InputError

INSTANCES = "DICOM.instanceUIDs"
SERIES = "DICOM"  # what the subject hierarchy calls the UID of a series


def dicom_files(node: slicer.vtkMRMLVolumeNode, database: object) -> list[str]:
    """Return the files of a volume that Slicer's DICOM module loaded, or SlicerRT.

    The DICOM module writes the instances into the node, SlicerRT the series into the subject hierarchy.

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
    instances, series = str(node.GetAttribute(INSTANCES) or "").split(), _series_of(node)
    if not instances and not series:
        raise InputError(
            f"{node.GetName()} was not loaded from DICOM, so no DICOM object can refer to it.",
            "Load both volumes with the DICOM module, and register them.",
        )
    files = _instance_files(database, instances) if instances else _series_files(database, series)
    if not files or not all(files):
        raise InputError(
            f"The DICOM files of {node.GetName()} are no longer in Slicer's DICOM database.", "Import them again."
        )
    return files


def _instance_files(database: object, instances: Sequence[str]) -> list[str]:
    find = getattr(database, "fileForInstance", None)
    return [str(find(uid) or "") for uid in instances] if find is not None else []


def _series_files(database: object, series: str) -> list[str]:
    find = getattr(database, "filesForSeries", None)
    return [str(path) for path in find(series)] if find is not None else []


def _series_of(node: slicer.vtkMRMLVolumeNode) -> str:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    return str(hierarchy.GetItemUID(hierarchy.GetItemByDataNode(node), SERIES) or "")
