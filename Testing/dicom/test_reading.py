"""DICOM: every frame where its header puts it, or a refusal in words; with pydicom's headers, and without."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from DeepRegLib.dicom import reading
from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, read_image
from Testing.damage import dataset_of_slice, multi_frame

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(-500, 1000, (6, 7, 8)).astype(np.int16)
EVEN = [[-9.0, -8.0, 3.0 * n] for n in range(6)]


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.hint
    return str(caught.value)


def saved(dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, positions=EVEN, scales=None, uid: str = "1.2.3.4", description: str = "thorax") -> Path:
    for number, position in enumerate(positions):
        dataset = dataset_of_slice(number, PIXELS[number % len(PIXELS)])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.9.{number}"
        dataset.SeriesInstanceUID, dataset.SeriesDescription = uid, description
        dataset.ImagePositionPatient = position
        dataset.RescaleSlope, dataset.RescaleIntercept = scales[number] if scales else ("1", "0")
        saved(dataset, folder / f"{number:02d}.dcm")
    return folder


def assert_in_place(image: Image, positions, planes, scales=None) -> None:
    """Each stored plane is found at its own place in the world."""
    for number, (position, plane) in enumerate(zip(positions, planes, strict=True)):
        slope, intercept = scales[number] if scales else (1, 0)
        i, j, k = image.geometry.to_index(np.add(position, (10.0, 4.0, 0.0))).round(6)
        assert (i, j) == (5, 4)
        assert k == int(k)
        np.testing.assert_allclose(image.array[int(k)], plane * float(slope) + float(intercept), rtol=1e-6)


# Multi-frame files


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]])
def test_frames_are_put_in_order_by_their_places(order: list[int], tmp_path: Path) -> None:
    positions = [EVEN[n] for n in order]
    image = read_image(saved(multi_frame(PIXELS[order], positions), tmp_path / "f.dcm"))
    assert image.geometry.spacing == (2.0, 1.0, 3.0)
    assert_in_place(image, EVEN, PIXELS)


def test_slopes_of_frames_are_their_own(tmp_path: Path) -> None:
    slopes = [1.0, 0.25, 0.25, 0.5, 2.0, 1.0]
    image = read_image(saved(multi_frame(PIXELS, EVEN, slopes), tmp_path / "f.dcm"))
    assert_in_place(image, EVEN, PIXELS, [(slope, 0) for slope in slopes])


@pytest.mark.parametrize(
    ("positions", "frames", "said"),
    [
        ([*EVEN[:2], *EVEN[4:]], [0, 1, 4, 5], "unevenly spaced"),
        ([[x, y + 0.8 * n, z] for n, (x, y, z) in enumerate(EVEN)], range(6), "tilted: each lies 0.80 mm"),
        ([*EVEN, *EVEN], [*range(6), *range(6)], "12 slices at 6 places: several volumes (2 of time point"),
    ],
    ids=["gap", "tilt", "two time points"],
)
def test_a_multi_frame_file_that_is_no_even_stack_is_refused(positions, frames, said: str, tmp_path: Path) -> None:
    assert said in refusal(saved(multi_frame(PIXELS[list(frames)], positions), tmp_path / "f.dcm"))


def test_frames_without_a_place_are_refused(tmp_path: Path) -> None:
    dataset = multi_frame(PIXELS, EVEN)
    del dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence
    assert "frame 4 does not say where it lies" in refusal(saved(dataset, tmp_path / "f.dcm"))


def test_a_dose_grid_has_its_offsets_and_its_scale(tmp_path: Path) -> None:
    dose = np.abs(PIXELS).astype(np.uint16)
    dataset = dataset_of_slice(0, dose)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    dataset.Modality, dataset.NumberOfFrames, dataset.PixelRepresentation = "RTDOSE", 6, 0
    dataset.GridFrameOffsetVector, dataset.DoseGridScaling = [0.0, 3.0, 6.0, 9.0, 12.0, 15.0], "0.001"
    image = read_image(saved(dataset, tmp_path / "dose.dcm"))
    assert_in_place(image, EVEN, dose, [(0.001, 0)] * 6)


# Series of files


def test_slopes_of_slices_are_their_own(tmp_path: Path) -> None:
    scales = [("1", "0"), ("0.25", "3.5"), ("0.5", "-1"), ("2", "0"), ("1", "10"), ("0.1", "0")]
    assert_in_place(read_image(series(tmp_path, scales=scales)), EVEN, PIXELS, scales)


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    image = read_image(series(tmp_path, scales=[("1", "-1024")] * 6))
    assert image.array.dtype == np.int16
    assert_in_place(image, EVEN, PIXELS, [(1, -1024)] * 6)


def test_a_tilted_stack_of_two_slices_is_noticed(tmp_path: Path) -> None:
    assert "tilted" in refusal(series(tmp_path, [[0.0, 0.0, 0.0], [0.0, 0.9, 3.0]]))


def test_two_time_points_in_one_series_are_refused(tmp_path: Path) -> None:
    assert "several volumes" in refusal(series(tmp_path, [*EVEN, *EVEN]))


def test_a_slice_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    series(tmp_path)
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "03.dcm").read_bytes())
    assert_in_place(read_image(tmp_path), EVEN, PIXELS)


def test_the_one_series_in_the_folders_below_is_found(tmp_path: Path) -> None:
    series(tmp_path / "ST0" / "SE0")
    (tmp_path / "README.txt").write_text("a disc")
    assert_in_place(read_image(tmp_path), EVEN, PIXELS)


def test_a_study_in_folders_offers_its_series_by_description(tmp_path: Path) -> None:
    series(tmp_path / "ST0" / "SE0", uid="1.2.3.4", description="lung 1.25 mm")
    series(tmp_path / "ST0" / "SE1", EVEN[:3], uid="1.2.3.5", description="localiser")
    said = refusal(tmp_path)
    assert "2 DICOM series" in said
    assert "lung 1.25 mm (6 slices, " in said
    assert "localiser (3 slices, " in said


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_pixels_are_unpacked(syntax: str, tmp_path: Path) -> None:
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed, so there is no compressed file to read")
    for number, position in enumerate(EVEN):
        dataset = dataset_of_slice(number, PIXELS[number])
        dataset.ImagePositionPatient, dataset.RescaleSlope, dataset.RescaleIntercept = position, "2", "0"
        dataset.compress(syntax, generate_instance_uid=False)
        saved(dataset, tmp_path / f"{number}.dcm")
    assert_in_place(read_image(tmp_path), EVEN, PIXELS, [(2, 0)] * 6)


def test_colour_and_cut_off_pixels_are_refused(tmp_path: Path) -> None:
    colour = dataset_of_slice(0, PIXELS[0])
    colour.SamplesPerPixel = 3
    assert "colour" in refusal(saved(colour, tmp_path / "a" / "colour.dcm"))
    short = dataset_of_slice(0, PIXELS[0])
    short.PixelData = short.PixelData[:-10]
    assert "pixels are missing" in refusal(saved(short, tmp_path / "b" / "short.dcm"))


# Without pydicom


@pytest.fixture
def no_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(reading, "find_spec", lambda name: None if name == "pydicom" else real(name))


def test_without_pydicom_an_even_series_is_read_by_gdcm(no_pydicom: None, tmp_path: Path) -> None:
    assert_in_place(read_image(series(tmp_path)), EVEN, PIXELS)


def test_without_pydicom_what_cannot_be_checked_is_refused(no_pydicom: None, tmp_path: Path) -> None:
    scales = [("1", "0"), ("0.25", "0"), ("1", "0"), ("1", "0"), ("1", "0"), ("1", "0")]
    assert "scaled differently" in refusal(series(tmp_path / "scales", scales=scales))
    assert "tilted" in refusal(series(tmp_path / "tilt", [[0.0, 0.0, 0.0], [0.0, 0.9, 3.0]]))
    assert "multi-frame" in refusal(saved(multi_frame(PIXELS, EVEN), tmp_path / "frames" / "f.dcm"))
    (tmp_path / "empty").mkdir()
    assert "without DICOM" in refusal(tmp_path / "empty")


# What adds up, and what the headers of a few makers have


@pytest.mark.parametrize(
    ("count", "step", "said"),
    [(3, (0.0, 0.12, 3.0), ""), (6, (0.0, 0.14, 3.0), "tilted"), (6, (0.14, 0.0, 3.0), "tilted")],
)
def test_a_tilt_too_small_to_see_between_slices_adds_up(count: int, step, said: str, tmp_path: Path) -> None:
    folder = series(tmp_path / "s", [list(np.multiply(step, n)) for n in range(count)])
    if said:
        assert said in refusal(folder)
    else:
        assert read_image(folder).geometry.size[2] == count


def test_gaps_that_grow_a_little_each_add_up(tmp_path: Path) -> None:
    heights = np.cumsum([0.0, *np.linspace(2.86, 3.14, 59)])
    assert "unevenly spaced" in refusal(series(tmp_path / "s", [[0.0, 0.0, z] for z in heights]))


@pytest.mark.parametrize("high", [11, 13, 15])
def test_stored_bits_are_read_where_the_header_says_they_are(high: int, tmp_path: Path) -> None:
    """Twelve bits of sixteen, with other bits set above and below them."""
    values = np.arange(-28, 28).reshape(7, 8) * 70
    for number in range(3):
        dataset = dataset_of_slice(number, PIXELS[0])
        dataset.Rows, dataset.Columns, dataset.BitsStored, dataset.HighBit = 7, 8, 12, high
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, "0"
        mask = 0xFFF << (high - 11)
        words = ((values << (high - 11)) & mask) | (0xA5A5 & ~mask & 0xFFFF)
        dataset.PixelData = words.astype("<u2").tobytes()
        saved(dataset, tmp_path / f"{number}.dcm")
    np.testing.assert_array_equal(read_image(tmp_path).array[0], values)


def test_direction_cosines_on_the_edge_of_rounding_are_one_series(tmp_path: Path) -> None:
    folder = series(tmp_path / "s")
    for number, file in enumerate(sorted(folder.iterdir())):
        dataset = reading.dataset_of(file)
        small = 0.005 + 1e-6 * (-1) ** number
        dataset.ImageOrientationPatient = [1, 0, 0, 0, float(np.sqrt(1 - small**2)), small]
        normal = np.array([0.0, -small, np.sqrt(1 - small**2)])
        dataset.ImagePositionPatient = [round(float(c), 6) for c in normal * 3 * number]
        saved(dataset, file)
    assert read_image(folder).geometry.size[2] == 6


def test_frames_scaled_by_their_real_world_values_alone_are_scaled(tmp_path: Path) -> None:
    dataset = multi_frame(PIXELS, EVEN)
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        del frame.PixelValueTransformationSequence
        mapping = Dataset()
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = float(number + 1), 2.0
        frame.RealWorldValueMappingSequence = [mapping]
    image = read_image(saved(dataset, tmp_path / "m.dcm"))
    np.testing.assert_allclose(image.array, PIXELS * np.arange(1, 7)[:, None, None] + 2.0)


def test_damaged_compressed_pixels_are_told_by_their_folder_and_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = dataset_of_slice(0, PIXELS[0])
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    item = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00abcd\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    dataset.PixelData = item
    dataset["PixelData"].is_undefined_length = True
    assert tmp_path.name in refusal(saved(dataset, tmp_path / "j.dcm"))
    assert not caplog.records


@pytest.mark.parametrize("scale", [("1e38", "0.5"), ("1e38", "0"), ("-1.5e37", "0")])
def test_a_slope_that_makes_values_infinite_is_refused(scale: tuple[str, str], tmp_path: Path) -> None:
    assert "beyond" in refusal(series(tmp_path, scales=[scale] * 6))
