"""DICOM segmentations, structure sets and doses: equal when read back, by other tools too, and refused where wrong."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
from pydicom import dcmread
from pydicom.dataset import Dataset

from DeepRegLib.dicom.contours_writing import write_contours
from DeepRegLib.dicom.dose import read_dose_header, write_dose
from DeepRegLib.dicom.registration_writing import decimals
from DeepRegLib.dicom.segmentation import write_segmentation
from DeepRegLib.dicom.series import Series, read_series
from DeepRegLib.dicom.structure_files import kind_of, read_structures
from DeepRegLib.dicom.structures import Layers, Structure, StructureSet
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image
from DeepRegLib.structures import label_images, numbered_like, structure_set
from Testing.damage import multi_frame
from Testing.dicom.scans import write_scan
from Testing.synthetic import CENTRE, blobs, geometry_in, label_map

PLASTIMATCH = shutil.which("plastimatch")
needs_plastimatch = pytest.mark.skipif(PLASTIMATCH is None, reason="plastimatch is not installed")
WRITERS = {"segmentation": write_segmentation, "contours": write_contours}


class Scan(NamedTuple):
    folder: Path
    series: Series
    geometry: Geometry


def scan_in(folder: Path, orientation: str, uid: str = "1.2.826.0.1.3680043.2.1125.1", **changes) -> Scan:
    image = blobs(geometry_in(orientation, (24, 22, 14), 2.5))
    path = write_scan(folder, image.with_array(image.array.astype(np.int16)), uid, **changes)
    return Scan(path, read_series(path), read_image(path).geometry)


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Scan:
    return scan_in(tmp_path_factory.mktemp("scan") / "ct", "LPS")


def structures_on(geometry: Geometry) -> StructureSet:
    """Return three structures that touch, and a shell with a core of its own that overlaps them."""
    layers, labels = Layers(geometry.shape), label_map(geometry).array
    for label in (2, 7, 250):
        layers.add(labels == label, label)
    away = np.linalg.norm(geometry.points() - CENTRE, axis=-1)
    layers.add((away < 17) & ~((away > 6) & (away < 12)), 9)
    names = {2: "Leber", 7: "Rückenmark", 250: "tumour", 9: "shell"}
    return StructureSet(
        tuple(layers.arrays),
        geometry,
        tuple(Structure(label, name, (label % 256, 40, 200)) for label, name in names.items()),
    )


def refusal(action) -> str:
    with pytest.raises(InputError) as caught:
        action()
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_equal(found: StructureSet, expected: StructureSet) -> None:
    by_name = {structure.name: structure for structure in found.structures}
    assert by_name.keys() == {structure.name for structure in expected.structures}
    for structure in expected.structures:
        mask = found.mask(by_name[structure.name].label)
        np.testing.assert_array_equal(mask, expected.mask(structure.label), err_msg=structure.name)
        np.testing.assert_allclose(by_name[structure.name].colour, structure.colour, atol=2)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "oblique"])
@pytest.mark.parametrize("kind", WRITERS)
def test_labels_are_equal_when_read_back(kind: str, orientation: str, tmp_path: Path) -> None:
    scan = scan_in(tmp_path / "ct", orientation)
    expected = structures_on(scan.geometry)
    assert len(expected.layers) == 2
    WRITERS[kind](tmp_path / "s.dcm", expected, scan.series, "1.2.3.77")
    assert kind_of(tmp_path / "s.dcm") == kind
    assert_equal(read_structures(tmp_path / "s.dcm", scan.geometry, scan.series), expected)
    dataset = dcmread(tmp_path / "s.dcm")
    assert dataset.SOPInstanceUID.startswith("1.2.3.77.")
    assert dataset.PatientName == "Doe^Jane"
    assert dataset.StudyInstanceUID == scan.series.study
    assert not any(element.tag.is_private for element in dataset.iterall())


def test_a_multi_frame_scan_without_name_and_birth_date_is_referred_to(tmp_path: Path) -> None:
    pixels = np.arange(6 * 20 * 24, dtype=np.int16).reshape(6, 20, 24)
    dataset = multi_frame(pixels, [[-9.0, -8.0, 3.0 * level] for level in (3, 0, 5, 1, 4, 2)])
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = "1.2.4", "1.2.5"
    dataset.save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    series, geometry = read_series(tmp_path / "scan.dcm"), read_image(tmp_path / "scan.dcm").geometry
    mask = np.zeros(geometry.shape, dtype=np.uint16)
    mask[2:5, 4:9, 3:8] = 1
    mask[3, 5, 5] = 0
    expected = StructureSet((mask,), geometry, (Structure(1, "x", (1, 200, 3)),))
    for kind, write in WRITERS.items():
        write(tmp_path / f"{kind}.dcm", expected, series)
        assert_equal(read_structures(tmp_path / f"{kind}.dcm", geometry, series), expected)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
def test_dciodvfy_finds_no_errors(scan: Scan, tmp_path: Path) -> None:
    for kind, write in WRITERS.items():
        write(tmp_path / f"{kind}.dcm", structures_on(scan.geometry), scan.series)
    write_dose(tmp_path / "dose.dcm", dose_on(scan.geometry), scan.geometry, dose_header(), scan.series)
    for kind in (*WRITERS, "dose"):
        said = subprocess.run(["dciodvfy", tmp_path / f"{kind}.dcm"], capture_output=True, check=False).stderr
        assert said
        assert b"Error" not in said, said


@needs_plastimatch
def test_plastimatch_reads_the_same_structures(scan: Scan, tmp_path: Path) -> None:
    expected = structures_on(scan.geometry)
    write_contours(tmp_path / "s.dcm", expected, scan.series)
    words = ["--input", tmp_path / "s.dcm", "--referenced-ct", scan.folder, "--output-prefix", tmp_path / "masks"]
    subprocess.run([PLASTIMATCH, "convert", *words, "--prefix-format", "nrrd"], capture_output=True, check=False)
    for name in ("tumour", "shell", "Leber"):
        theirs = read_image(tmp_path / "masks" / f"{name}.nrrd").array > 0
        label = next(structure.label for structure in expected.structures if structure.name == name)
        assert np.mean(theirs != expected.mask(label)) == 0, name


@needs_plastimatch
def test_structures_that_plastimatch_writes_are_read(scan: Scan, tmp_path: Path) -> None:
    from DeepRegLib.image import write_image

    mask = structures_on(scan.geometry).mask(9)
    (tmp_path / "masks").mkdir()
    write_image(Image(mask.astype(np.uint8), scan.geometry), tmp_path / "masks" / "shell.nrrd")
    words = ["--input-prefix", tmp_path / "masks", "--output-dicom", tmp_path / "out", "--referenced-ct", scan.folder]
    subprocess.run([PLASTIMATCH, "convert", *words], capture_output=True, check=False)
    (theirs,) = [path for path in (tmp_path / "out").iterdir() if kind_of(path) == "contours"]
    found = read_structures(theirs, scan.geometry, scan.series)
    assert [structure.name for structure in found.structures] == ["shell"]
    # It draws through the outermost pixels' centres, so those on the border may fall on either side.
    both = found.layers[0] > 0
    assert 2 * np.sum(both & mask) / (both.sum() + mask.sum()) > 0.9


def test_structures_of_one_name_get_one_number_and_names_survive() -> None:
    geometry = geometry_in("LPS", (12, 12, 8), 5.0)
    moving = structures_on(geometry)
    renamed = {"Leber": "LEBER", "tumour": "rectum"}
    others = tuple(
        Structure(structure.label + 1, renamed.get(structure.name, structure.name), (0, 0, 0))
        for structure in moving.structures
    )
    fixed = StructureSet(tuple(np.where(a > 0, a + 1, 0).astype(np.uint16) for a in moving.layers), geometry, others)
    matched = numbered_like(fixed, moving)
    labels = {structure.name: structure.label for structure in matched.structures}
    assert (labels["LEBER"], labels["Rückenmark"], labels["shell"]) == (2, 7, 9)
    assert labels["rectum"] not in (2, 7, 9, 250)
    np.testing.assert_array_equal(matched.mask(2), moving.mask(2))
    back = structure_set(label_images(moving, "labels"), moving.structures)
    assert {s.name for s in back.structures} == {s.name for s in moving.structures}


# Contours of other systems


def contour_file(scan: Scan, path: Path, contours: list[tuple[str, np.ndarray, float]], **changes: str) -> Path:
    """Write one structure out of contours: type, corners (i, j), slice k."""
    everywhere = np.ones(scan.geometry.shape, dtype=np.uint16)
    whole = StructureSet((everywhere,), scan.geometry, (Structure(1, "bladder", (1, 2, 3)),))
    write_contours(path, whole, scan.series)
    dataset = dcmread(path)
    items = []
    for kind, corners, level in contours:
        item = Dataset()
        points = scan.geometry.to_world(np.column_stack([corners, np.full(len(corners), level)]))
        item.ContourGeometricType, item.NumberOfContourPoints = kind, len(corners)
        item.ContourData = decimals(points.ravel())
        items.append(item)
    dataset.ROIContourSequence[0].ContourSequence = items
    for key, value in changes.items():
        setattr(dataset, key, value)
    dataset.save_as(path)
    return path


SQUARE = np.array([(4.2, 4.2), (15.8, 4.2), (15.8, 15.8), (4.2, 15.8)])


def test_holes_and_islands_of_separate_contours_are_right(scan: Scan, tmp_path: Path) -> None:
    inner, island = 10 + 0.6 * (SQUARE - 10), 10 + 0.2 * (SQUARE - 10)
    contours = [("CLOSED_PLANAR", corners, 5.0) for corners in (SQUARE, inner, island, island)]  # one comes twice
    found = read_structures(contour_file(scan, tmp_path / "s.dcm", contours), scan.geometry, scan.series)
    mask = found.mask(1)[5]
    assert (mask[5, 5], mask[8, 8], mask[10, 10]) == (True, False, True)
    assert not found.mask(1)[4].any()


def test_contours_on_every_second_slice_are_filled_in_between(scan: Scan, tmp_path: Path) -> None:
    contours = [("CLOSED_PLANAR", 10 + size * (SQUARE - 10), level) for size, level in ((1, 3), (0.8, 5), (0.6, 7))]
    found = read_structures(contour_file(scan, tmp_path / "s.dcm", contours), scan.geometry, scan.series).mask(1)
    areas = found.sum(axis=(1, 2))
    assert (areas[:3] == 0).all()
    assert areas[3] >= areas[4] >= areas[5] >= areas[6] >= areas[7] > 0
    assert areas[3] > areas[5] > areas[7]
    assert (areas[8:] == 0).all()


@pytest.mark.parametrize(
    ("contours", "said"),
    [
        ([("OPEN_PLANAR", SQUARE, 5)], "is open (OPEN_PLANAR)"),
        ([("", SQUARE, 5)], "is open (of no type)"),
        ([("CLOSED_PLANAR", SQUARE[[0, 2, 1, 3]], 5)], "cross in slice 6"),
        ([("CLOSED_PLANAR", SQUARE, 5), ("CLOSED_PLANAR", SQUARE + 3, 5)], "cross in slice 6"),
        ([("CLOSED_PLANAR", SQUARE[:2], 5)], "has 2 points"),
        ([("CLOSED_PLANAR", SQUARE, 40)], "outside its scan"),
        ([("CLOSED_PLANAR", SQUARE, -3)], "outside its scan"),
        ([("POINT", SQUARE[:1], 5)], "no structure with contours"),
    ],
    ids=["open", "no type", "itself", "each other", "line", "above", "below", "point"],
)
def test_contours_that_enclose_nothing_certain_are_refused(contours, said: str, scan: Scan, tmp_path: Path) -> None:
    path = contour_file(scan, tmp_path / "s.dcm", contours)
    assert said in refusal(lambda: read_structures(path, scan.geometry, scan.series))


def test_contours_across_slices_are_refused(scan: Scan, tmp_path: Path) -> None:
    path = contour_file(scan, tmp_path / "s.dcm", [("CLOSED_PLANAR", SQUARE, 5)])
    dataset = dcmread(path)
    item = dataset.ROIContourSequence[0].ContourSequence[0]
    item.ContourData = [str(float(v) + (4 if n == 2 else 0)) for n, v in enumerate(item.ContourData)]
    dataset.save_as(path)
    assert "lies in no slice" in refusal(lambda: read_structures(path, scan.geometry, scan.series))


# What does not belong together


@pytest.mark.parametrize("kind", [*WRITERS, "dose"])
def test_another_frame_patient_or_kind_is_refused(kind: str, scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "s.dcm"
    if kind == "dose":
        write_dose(path, dose_on(scan.geometry), scan.geometry, dose_header(), scan.series)
    else:
        WRITERS[kind](path, structures_on(scan.geometry), scan.series)

    def read(other: Scan) -> object:
        if kind == "dose":
            return read_dose_header(path, other.series)
        return read_structures(path, other.geometry, other.series)

    read(scan)
    elsewhere = scan_in(tmp_path / "a", "LPS", "1.2.3.4")
    assert "lies in another frame of reference" in refusal(lambda: read(elsewhere))
    stranger = scan_in(tmp_path / "b", "LPS", "1.2.3.5", frame=scan.series.frame, patient="P2")
    said = refusal(lambda: read(stranger))
    assert "of two patients" in said
    assert "P1" not in said
    dataset = dcmread(path)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.save_as(path)
    assert kind_of(path) is None
    assert "is no DICOM" in refusal(lambda: read(scan))


def test_an_object_without_a_frame_of_reference_is_refused(scan: Scan, tmp_path: Path) -> None:
    write_dose(tmp_path / "d.dcm", dose_on(scan.geometry), scan.geometry, dose_header(), scan.series)
    dataset = dcmread(tmp_path / "d.dcm")
    del dataset.FrameOfReferenceUID
    dataset.save_as(tmp_path / "d.dcm")
    assert "names no frame of reference" in refusal(lambda: read_dose_header(tmp_path / "d.dcm", scan.series))


def test_a_segmentation_on_another_grid_is_refused(scan: Scan, tmp_path: Path) -> None:
    write_segmentation(tmp_path / "s.dcm", structures_on(scan.geometry), scan.series)
    coarser = scan.geometry.resized(5.0)
    assert "on the grid of its scan" in refusal(lambda: read_structures(tmp_path / "s.dcm", coarser, scan.series))


# Dose


def dose_header() -> Dataset:
    header, plan = Dataset(), Dataset()
    header.DoseUnits, header.DoseType, header.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.3.4.5"
    header.ReferencedRTPlanSequence = [plan]
    return header


def dose_on(geometry: Geometry) -> np.ndarray:
    return blobs(geometry).array.astype(np.float64) * 0.0713


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "oblique"])
def test_a_dose_is_read_back_within_a_tenth_of_a_percent(orientation: str, tmp_path: Path) -> None:
    scan = scan_in(tmp_path / "ct", orientation)
    dose = dose_on(scan.geometry)
    reference = ("1.2.840.10008.5.1.4.1.1.66.3", "1.2.3.9")
    write_dose(tmp_path / "d.dcm", dose, scan.geometry, dose_header(), scan.series, registration=reference)
    back = read_image(tmp_path / "d.dcm")
    assert back.geometry.is_close(scan.geometry)
    assert np.abs(back.array - dose).max() < 1e-4 * dose.max()
    dataset = dcmread(tmp_path / "d.dcm")
    assert (dataset.DoseUnits, dataset.FrameOfReferenceUID) == ("GY", scan.series.frame)
    assert dataset.SpatialTransformOfDose == "NON_RIGID"
    assert dataset.ReferencedSpatialRegistrationSequence[0].ReferencedSOPInstanceUID == "1.2.3.9"


@needs_plastimatch
def test_plastimatch_reads_the_same_dose(scan: Scan, tmp_path: Path) -> None:
    dose = dose_on(scan.geometry)
    write_dose(tmp_path / "d.dcm", dose, scan.geometry, dose_header(), scan.series)
    words = ["--input", tmp_path / "d.dcm", "--output-dose-img", tmp_path / "dose.nrrd"]
    subprocess.run([PLASTIMATCH, "convert", *words], capture_output=True, check=False)
    theirs = read_image(tmp_path / "dose.nrrd")
    assert theirs.geometry.is_close(scan.geometry)
    assert np.abs(theirs.array - dose).max() < 1e-3 * dose.max()


@needs_plastimatch
def test_a_dose_that_plastimatch_writes_is_read(scan: Scan, tmp_path: Path) -> None:
    from DeepRegLib.image import write_image

    dose = dose_on(scan.geometry)
    write_image(Image(dose.astype(np.float32), scan.geometry), tmp_path / "dose.mha")
    words = ["--input-dose-img", tmp_path / "dose.mha", "--output-dicom", tmp_path / "out"]
    subprocess.run([PLASTIMATCH, "convert", *words, "--referenced-ct", scan.folder], capture_output=True, check=False)
    (theirs,) = [path for path in (tmp_path / "out").iterdir() if kind_of(path) == "dose"]
    found = read_image(theirs)
    assert found.geometry.is_close(scan.geometry)
    assert np.abs(found.array - dose).max() < 1e-3 * dose.max()
