"""Export DICOM: the shown result as objects that refer to both series, and what is told where it cannot be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)
pytest.importorskip("pydicom")

import pydicom
import slicer

from DeepRegLib.dicom.dose import write_dose
from DeepRegLib.dicom.series import read_series
from DeepRegLib.image import Image, read_image
from DeepRegLib.transforms import apply_to_image, read_transform
from Testing.dicom.scans import write_scan
from Testing.panel.nodes import linear_node, segmentation
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine

UIDS = "1.2.826.0.1.3680043.2.1125.1", "1.2.826.0.1.3680043.2.1125.2"


Database = dict[str, str]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    """Stand in for Slicer's DICOM database, as far as it is asked: files by instance."""
    files: Database = {}
    asked = SimpleNamespace(
        fileForInstance=lambda uid: files.get(uid, ""), filesForSeries=lambda uid: [files[uid]] if uid in files else []
    )
    monkeypatch.setattr(slicer, "dicomDatabase", asked, raising=False)
    return files


def load(node: Any, folder: Path, uid: str, database: Database, **how: str) -> None:
    """Give a volume the DICOM files of a series, as the DICOM module does."""
    from DeepRegLib.scene.volumes import image_from_volume

    image: Image = image_from_volume(node)
    write_scan(folder, image.with_array(image.array.astype(np.int16)), uid, **how)
    instances = {}
    for path in folder.iterdir():
        instances[str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)] = str(path)
    database |= instances
    node.SetAttribute("DICOM.instanceUIDs", " ".join(instances))


def press(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    opened.desktop.click(opened.ui.exportDicomButton)


def test_registration_and_structures_refer_to_both_series(
    opened: OpenedPanel, played: PlayedEngine, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.parameters.movingSegmentation = segmentation()
    assert not opened.ui.exportDicomButton.isEnabled()
    result = played.run()
    nodes = opened.parameters.fixedVolume, opened.parameters.movingVolume
    for node, role, uid in zip(nodes, ("fixed", "moving"), UIDS, strict=True):
        load(node, tmp_path / role, uid, database)
    press(opened, monkeypatch, tmp_path)
    assert opened.message == ""
    folder = tmp_path / "DeepReg DICOM"
    series = [read_series(tmp_path / role) for role in ("fixed", "moving")]
    written = read_transform(folder / "registration.dcm", fixed_series=series[0], moving_series=series[1])
    points = result.fixed.geometry.corners()
    np.testing.assert_allclose(written.apply_to_points(points), result.transform.apply_to_points(points), atol=1e-4)
    structures = pydicom.dcmread(folder / "structures.dcm")
    assert [str(roi.ROIName) for roi in structures.StructureSetROISequence] == ["liver", "spleen"]
    assert str(structures.PatientID) == "P1"


def test_a_dose_that_slicerrt_loaded_is_carried_over(
    opened: OpenedPanel, played: PlayedEngine, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = played.run()
    nodes = opened.parameters.fixedVolume, opened.parameters.movingVolume
    for node, role, uid in zip(nodes, ("fixed", "moving"), UIDS, strict=True):
        load(node, tmp_path / role, uid, database)
    source = tmp_path / "dose.dcm"
    values = np.abs(result.moving.array.astype(np.float64))
    header = pydicom.dataset.Dataset()
    header.DoseUnits, header.DoseType, header.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    moving_series = read_series(tmp_path / "moving")
    write_dose(source, values, result.moving.geometry, header, moving_series)
    dose = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "dose")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    hierarchy.SetItemUID(hierarchy.GetItemByDataNode(dose), "DICOM", "1.2.9")
    database["1.2.9"] = str(source)
    opened.parameters.movingDose = dose
    press(opened, monkeypatch, tmp_path)
    assert opened.message == ""
    carried = pydicom.dcmread(tmp_path / "DeepReg DICOM" / "dose.dcm")
    assert carried.FrameOfReferenceUID == f"{UIDS[0]}.7"
    expected = apply_to_image(
        result.transform, result.moving.with_array(values), result.fixed.geometry, background=0
    ).array
    found = read_image(tmp_path / "DeepReg DICOM" / "dose.dcm").array
    assert np.abs(found - np.maximum(expected, 0)).max() < 1e-3 * values.max()
    opened.parameters.movingDose = nodes[0]
    press(opened, monkeypatch, tmp_path)
    assert "DICOM files; a dose has one" in opened.message


def test_a_volume_that_was_registered_under_a_transform_is_not_exported(
    opened: OpenedPanel, played: PlayedEngine, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = opened.parameters.fixedVolume, opened.parameters.movingVolume
    for node, role, uid in zip(nodes, ("fixed", "moving"), UIDS, strict=True):
        load(node, tmp_path / role, uid, database)
    shift = np.eye(4)
    shift[0, 3] = 5.0
    nodes[1].SetAndObserveTransformNodeID(linear_node(slicer.mrmlScene, shift, "table").GetID())
    played.run()
    press(opened, monkeypatch, tmp_path)
    assert "lay elsewhere when it was registered" in opened.message
    assert not (tmp_path / "DeepReg DICOM").exists()


def test_what_cannot_be_exported_is_told_in_a_sentence(
    opened: OpenedPanel, played: PlayedEngine, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.run()
    nodes = opened.parameters.fixedVolume, opened.parameters.movingVolume
    press(opened, monkeypatch, tmp_path)
    assert "was not loaded from DICOM" in opened.message
    load(nodes[0], tmp_path / "fixed", UIDS[0], database)
    load(nodes[1], tmp_path / "moving", UIDS[1], database, patient="P2")
    press(opened, monkeypatch, tmp_path)
    assert "two patients" in opened.message
    database.clear()
    press(opened, monkeypatch, tmp_path)
    assert "no longer in Slicer's DICOM database" in opened.message
    assert not (tmp_path / "DeepReg DICOM").exists()


def test_the_transform_knows_both_scans_as_an_exporter_asks(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    transform = slicer.mrmlScene.GetNodeByID(opened.results.transform)
    assert transform.GetNodeReference("spatialRegistrationFixed") is opened.parameters.fixedVolume
    assert transform.GetNodeReference("spatialRegistrationMoving") is opened.parameters.movingVolume


def test_an_exported_registration_loaded_by_slicerrt_is_an_initial_transform(
    opened: OpenedPanel, played: PlayedEngine, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = played.run()
    nodes = opened.parameters.fixedVolume, opened.parameters.movingVolume
    for node, role, uid in zip(nodes, ("fixed", "moving"), UIDS, strict=True):
        load(node, tmp_path / role, uid, database)
    press(opened, monkeypatch, tmp_path)
    written = pydicom.dcmread(tmp_path / "DeepReg DICOM" / "registration.dcm")
    item = next(each for each in written.RegistrationSequence if str(each.FrameOfReferenceUID) == f"{UIDS[1]}.7")
    matrix = np.array(
        item.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix, dtype=float
    ).reshape(4, 4)
    # SlicerRT puts the matrix of the moving frame into a node as its transform to the parent.
    opened.parameters.initialTransform = linear_node(slicer.mrmlScene, matrix, "REG")
    start = played.request().drivers.initial_transform
    points = result.fixed.geometry.corners()
    np.testing.assert_allclose(start.apply_to_points(points), result.transform.apply_to_points(points), atol=1e-4)
