"""`deepreg` with DICOM: objects beside the usual files, and registrations taken as transforms."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
from pydicom import dcmread
from pydicom.dataset import Dataset

from DeepRegLib.dicom.contours_writing import write_contours
from DeepRegLib.dicom.dose import write_dose
from DeepRegLib.dicom.segmentation import write_segmentation
from DeepRegLib.dicom.series import read_series
from DeepRegLib.dicom.structure_files import read_structures
from DeepRegLib.dicom.structures import Structure
from DeepRegLib.image import Image, read_image
from DeepRegLib.landmarks import read_point_list, write_points
from DeepRegLib.structures import structure_set
from DeepRegLib.transforms import apply_to_image, read_transform
from Testing.dicom.scans import write_scan
from Testing.small import small_pair


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("scans")
    fixed, moving, _, _ = small_pair()
    return write_scan(folder / "Doe_Jane_CT", fixed, "1.2.3.1"), write_scan(folder / "Doe_Jane_CBCT", moving, "1.2.3.2")


@pytest.fixture(scope="module")
def objects(scans, tmp_path_factory) -> dict[str, Path]:
    """Write a SEG, an RTSTRUCT and an RTDOSE of the moving scan."""
    folder, series, image = tmp_path_factory.mktemp("objects"), read_series(scans[1]), read_image(scans[1])
    labels = small_pair()[3]
    structures = structure_set([labels], [Structure(7, "liver", (200, 30, 30))])
    write_contours(folder / "structures.dcm", structures, series)
    write_segmentation(folder / "segmentation.dcm", structures, series)
    write_dose(folder / "dose.dcm", image.array.clip(0) / 20, image.geometry, Dataset(), series)
    return {kind: folder / f"{kind}.dcm" for kind in ("structures", "segmentation", "dose")}


@pytest.fixture(scope="module")
def output(scans, objects, files, tmp_path_factory) -> Path:
    from DeepRegLib.cli import main

    folder = tmp_path_factory.mktemp("out") / "OUT"
    words = ["register", *scans, "-o", folder, "--recipe", files.recipe, "--dicom", "--dicom-root", "1.2.3.77"]
    words += ["--moving-labels", objects["structures"], "--moving-dose", objects["dose"]]
    assert main([str(word) for word in words]) == 0
    return folder


def test_a_registration_leaves_a_dicom_file_that_says_the_same(output: Path, scans) -> None:
    assert json.loads((output / "result.json").read_text())["files"]["dicom_registration"] == "registration.dcm"
    written, usual = read_transform(output / "registration.dcm"), read_transform(output / "transform.h5")
    points = small_pair()[0].geometry.points()[2:-2, 2:-2, 2:-2]
    assert np.abs(written.apply_to_points(points) - usual.apply_to_points(points)).max() < 2e-4  # .h5 is rounded
    assert dcmread(output / "registration.dcm").SeriesInstanceUID.startswith("1.2.3.77.")


def test_apply_takes_a_dicom_registration_for_volumes_and_points(deepreg, output, scans, tmp_path: Path) -> None:
    for name in ("registration.dcm", "transform.h5"):
        words = (output / name, scans[1], "--reference", scans[0], "-o", tmp_path / f"{name}.nii.gz")
        assert deepreg("apply", *words).code == 0
    ours, usual = (read_image(tmp_path / f"{name}.nii.gz").array for name in ("registration.dcm", "transform.h5"))
    assert np.abs(ours.astype(float) - usual).max() <= 1
    write_points(np.array([[10.0, -20.0, 40.0]]), tmp_path / "p.csv", None)
    assert deepreg("apply", output / "registration.dcm", tmp_path / "p.csv", "-o", tmp_path / "q.csv").code == 0
    there = read_transform(output / "transform.h5").apply_to_points([[10.0, -20.0, 40.0]])
    np.testing.assert_allclose(read_point_list(tmp_path / "q.csv").points, there, atol=1e-3)


def test_a_registration_is_a_start_and_an_earlier_result_is_replaced_whole(deepreg, output, scans, files, tmp_path):
    folder = shutil.copytree(output, tmp_path / "o")
    words = (*scans, "--recipe", files.recipe, "--initial-transform", output / "registration.dcm", "-o", folder)
    assert deepreg("register", *words, "--overwrite").code == 0
    assert (folder / "transform.h5").is_file()
    assert not (folder / "registration.dcm").exists()  # it was of the earlier result


def test_labels_and_dose_are_left_as_dicom_on_the_fixed_scan(output: Path, scans, objects) -> None:
    fixed, series = read_image(scans[0]), read_series(scans[0])
    usual = read_image(output / "warped_labels.nii.gz").array
    for name in ("segmentation.dcm", "structures.dcm"):
        found = read_structures(output / name, fixed.geometry, series)
        labels = {structure.name: structure.label for structure in found.structures}
        np.testing.assert_array_equal(found.mask(labels["liver"]), usual == 7)
    transform = read_transform(output / "transform.h5")
    dose = read_image(objects["dose"])
    expected = apply_to_image(transform, dose, fixed.geometry, background=0).array
    np.testing.assert_allclose(read_image(output / "dose.dcm").array, expected, atol=2e-3 * expected.max())
    header = dcmread(output / "dose.dcm")
    registration = header.ReferencedSpatialRegistrationSequence[0].ReferencedSOPInstanceUID
    assert registration == dcmread(output / "registration.dcm").SOPInstanceUID


@pytest.mark.usefixtures("no_report")
def test_an_improved_result_is_left_as_dicom_too(deepreg, output, scans, objects, tmp_path: Path) -> None:
    place = small_pair()[0].geometry.centre[None]
    write_points(place + np.array([0.0, 3.0, 0.0]), tmp_path / "f.csv")
    write_points(read_transform(output / "transform.h5").apply_to_points(place), tmp_path / "m.csv")
    words = (output, *scans, "--fixed-landmarks", tmp_path / "f.csv", "--moving-landmarks", tmp_path / "m.csv")
    labels = ("--moving-labels", objects["structures"], "--dicom")
    outcome = deepreg("improve", *words, *labels, "-o", tmp_path / "better")
    assert outcome.code in (0, 1), outcome.err
    written, usual = (read_transform(tmp_path / "better" / name) for name in ("registration.dcm", "transform.h5"))
    points = small_pair()[0].geometry.points()[2:-2, 2:-2, 2:-2]
    assert np.abs(written.apply_to_points(points) - usual.apply_to_points(points)).max() < 2e-4
    carried = read_structures(
        tmp_path / "better" / "structures.dcm", read_image(scans[0]).geometry, read_series(scans[0])
    )
    assert "liver" in [structure.name for structure in carried.structures]


@pytest.mark.parametrize("kind", ["structures", "segmentation", "dose"])
def test_apply_carries_dicom_objects_over(kind: str, deepreg, output, scans, objects, tmp_path: Path) -> None:
    words = ("apply", output / "registration.dcm", objects[kind], "--reference", scans[0], "--scan", scans[1])
    outcome = deepreg(*words, "-o", tmp_path / "o.dcm")
    assert outcome.code == 0, outcome.err
    fixed, series = read_image(scans[0]), read_series(scans[0])
    if kind == "dose":
        there = read_image(output / "dose.dcm").array
        np.testing.assert_allclose(read_image(tmp_path / "o.dcm").array, there, atol=2e-3 * there.max())
        return
    found = read_structures(tmp_path / "o.dcm", fixed.geometry, series)
    usual = read_structures(output / f"{kind}.dcm", fixed.geometry, series)
    liver = [next(s.label for s in content.structures if s.name == "liver") for content in (found, usual)]
    assert np.mean(found.mask(liver[0]) != usual.mask(liver[1])) < 1e-3
    assert deepreg(*words, "-o", tmp_path / "o.nii.gz").code == 0
    assert (read_image(tmp_path / "o.nii.gz").array > 0).any()


def test_objects_of_other_scans_are_refused_in_one_sentence(deepreg, output, scans, objects, tmp_path: Path) -> None:
    for kind in ("structures", "segmentation", "dose"):
        words = ("apply", output / "transform.h5", objects[kind], "--reference", scans[0], "--scan", scans[0])
        outcome = deepreg(*words, "-o", tmp_path / "o.dcm")
        assert outcome.code == 2
        assert "another frame of reference" in outcome.err
        assert not (tmp_path / "o.dcm").exists()
    outcome = deepreg("apply", output / "transform.h5", objects["dose"], "-o", tmp_path / "o.dcm")
    assert (outcome.code, "--reference" in outcome.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frame": ""}, "The moving series names no frame of reference"),
        ({"patient": "P2"}, "of two patients"),
    ],
)
def test_what_cannot_be_exported_is_told_before_anything_is_computed(change, said, deepreg, scans, files, tmp_path):
    image: Image = small_pair()[1]
    other = write_scan(tmp_path / "other", image, "1.2.3.3", **change)
    outcome = deepreg("register", scans[0], other, "--recipe", files.recipe, "-o", tmp_path / "o", "--dicom")
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("error:") == 1
    assert "Doe" not in outcome.err.replace(str(other), "")
    assert not (tmp_path / "o").exists()


def test_other_options_that_do_not_fit_are_told(deepreg, scans, files, tmp_path: Path, output) -> None:
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "o", "--dicom")
    assert (outcome.code, "is no DICOM series" in outcome.err) == (2, True)
    outcome = deepreg("register", *scans, "-o", tmp_path / "o", "--dicom-root", "1.2.3")
    assert (outcome.code, "without --dicom" in outcome.err) == (2, True)
    outcome = deepreg("register", *scans, "-o", tmp_path / "o", "--dicom", "--dicom-root", "me")
    assert (outcome.code, "no root for DICOM UIDs" in outcome.err) == (2, True)
    other = write_scan(tmp_path / "other", small_pair()[1], "1.2.3.3")
    words = (output / "registration.dcm", other, "--reference", scans[0], "-o", tmp_path / "w.nii.gz")
    outcome = deepreg("apply", *words)
    assert (outcome.code, "registers other series" in outcome.err) == (2, True)
