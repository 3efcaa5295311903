"""Frames of a series: found in 4-D files, lists and DICOM, in the order of time, and refused in one sentence."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.formats.nifti_series import write_nifti_series
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.series.frames import Frame, Frames, read_frames
from Testing.dicom.scans import write_scan

GRID = Geometry((4, 5, 3), (2.0, 1.0, 3.0), (10.0, -5.0, 7.0), (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
VOLUMES = [np.arange(60, dtype=np.int16).reshape(GRID.shape) + 100 * n for n in range(3)]


def test_a_4d_nifti_file_is_read_as_itk_reads_it_and_knows_its_seconds(tmp_path: Path) -> None:
    write_nifti_series(tmp_path / "series.nii.gz", VOLUMES, 3, GRID, 0.75)
    frames = read_frames(tmp_path / "series.nii.gz")
    assert frames.unit == "s"
    np.testing.assert_allclose(frames.times, [0, 0.75, 1.5])
    picture = sitk.ReadImage(str(tmp_path / "series.nii.gz"))
    np.testing.assert_allclose(picture.GetOrigin()[:3], GRID.origin, atol=1e-5)
    for number, frame in enumerate(frames):
        image = frame.read()
        np.testing.assert_array_equal(image.array, sitk.GetArrayFromImage(picture)[number])
        assert image.geometry.is_close(GRID)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_frame_of_a_4d_file_is_read_when_it_is_needed_and_no_other(tmp_path: Path, suffix: str) -> None:
    path, grid, count = tmp_path / f"long{suffix}", Geometry((64, 64, 64)), 160
    write_nifti_series(path, (np.full(grid.shape, n, np.int16) for n in range(count)), count, grid)
    if suffix == ".nii":
        path.write_bytes(gzip.decompress(path.read_bytes()))
    tracemalloc.start()
    try:
        frames = read_frames(path)
        for number in (0, count - 1, 17):
            assert int(frames[number].read().array.max()) == number
        assert tracemalloc.get_traced_memory()[1] < 0.5 * count * 2 * 64**3
    finally:
        tracemalloc.stop()


def test_slicers_sequence_file_is_read_with_its_index_values(tmp_path: Path) -> None:
    path = tmp_path / "heart.seq.nrrd"
    header = (
        "NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 3 4 5 3\n"
        "space directions: none (2,0,0) (0,1,0) (0,0,3)\nkinds: list domain domain domain\nendian: little\n"
        "encoding: raw\nspace origin: (1,2,3)\naxis 0 index type:=numeric\naxis 0 index values:=0 40 95\n\n"
    )
    path.write_bytes(header.encode() + np.stack(VOLUMES, axis=-1).astype("<i2").tobytes())
    frames = read_frames(path)
    np.testing.assert_allclose(frames.times, [0, 40, 95])
    np.testing.assert_array_equal(frames[2].read().array, VOLUMES[2])
    assert frames[2].read().geometry.origin == (1.0, 2.0, 3.0)


def test_files_of_a_list_may_have_grids_of_their_own_and_are_read_when_needed(tmp_path: Path) -> None:
    other = Geometry((3, 3, 3), (1.0, 1.0, 1.0))
    images = [Image(VOLUMES[0], GRID), Image(np.ones((3, 3, 3), np.int16), other)]
    paths = [tmp_path / f"{n}.nii.gz" for n in range(2)]
    for image, path in zip(images, paths, strict=True):
        write_image(image, path)
    frames = read_frames(paths)
    paths[1].unlink()
    assert frames[0].read().geometry.size == GRID.size
    with pytest.raises(InputError, match="does not exist"):
        frames[1].read()


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_frames_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"has {count} frame"):
        read_frames([Image(VOLUMES[0], GRID)] * count)


def test_a_volume_is_no_series_and_a_missing_frame_is_named(tmp_path: Path) -> None:
    write_image(Image(VOLUMES[0], GRID), tmp_path / "one.nii.gz")
    with pytest.raises(InputError, match="one volume"):
        read_frames(tmp_path / "one.nii.gz")
    with pytest.raises(InputError, match=r"two\.nii\.gz does not exist"):
        read_frames([tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"])


def test_two_frames_of_one_time_are_refused() -> None:
    image = Image(VOLUMES[0], GRID)
    with pytest.raises(InputError, match="do not follow"):
        Frames((Frame("a", 1.0, lambda: image), Frame("b", 1.0, lambda: image)))


def write_time_points(folder: Path, times: list[str], keyword: str, *, missing: tuple[int, int] | None = None) -> None:
    """Write one series whose time points are mixed, unsorted and named at random."""
    from pydicom import dcmread

    folder.mkdir()
    for number, time in enumerate(times):
        part = write_scan(folder / f"part{number}", Image(VOLUMES[number], GRID), "1.2.3")
        for k, file in enumerate(sorted(part.iterdir())):
            dataset = dcmread(file)
            dataset.SOPInstanceUID = f"1.2.3.{number}.{k}"
            setattr(dataset, keyword, float(time) if keyword.startswith("Nominal") else time)
            if (number, k) != missing:
                dataset.save_as(folder / f"{(7 * k + 5 * number) % 23:02d}.dcm")
            file.unlink()
        part.rmdir()


@pytest.mark.parametrize(
    ("keyword", "times", "seconds"),
    [
        ("TemporalPositionIdentifier", ["3", "1", "2"], [1, 2, 3]),
        ("TriggerTime", ["80.5", "0", "40"], [0, 0.04, 0.0805]),
        ("NominalPercentageOfCardiacPhase", ["66", "0", "33"], [0, 33, 66]),
    ],
)
def test_dicom_time_points_are_told_apart_and_sorted(
    keyword: str, times: list[str], seconds: list[float], tmp_path: Path
) -> None:
    write_time_points(tmp_path / "cine", times, keyword)
    frames = read_frames(tmp_path / "cine")
    np.testing.assert_allclose(frames.times, seconds)
    for frame, number in zip(frames, (1, 2, 0), strict=True):
        np.testing.assert_array_equal(frame.read().array, VOLUMES[number])


def test_a_time_point_with_a_gap_is_left_out_and_told(tmp_path: Path) -> None:
    write_time_points(tmp_path / "cine", ["1", "2", "3"], "TemporalPositionIdentifier", missing=(1, 1))
    frames = read_frames(tmp_path / "cine")
    assert len(frames) == 2
    assert "1 of 3 time points lack slices" in frames.remarks[0]


def test_phases_that_are_a_series_each_follow_their_percent(tmp_path: Path) -> None:
    from pydicom import dcmread

    for number, phase in enumerate(("50%", "0%", "Thorax 90.0% resp")):
        part = write_scan(tmp_path / "study" / str(number), Image(VOLUMES[number], GRID), f"1.2.{number + 5}")
        for file in part.iterdir():
            dataset = dcmread(file)
            dataset.SeriesDescription = phase
            dataset.save_as(file)
    frames = read_frames(tmp_path / "study")
    assert frames.unit == "%"
    np.testing.assert_allclose(frames.times, [0, 50, 90])
    np.testing.assert_array_equal(frames[0].read().array, VOLUMES[1])


def test_dicom_of_one_time_point_is_no_series(tmp_path: Path) -> None:
    write_scan(tmp_path / "ct", Image(VOLUMES[0], GRID), "1.2.3")
    with pytest.raises(InputError, match="one time point"):
        read_frames(tmp_path / "ct")


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32, np.bool_])
def test_a_written_series_is_read_back_frame_by_frame(kind: type, tmp_path: Path) -> None:
    arrays = [volume.astype(kind) for volume in VOLUMES[:2]]
    write_nifti_series(tmp_path / "s.nii.gz", arrays, 2, GRID)
    for frame, array in zip(read_frames(tmp_path / "s.nii.gz"), arrays, strict=True):
        np.testing.assert_array_equal(frame.read().array, array)
    with pytest.raises(InputError, match="2 volumes in one file"):
        read_image(tmp_path / "s.nii.gz")


def test_frames_that_do_not_fit_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="differ"):
        write_nifti_series(tmp_path / "s.nii.gz", [VOLUMES[0], VOLUMES[1][1:]], 2, GRID)
    with pytest.raises(InputError, match="not 3"):
        write_nifti_series(tmp_path / "s.nii.gz", VOLUMES[:2], 3, GRID)
    assert not list(tmp_path.iterdir())


def test_a_frame_that_is_a_dicom_folder_is_not_called_as_the_folder_which_often_bears_the_patients_name(
    tmp_path: Path,
) -> None:
    for name in ("Doe_Jane_1", "Doe_Jane_2"):
        (tmp_path / name).mkdir()
    (tmp_path / "c.nii.gz").write_bytes(b"")
    frames = read_frames([tmp_path / "Doe_Jane_1", tmp_path / "Doe_Jane_2", tmp_path / "c.nii.gz"])
    assert [frame.name for frame in frames] == ["DICOM series 1", "DICOM series 2", "c.nii.gz"]
