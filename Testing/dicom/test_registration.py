"""DICOM registrations: the right way round, both ways, against other tools; and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("pydicom")
from pydicom import dcmread
from pydicom.dataset import Dataset

from DeepRegLib.dicom.objects import new_uid
from DeepRegLib.dicom.registration_writing import decimals
from DeepRegLib.dicom.series import Series, read_series
from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    apply_to_image,
    compose,
    read_transform,
    write_transform,
)
from DeepRegLib.transforms.dicom_writing import write_dicom_registration
from Testing.dicom.scans import write_scan
from Testing.synthetic import blobs, geometry_in, points_in, random_linear, smooth_field

FIXED_GRID, MOVING_GRID = geometry_in("LPS", (18, 20, 14), 3.0), geometry_in("RAS", (20, 18, 16), 2.9)
LINEAR = random_linear(1, angle=10, shift=6)
PLASTIMATCH = shutil.which("plastimatch")
needs_plastimatch = pytest.mark.skipif(PLASTIMATCH is None, reason="plastimatch is not installed")


class Scans(NamedTuple):
    folder: Path
    fixed: Path
    moving: Path
    fixed_series: Series
    moving_series: Series


def image_on(grid) -> Image:
    return blobs(grid).with_array(blobs(grid).array.astype(np.int16))


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Scans:
    folder = tmp_path_factory.mktemp("scans")
    fixed = write_scan(folder / "ct", image_on(FIXED_GRID), "1.2.826.0.1.3680043.2.1125.1")
    moving = write_scan(folder / "cbct", image_on(MOVING_GRID), "1.2.826.0.1.3680043.2.1125.2")
    return Scans(folder, fixed, moving, read_series(fixed), read_series(moving))


def deformable(grid=FIXED_GRID) -> Transform:
    before, after = random_linear(2, angle=5, shift=3), random_linear(3, angle=4, shift=2, scale=0.1, shear=0.1)
    return compose(before, smooth_field(grid, 4.0), after)


def written(transform: Transform, scans: Scans, path: Path, root: str | None = None) -> Path:
    write_dicom_registration(transform, path, scans.fixed_series, scans.moving_series, root=root)
    return path


def furthest(first: Transform, second: Transform) -> float:
    points = points_in(FIXED_GRID, 300, margin=1.5)
    return float(np.linalg.norm(first.apply_to_points(points) - second.apply_to_points(points), axis=-1).max())


def table(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)


def refusal(action) -> str:
    with pytest.raises(InputError) as caught:
        action()
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Direction


def test_a_point_moved_by_hand_lands_where_the_linear_file_says(scans: Scans, tmp_path: Path) -> None:
    # The anatomy at (10, 20, 30) of the fixed scan is at (15, 18, 30) of the moving one.
    matrix = np.eye(4)
    matrix[:3, 3] = (5, -2, 0)
    dataset = dcmread(written(LinearTransform(matrix), scans, tmp_path / "r.dcm"))
    still, moved = dataset.RegistrationSequence
    stored = [
        np.array(item.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix, dtype=float)
        for item in (still, moved)
    ]
    assert dataset.FrameOfReferenceUID == still.FrameOfReferenceUID == scans.fixed_series.frame
    assert moved.FrameOfReferenceUID == scans.moving_series.frame
    # The standard's matrix takes a point of the moving images to the registered frame.
    np.testing.assert_allclose(stored[0].reshape(4, 4), np.eye(4))
    np.testing.assert_allclose(stored[1].reshape(4, 4) @ [15, 18, 30, 1], [10, 20, 30, 1])
    assert read_transform(tmp_path / "r.dcm").apply_to_points([10.0, 20.0, 30.0]).tolist() == [15, 18, 30]


def test_a_point_moved_by_hand_lands_where_the_deformable_file_says(scans: Scans, tmp_path: Path) -> None:
    array = np.zeros((*FIXED_GRID.shape, 3))
    array[...] = (5, -2, 0)
    path = written(DisplacementField(array, FIXED_GRID), scans, tmp_path / "r.dcm")
    moved = dcmread(path).DeformableRegistrationSequence[1]
    assert moved.SourceFrameOfReferenceUID == scans.moving_series.frame
    grid = moved.DeformableRegistrationGridSequence[0]
    # The standard's vectors take a point of the registered frame to the moving images.
    assert np.frombuffer(grid.VectorGridData, "<f4")[:3].tolist() == [5, -2, 0]
    start = FIXED_GRID.to_world([9, 9, 7])
    np.testing.assert_allclose(read_transform(path).apply_to_points(start), start + np.array([5, -2, 0]))


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAS", "oblique", "anisotropic"])
def test_what_is_written_is_read_back_on_grids_of_any_orientation(orientation: str, scans, tmp_path: Path) -> None:
    for transform in (LINEAR, deformable(geometry_in(orientation, (18, 20, 14), 3.0))):
        path = written(transform, scans, tmp_path / f"{type(transform).__name__}.dcm")
        for series in ((scans.fixed_series, scans.moving_series), (None, None)):
            back = read_transform(path, fixed_series=series[0], moving_series=series[1])
            assert furthest(back, transform) < 1e-4


def test_with_the_scans_exchanged_the_file_is_read_the_other_way_round(scans: Scans, tmp_path: Path) -> None:
    # The inverse of a field is a field on a grid of 3 mm.
    for transform, close in ((LINEAR, 1e-6), (deformable(), 0.5)):
        path = written(transform, scans, tmp_path / f"{type(transform).__name__}.dcm")
        back = read_transform(path, fixed_series=scans.moving_series, moving_series=scans.fixed_series)
        points = points_in(FIXED_GRID, 200, margin=4)
        there = back.apply_to_points(transform.apply_to_points(points))
        assert np.linalg.norm(there - points, axis=-1).max() < close
        assert furthest(back, transform) > 8


def test_two_fields_are_written_as_one(scans: Scans, tmp_path: Path) -> None:
    two = compose(smooth_field(FIXED_GRID, 3.0, 1), random_linear(4, 3, 2), smooth_field(MOVING_GRID, 2.0, 2))
    back = read_transform(written(two, scans, tmp_path / "r.dcm"))
    nodes = FIXED_GRID.points()[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(back.apply_to_points(nodes), two.apply_to_points(nodes), atol=1e-4)


# Other tools


@needs_plastimatch
def test_plastimatch_writes_the_same_registrations(scans: Scans, tmp_path: Path) -> None:
    write_transform(LINEAR, tmp_path / "linear.tfm")
    write_transform(deformable(), tmp_path / "field.mha", FIXED_GRID)
    for name, close in (("linear.tfm", 1e-4), ("field.mha", 1e-4)):
        words = ("--fixed-rcs", scans.fixed, "--moving-rcs", scans.moving, "--output-dicom", f"{name}.folder")
        table(PLASTIMATCH, "xf-convert", "--input", name, *words, cwd=tmp_path)
        (theirs,) = (tmp_path / f"{name}.folder").iterdir()
        back = read_transform(theirs, fixed_series=scans.fixed_series, moving_series=scans.moving_series)
        assert furthest(back, read_transform(tmp_path / name)) < close
        around = read_transform(theirs, fixed_series=scans.moving_series, moving_series=scans.fixed_series)
        points = points_in(FIXED_GRID, 100, margin=5)
        moved = read_transform(tmp_path / name).apply_to_points(points)
        assert np.median(np.linalg.norm(around.apply_to_points(moved) - points, axis=-1)) < 0.1


@needs_plastimatch
@pytest.mark.parametrize("kind", ["linear", "deformable"])
def test_plastimatch_warps_a_volume_as_the_file_says(kind: str, scans: Scans, tmp_path: Path) -> None:
    transform = LINEAR if kind == "linear" else deformable()
    file = "theirs.tfm" if kind == "linear" else "theirs.mha"
    write_transform(transform, tmp_path / file, FIXED_GRID)
    moving = Image(blobs(MOVING_GRID).array, MOVING_GRID)
    write_image(moving, tmp_path / "moving.mha")
    write_image(image_on(FIXED_GRID), tmp_path / "fixed.mha")
    words = ("--input", "moving.mha", "--fixed", "fixed.mha", "--output-img", "w.mha", "--output-type", "float")
    table(PLASTIMATCH, "warp", *words, "--xf", file, cwd=tmp_path)
    theirs = read_image(tmp_path / "w.mha").array
    path = written(transform, scans, tmp_path / "r.dcm")
    inner = (slice(3, -3),) * 3

    def difference(one: Series, other: Series) -> float:
        ours = apply_to_image(read_transform(path, fixed_series=one, moving_series=other), moving, FIXED_GRID)
        return float(np.abs(ours.array - theirs)[inner].max() / np.ptp(moving.array))

    assert difference(scans.fixed_series, scans.moving_series) < 1e-3
    assert difference(scans.moving_series, scans.fixed_series) > 0.2  # the test would see the wrong way


@needs_plastimatch
def test_plastimatch_moves_points_as_the_file_says(scans: Scans, tmp_path: Path) -> None:
    """It takes the vector of the nearest node, so points lie on nodes; its lists of points are RAS."""
    transform, ras = deformable(), np.array([-1, -1, 1])
    write_transform(transform, tmp_path / "field.mha", FIXED_GRID)
    points = FIXED_GRID.points()[3:12:3, 3:16:3, 3:16:3].reshape(-1, 3)
    lines = [f"{n},{x},{y},{z},0,0,0,1,1,1,0,{n},," for n, (x, y, z) in enumerate((points * ras).tolist())]
    header = "# Markups fiducial file version = 4.4\n# CoordinateSystem = 0\n"
    (tmp_path / "points.fcsv").write_text(header + "\n".join(lines) + "\n")
    words = ("--input", "points.fcsv", "--xf", "field.mha", "--output-pointset", "moved.fcsv")
    table(PLASTIMATCH, "warp", *words, cwd=tmp_path)
    rows = [line.split(",") for line in (tmp_path / "moved.fcsv").read_text().splitlines() if not line.startswith("#")]
    theirs = np.array([row[1:4] for row in rows], dtype=float) * ras
    path = written(transform, scans, tmp_path / "r.dcm")
    ours, around = (
        read_transform(path, fixed_series=one, moving_series=other).apply_to_points(points)
        for one, other in (
            (scans.fixed_series, scans.moving_series),
            (scans.moving_series, scans.fixed_series),
        )
    )
    assert np.linalg.norm(ours - theirs, axis=1).max() < 0.1
    assert np.linalg.norm(around - theirs, axis=1).mean() > 5  # the test would see the wrong way


def by_the_standard(path: Path, points: np.ndarray) -> np.ndarray:
    """Move points of the registered frame to the moving images by the equations of PS3.3 C.20.2 and C.20.3 alone."""
    dataset = dcmread(path)
    homogeneous = np.c_[points, np.ones(len(points))]
    if "RegistrationSequence" in dataset:
        stored = dataset.RegistrationSequence[1].MatrixRegistrationSequence[0].MatrixSequence[0]
        matrix = np.array(stored.FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4)
        return np.linalg.solve(matrix, homogeneous.T).T[:, :3]  # it takes the moving images to the frame
    item = dataset.DeformableRegistrationSequence[1]
    before, after = (
        np.array(part[0].FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4)
        for part in (item.PreDeformationMatrixRegistrationSequence, item.PostDeformationMatrixRegistrationSequence)
    )
    grid = item.DeformableRegistrationGridSequence[0]
    rows, columns = np.array(grid.ImageOrientationPatient, dtype=float).reshape(2, 3)
    axes = np.stack([rows, columns, np.cross(rows, columns)], axis=1) * np.array(grid.GridResolution, dtype=float)
    i, j, k = (int(n) for n in grid.GridDimensions)
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(k, j, i, 3).astype(float)
    inside = (homogeneous @ before.T)[:, :3]
    index = np.linalg.solve(axes, (inside - np.array(grid.ImagePositionPatient, dtype=float)).T).T
    low = np.floor(index).astype(int)
    share = index - low
    moved = np.zeros_like(inside)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1, keepdims=True)
        at = low + np.array(corner)
        moved += weight * vectors[at[:, 2], at[:, 1], at[:, 0]]
    return (np.c_[inside + moved, np.ones(len(points))] @ after.T)[:, :3]


def test_the_equations_of_the_standard_written_again_say_the_same(scans: Scans, tmp_path: Path) -> None:
    points = points_in(FIXED_GRID, 200, margin=5)
    for transform in (LINEAR, deformable()):
        path = written(transform, scans, tmp_path / f"{type(transform).__name__}.dcm")
        np.testing.assert_allclose(by_the_standard(path, points), transform.apply_to_points(points), atol=1e-3)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
def test_dciodvfy_finds_no_errors(scans: Scans, tmp_path: Path) -> None:
    for transform in (LINEAR, deformable()):
        path = written(transform, scans, tmp_path / f"{type(transform).__name__}.dcm")
        said = table("dciodvfy", path, cwd=tmp_path).stderr
        assert "SpatialRegistration" in said
        assert "Error" not in said


# What goes along


def test_patient_study_and_frame_go_along_and_private_elements_do_not(scans: Scans, tmp_path: Path) -> None:
    dataset = dcmread(written(LINEAR, scans, tmp_path / "r.dcm", root="1.2.826.0.1.3680043.10.5"))
    source = scans.fixed_series.first
    for key in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
        assert dataset[key].value == source[key].value
    assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert any(element.tag.is_private for element in source)
    assert not any(element.tag.is_private for element in dataset.iterall())
    for uid in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID):
        assert uid.startswith("1.2.826.0.1.3680043.10.5.")
        assert uid.is_valid
    referred = {item.SeriesInstanceUID for item in dataset.ReferencedSeriesSequence}
    assert referred == {scans.fixed_series.uid, scans.moving_series.uid}


def test_a_series_of_another_study_is_referred_to_as_such(scans: Scans, tmp_path: Path) -> None:
    other = write_scan(tmp_path / "other", image_on(MOVING_GRID), "1.2.3.4", study="1.2.3.99")
    write_dicom_registration(LINEAR, tmp_path / "r.dcm", scans.fixed_series, read_series(other))
    dataset = dcmread(tmp_path / "r.dcm")
    assert [item.SeriesInstanceUID for item in dataset.ReferencedSeriesSequence] == [scans.fixed_series.uid]
    assert dataset.StudiesContainingOtherReferencedInstancesSequence[0].StudyInstanceUID == "1.2.3.99"


@pytest.mark.parametrize("root", ["1.2.", "abc", "1.02.3", "", "1." + "9" * 50])
def test_a_root_that_is_none_is_refused(root: str) -> None:
    assert "no root for DICOM UIDs" in refusal(lambda: new_uid(root))


@pytest.mark.parametrize("value", [0.1 / 3, -123.45678901234567, 1e-17, -1e-9 / 3, 1.0, 12345678.123456789])
def test_decimal_strings_hold_numbers_as_well_as_sixteen_characters_can(value: float) -> None:
    (text,) = decimals([value])
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-7)


# Files of other systems


def linear_file(path: Path, registered: str, items: list[tuple[str, list[np.ndarray]]]) -> Path:
    """Write what a file of another system may hold: frames with any number of matrices, without images."""
    dataset = dcmread(path)
    entries = []
    for frame, matrices in items:
        item, registration = Dataset(), Dataset()
        item.FrameOfReferenceUID = frame
        registration.MatrixSequence = []
        for matrix in matrices:
            entry = Dataset()
            entry.FrameOfReferenceTransformationMatrixType = "RIGID"
            entry.FrameOfReferenceTransformationMatrix = decimals(matrix.ravel())
            registration.MatrixSequence.append(entry)
        item.MatrixRegistrationSequence = [registration]
        entries.append(item)
    dataset.FrameOfReferenceUID, dataset.RegistrationSequence = registered, entries
    dataset.save_as(path)
    return path


def test_scans_registered_to_a_third_frame_are_joined_through_it(scans: Scans, tmp_path: Path, caplog) -> None:
    to_third = [random_linear(seed, 12, 8) for seed in (5, 6)]
    items = [
        (series.frame, [move.matrix])
        for series, move in zip((scans.fixed_series, scans.moving_series), to_third, strict=True)
    ]
    path = linear_file(written(LINEAR, scans, tmp_path / "r.dcm"), "1.9.9", items)
    truth = compose(to_third[0], to_third[1].inverse())
    both = read_transform(path, fixed_series=scans.fixed_series, moving_series=scans.moving_series)
    assert furthest(both, truth) < 1e-6
    assert not caplog.records
    assert furthest(read_transform(path), truth) < 1e-6
    assert "third frame of reference" in caplog.text
    around = read_transform(path, fixed_series=scans.moving_series, moving_series=scans.fixed_series)
    assert furthest(around, truth.inverse()) < 1e-6


def test_the_first_of_several_matrices_acts_first(scans: Scans, tmp_path: Path, caplog) -> None:
    one, two = random_linear(5, 30, 8), random_linear(6, 40, 9)
    items = [(scans.moving_series.frame, [one.matrix, two.matrix])]
    path = linear_file(written(LINEAR, scans, tmp_path / "r.dcm"), scans.fixed_series.frame, items)
    assert furthest(read_transform(path), two.after(one).inverse()) < 1e-6
    assert "2 matrices: the first is applied first" in caplog.text


def test_of_several_scans_the_one_that_is_given_is_found(scans: Scans, tmp_path: Path, caplog) -> None:
    moves = [random_linear(seed, 12, 8) for seed in (7, 8)]
    items = [
        (scans.fixed_series.frame, [np.eye(4)]),
        ("1.5.5", [moves[0].matrix]),
        (scans.moving_series.frame, [moves[1].matrix]),
    ]
    path = linear_file(written(LINEAR, scans, tmp_path / "r.dcm"), scans.fixed_series.frame, items)
    given = read_transform(path, fixed_series=scans.fixed_series, moving_series=scans.moving_series)
    assert furthest(given, moves[1].inverse()) < 1e-6
    assert not caplog.records
    assert furthest(read_transform(path), moves[0].inverse()) < 1e-6
    assert "the first one" in caplog.text


def test_scans_of_one_frame_of_reference_are_told_apart_by_their_images(scans: Scans, tmp_path: Path) -> None:
    frame = scans.fixed_series.frame
    moving = read_series(write_scan(tmp_path / "m", image_on(MOVING_GRID), "1.2.3.4", frame=frame))
    for transform in (LINEAR, deformable()):
        path = tmp_path / "r.dcm"
        write_dicom_registration(transform, path, scans.fixed_series, moving)
        back = read_transform(path, fixed_series=scans.fixed_series, moving_series=moving)
        assert furthest(back, transform) < 1e-4


def test_vectors_that_are_left_undefined_move_nothing_and_are_told(scans: Scans, tmp_path: Path, caplog) -> None:
    path = written(deformable(), scans, tmp_path / "r.dcm")
    dataset = dcmread(path)
    grid = dataset.DeformableRegistrationSequence[1].DeformableRegistrationGridSequence[0]
    values = np.frombuffer(grid.VectorGridData, "<f4").copy()
    values[:6] = np.nan
    grid.VectorGridData = values.tobytes()
    dataset.save_as(path)
    assert np.isfinite(read_transform(path).apply_to_points(FIXED_GRID.points())).all()
    assert "leaves 2 of its" in caplog.text


# Bad input


def test_a_registration_of_other_series_is_refused(scans: Scans, tmp_path: Path) -> None:
    other = read_series(write_scan(tmp_path / "o", image_on(MOVING_GRID), "1.2.3.4"))
    path = written(LINEAR, scans, tmp_path / "r.dcm")
    said = refusal(lambda: read_transform(path, fixed_series=scans.fixed_series, moving_series=other))
    assert "registers other series: none of them is the moving scan" in said


def test_series_without_a_frame_of_reference_are_refused(scans: Scans, tmp_path: Path) -> None:
    other = read_series(write_scan(tmp_path / "o", image_on(MOVING_GRID), "1.2.3.4", frame=""))
    said = refusal(lambda: write_dicom_registration(LINEAR, tmp_path / "r.dcm", scans.fixed_series, other))
    assert "The moving series names no frame of reference" in said
    assert not (tmp_path / "r.dcm").exists()


def test_series_of_two_patients_are_refused_without_naming_them(scans: Scans, tmp_path: Path) -> None:
    other = read_series(write_scan(tmp_path / "o", image_on(MOVING_GRID), "1.2.3.4", patient="P2"))
    said = refusal(lambda: write_dicom_registration(LINEAR, tmp_path / "r.dcm", scans.fixed_series, other))
    assert "of two patients" in said
    assert not re.search("P1|P2|Doe", said)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: delattr(d, "FrameOfReferenceUID"), "names no frame of reference"),
        (lambda d: setattr(d, "RegistrationSequence", []), "holds no registration"),
        (lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "another kind"),
        (lambda d: setattr(_matrix(d), "FrameOfReferenceTransformationMatrix", ["1"] * 15), "15 numbers where 16"),
        (lambda d: setattr(_matrix(d), "FrameOfReferenceTransformationMatrix", ["0"] * 16), "singular"),
    ],
    ids=["frame", "empty", "kind", "short matrix", "singular"],
)
def test_damaged_files_are_refused(damage, said: str, scans: Scans, tmp_path: Path) -> None:
    path = written(LINEAR, scans, tmp_path / "r.dcm")
    dataset = dcmread(path)
    damage(dataset)
    dataset.save_as(path)
    assert said in refusal(lambda: read_transform(path))


def _matrix(dataset) -> Dataset:
    return dataset.RegistrationSequence[1].MatrixRegistrationSequence[0].MatrixSequence[0]


def test_a_grid_of_too_few_vectors_is_refused(scans: Scans, tmp_path: Path) -> None:
    path = written(deformable(), scans, tmp_path / "r.dcm")
    dataset = dcmread(path)
    grid = dataset.DeformableRegistrationSequence[1].DeformableRegistrationGridSequence[0]
    grid.VectorGridData = grid.VectorGridData[:240]
    dataset.save_as(path)
    assert "its deformation grid has 20 vectors" in refusal(lambda: read_transform(path))
