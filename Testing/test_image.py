"""Volumes: what is read, what is refused and how, what is written, and where the voxels end up."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, execute, from_sitk, read_image, resample, rounded, to_sitk, write_image
from DeepRegLib.monitoring import never_cancel
from Testing.synthetic import ORIENTATIONS, blobs, geometry_in, interior, trilinear, write_dicom_series

FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64")
SMALL = geometry_in("oblique", (7, 6, 5), (0.7, 1.3, 2.9))


def noise(dtype: str, geometry: Geometry = SMALL) -> Image:
    rng = np.random.default_rng(7)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return Image((rng.normal(size=geometry.shape) * 1e4).astype(kind), geometry)
    limits = np.iinfo(kind)
    # 2^53 is as far as ITK's readers carry whole numbers exactly in every format.
    low, high = max(limits.min, -(2**53)), min(limits.max, 2**53)
    return Image(rng.integers(low, high, size=geometry.shape, dtype=kind, endpoint=True), geometry)


def refusal(path: Path) -> str:
    """Read a bad file and return the message, having checked its form."""
    with pytest.raises(InputError) as caught:
        read_image(path)
    error = caught.value
    assert isinstance(error, DeepRegError)
    assert error.hint, "a message needs a remedy"
    assert "\n" not in str(error)
    assert path.name in error.message
    assert len(str(error)) < len(str(path)) + 400
    return str(error)


# Reading and writing


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("ending", FORMATS)
def test_voxels_type_and_place_survive_writing_and_reading(dtype: str, ending: str, tmp_path: Path) -> None:
    image = noise(dtype)
    path = tmp_path / f"volume{ending}"
    write_image(image, path)
    for source in (path, str(path)):
        back = read_image(source)
        assert back.array.dtype == image.array.dtype
        np.testing.assert_array_equal(back.array, image.array)
        assert np.abs(back.geometry.corners() - image.geometry.corners()).max() < 1e-4
    assert back.name == str(path)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("ending", FORMATS)
def test_every_orientation_survives(orientation: str, ending: str, tmp_path: Path) -> None:
    image = noise("int16", geometry_in(orientation, (9, 5, 7), (0.488281, 0.9, 3.3)))
    write_image(image, tmp_path / f"v{ending}")
    back = read_image(tmp_path / f"v{ending}")
    assert np.abs(back.geometry.corners() - image.geometry.corners()).max() < 1e-4


@pytest.mark.parametrize("dtype", ["bool", "float16", ">i2", ">f8"])
def test_types_itk_does_not_have_are_written_as_the_nearest_it_has(dtype: str, tmp_path: Path) -> None:
    array = (np.arange(np.prod(SMALL.shape)).reshape(SMALL.shape) % 3 == 1).astype(dtype)
    write_image(Image(array, SMALL), tmp_path / "v.nrrd")
    np.testing.assert_array_equal(read_image(tmp_path / "v.nrrd").array, array)


@pytest.mark.parametrize(
    "name", ["with space.mhd", "größe ü.mhd", "größe ü.nii.gz", "UPPER.NII.GZ", "dots.in.name.mhd"]
)
def test_unusual_file_names(name: str, tmp_path: Path) -> None:
    image = noise("int16")
    write_image(image, tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).array, image.array)


@pytest.mark.parametrize("ending", FORMATS)
def test_writing_replaces_the_old_file_and_leaves_nothing_else(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    write_image(noise("int16"), path)
    write_image(noise("float32"), path)
    assert read_image(path).array.dtype == np.float32
    assert {p.name for p in tmp_path.iterdir()} == ({"v.mhd", "v.raw"} if ending == ".mhd" else {path.name})


@pytest.mark.parametrize("name", ["v.png", "v.xyz", "v", "v.nii.bz2"])
def test_an_unknown_ending_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        write_image(noise("uint8"), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_caller_keeps_the_array_it_gave() -> None:
    image = noise("int16")
    before = image.array.copy()
    picture = to_sitk(image)
    picture += 1
    from_sitk(picture).array[:] = 0
    np.testing.assert_array_equal(image.array, before)


def test_an_array_that_does_not_fit_its_grid_is_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        Image(np.zeros(SMALL.size), SMALL)
    with pytest.raises(InputError, match="complex"):
        Image(np.zeros(SMALL.shape, dtype=complex), SMALL)


# Resampling


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_resampling_shows_the_same_anatomy_at_the_same_place(orientation: str) -> None:
    source = blobs(geometry_in("LPS", (30, 30, 30), 1.5))
    target = geometry_in(orientation, (20, 22, 18), 2.0)
    resampled = resample(source, target, background=-7.0)
    expected = trilinear(source.array, source.geometry.to_index(target.points()), outside=-7.0)
    np.testing.assert_allclose(resampled.array, expected, atol=0.01)
    truth = blobs(target).array
    inner = interior(target.shape, 4)
    assert np.abs(resampled.array - truth)[inner].max() < 0.08 * np.ptp(truth)


def test_resampling_keeps_the_type_and_rounds_whole_numbers() -> None:
    source = Image(np.array([0, 1, 10, 11]).reshape(1, 1, 4) * np.ones((4, 4, 1), dtype=np.int16), Geometry((4, 4, 4)))
    source = source.with_array(source.array.astype(np.int16))
    target = Geometry((3, 4, 4), origin=(0.7, 0.0, 0.0))
    resampled = resample(source, target)
    assert resampled.array.dtype == np.int16
    np.testing.assert_array_equal(resampled.array[0, 0], [1, 7, 11])
    assert resample(source.with_array(source.array > 5), target, interpolation="nearest").array.dtype == np.bool_
    assert resample(source.with_array(source.array.astype(np.float16)), target).array.dtype == np.float16


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "int64", "uint64", "bool"])
def test_an_oblique_identity_keeps_every_whole_number(dtype: str) -> None:
    image = noise("int16", geometry_in("oblique", (20, 21, 22), (0.7, 0.8, 1.3)))
    image = image.with_array((np.abs(image.array) % 200).astype(dtype))
    transform = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3)
    there_and_back = sitk.CompositeTransform([transform, transform.GetInverse()])
    for chain in (None, there_and_back):
        moved = resample(image, image.geometry, transform=chain)
        assert moved.array.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(interior_of(moved.array), interior_of(image.array))


def interior_of(array: np.ndarray) -> np.ndarray:
    return array[1:-1, 1:-1, 1:-1]


def test_rounding_stays_inside_the_type_and_has_no_bias() -> None:
    values = np.linspace(-300.0, 300.0, 10_001)
    assert rounded(values.copy(), np.dtype(np.uint8)).min() == 0
    assert rounded(values.copy(), np.dtype(np.uint8)).max() == 255
    assert rounded(np.array([1e30]), np.dtype(np.int64))[0] > 2**62
    difference = rounded(values.copy(), np.dtype(np.int16)) - values
    assert np.abs(difference).max() <= 0.5
    assert abs(difference.mean()) < 0.01


@pytest.mark.parametrize(
    "name", ["o.nii.gz.nii.gz", "o.nii.nii.gz", "o.img.nii", "sub.nii_warped.nii.gz", "O.NII.GZ", "a.mha.nrrd"]
)
def test_a_name_with_two_endings_is_written_as_it_is(name: str, tmp_path: Path) -> None:
    image = noise("int16")
    write_image(image, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(read_image(tmp_path / name).array, image.array)


# Bad files


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "gone.nii.gz")


def test_a_name_no_file_can_have(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 300 + ".nii"))


@pytest.mark.parametrize("ending", [*FORMATS, ".dcm", ""])
def test_an_empty_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"empty{ending}"
    path.touch()
    assert "empty" in refusal(path)


@pytest.mark.parametrize("ending", [*FORMATS, ".dcm", ".txt", ""])
def test_a_text_file_with_the_name_of_a_volume(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"text{ending}"
    path.write_text("I am not a volume.\n" * 40)
    refusal(path)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_truncated_file_is_not_read_as_zeros(ending: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut{ending}"
    write_image(noise("int16", geometry_in("LPS", (20, 20, 20))), path)
    voxels = path.with_suffix(".raw") if ending == ".mhd" else path
    whole = voxels.read_bytes()
    voxels.write_bytes(whole[: int(len(whole) * share)])
    refusal(path)


def test_a_damaged_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "damaged.nii.gz"
    write_image(noise("int16", geometry_in("LPS", (20, 20, 20))), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_an_mhd_without_its_data(tmp_path: Path) -> None:
    write_image(noise("int16"), tmp_path / "v.mhd")
    (tmp_path / "v.raw").unlink()
    refusal(tmp_path / "v.mhd")


def test_whole_nifti_files_of_every_kind_still_pass(tmp_path: Path) -> None:
    """Big-endian, several gzip members, an uncompressed file called .gz: all whole, all read."""
    image = noise("int16")
    write_image(image, tmp_path / "v.nii")
    one = (tmp_path / "v.nii").read_bytes()
    middle = len(one) // 2
    (tmp_path / "members.nii.gz").write_bytes(gzip.compress(one[:middle]) + gzip.compress(one[middle:]))
    (tmp_path / "plain.nii.gz").write_bytes(one)
    (tmp_path / "big.nii").write_bytes(_big_endian(one))
    for name in ("members.nii.gz", "plain.nii.gz", "big.nii"):
        np.testing.assert_array_equal(read_image(tmp_path / name).array, image.array, err_msg=name)
        cut = tmp_path / f"cut-{name}"
        cut.write_bytes((tmp_path / name).read_bytes()[:-30])
        refusal(cut)


def _big_endian(one: bytes) -> bytes:
    fields = "i10s18sihcb8h3f4h8f3fhbb4f2i80s24s2h6f12f16s4s"
    header = struct.pack(">" + fields, *struct.unpack("<" + fields, one[:348]))
    return header + one[348:352] + np.frombuffer(one[352:], dtype="<i2").astype(">i2").tobytes()


@pytest.mark.parametrize("ending", [".png", ".nii", ".nrrd", ".mha"])
def test_a_2d_image(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"flat{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(30, dtype=np.uint8).reshape(5, 6)), str(path))
    assert "2-D" in refusal(path)


def test_a_volume_of_one_slice_is_2d(tmp_path: Path) -> None:
    path = tmp_path / "slice.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((1, 5, 6), dtype=np.uint8)), str(path))
    assert "2-D" in refusal(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_4d_image(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"series{ending}"
    volume = to_sitk(noise("int16", Geometry((7, 6, 5))))
    sitk.WriteImage(sitk.JoinSeries([volume] * 3), str(path))
    assert "3 volumes" in refusal(path)
    sitk.WriteImage(sitk.JoinSeries([volume]), str(path))
    assert read_image(path).array.shape == (5, 6, 7)


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_a_colour_image(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"colour{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), dtype=np.uint8), isVector=True), str(path))
    assert "colour" in refusal(path)


@pytest.mark.parametrize("ending", [".nii", ".nrrd"])
def test_a_complex_image(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"complex{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), dtype=np.complex64)), str(path))
    assert "complex" in refusal(path)


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 0, 0]] * 3,
        [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]],
        [[np.nan, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
    ],
    ids=["sheared", "zero", "flat", "nan"],
)
def test_a_nifti_with_a_degenerate_sform(rows: list, tmp_path: Path) -> None:
    path = tmp_path / "frame.nii"
    write_image(noise("int16"), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<hh", content, 252, 0, 1)
    struct.pack_into("<12f", content, 280, *np.ravel(rows))
    path.write_bytes(content)
    assert "direction" in refusal(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"TransformMatrix = 1 0 0", b"TransformMatrix = 0 0 0"), (b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 1 1")],
    ids=["direction", "spacing"],
)
def test_a_metaimage_with_a_degenerate_frame(old: bytes, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "frame.mha"
    write_image(noise("int16", Geometry((7, 6, 5))), path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    refusal(path)


# DICOM

SCAN = geometry_in("oblique", (8, 9, 6), (0.8, 0.8, 2.5))


def scan(seed: int = 0) -> Image:
    values = np.random.default_rng(seed).integers(-1000, 2000, size=SCAN.shape)
    return Image(values.astype(np.int16), Geometry(SCAN.size, SCAN.spacing, SCAN.origin, _right_handed(SCAN)))


def _right_handed(geometry: Geometry) -> tuple[float, ...]:
    # DICOM has no left-handed stacks: the slice axis is the cross product of the two in the plane.
    axes = geometry.axes
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    return tuple(axes.ravel().tolist())


def test_a_dicom_folder_and_one_of_its_files_are_the_same_volume(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path / "ct", scan())
    for source in (tmp_path / "ct", files[0], files[4]):
        image = read_image(source)
        np.testing.assert_array_equal(image.array, scan().array)
        assert np.abs(image.geometry.corners() - scan().geometry.corners()).max() < 1e-3
        assert image.name == "DICOM series", "a folder of DICOM often bears the patient's name"


def test_slices_are_ordered_by_place_not_by_file_name(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path / "ct", scan())
    for n, path in enumerate(reversed(files)):
        path.rename(path.with_name(f"image{n}.dcm"))
    np.testing.assert_array_equal(read_image(tmp_path / "ct").array, scan().array)


@pytest.mark.parametrize("content", [None, "readme.txt"])
def test_a_folder_without_dicom(content: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    if content:
        (folder / content).write_text("hello")
    assert "without DICOM" in refusal(folder)


def test_two_series_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    """One UID is the beginning of the other, which GDCM's series numbering makes easy to confuse."""
    first, second = scan(1), scan(2)
    longer = write_dicom_series(tmp_path / "ct", second, series="1.2.826.0.1.3680043.2.1125.10", prefix="b")
    shorter = write_dicom_series(tmp_path / "ct", first, series="1.2.826.0.1.3680043.2.1125.1", prefix="a")
    message = refusal(tmp_path / "ct")
    assert "2 DICOM series" in message
    assert longer[0].name in message
    assert shorter[0].name in message
    np.testing.assert_array_equal(read_image(shorter[2]).array, first.array)
    np.testing.assert_array_equal(read_image(longer[2]).array, second.array)


@pytest.mark.parametrize("missing", [(2,), (1, 2), (4,)])
def test_a_missing_slice_is_noticed(missing: tuple[int, ...], tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "ct", scan(), skip=missing)
    assert "unevenly spaced" in refusal(tmp_path / "ct")


def test_a_tilted_gantry_is_noticed(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "ct", scan(), tilt=0.6)
    assert "0.60 mm" in refusal(tmp_path / "ct")


def test_a_series_of_one_slice(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "ct", scan(), skip=(1, 2, 3, 4, 5))
    assert "2-D" in refusal(tmp_path / "ct")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_voxels_that_are_not_finite_are_read_as_such(suffix: str, dtype: type, tmp_path: Path) -> None:
    image = blobs(geometry_in("oblique"))
    array = image.array.astype(dtype)
    array[2, 3, 4], array[20, 25, 23], array[0, 0, 1] = np.nan, np.inf, -np.inf
    write_image(image.with_array(array), tmp_path / f"holes{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"holes{suffix}").array, array)


def test_a_big_endian_nifti_keeps_its_nan(tmp_path: Path) -> None:
    image = blobs(geometry_in("LPS"))
    array = image.array.copy()
    array[2, 3, 4] = np.nan
    write_image(image.with_array(array), tmp_path / "little.nii")
    data = bytearray((tmp_path / "little.nii").read_bytes())
    header = np.frombuffer(bytes(data[:348]), dtype=np.uint8).copy()
    for start, count, size in ((0, 1, 4), (40, 8, 2), (56, 3, 4), (68, 4, 2), (76, 11, 4), (252, 2, 2), (256, 18, 4)):
        part = header[start : start + count * size].reshape(count, size)
        header[start : start + count * size] = part[:, ::-1].reshape(-1)
    voxels = np.frombuffer(bytes(data[352:]), "<f4").astype(">f4").tobytes()
    (tmp_path / "big.nii").write_bytes(header.tobytes() + bytes(data[348:352]) + voxels)
    np.testing.assert_array_equal(read_image(tmp_path / "big.nii").array, array)


class StoppedError(Exception):
    """Not one of the library's, so that nothing takes it for its own."""


def test_a_filter_asks_again_and_again_whether_to_stop_and_gives_the_same_voxels() -> None:
    image = Image(np.random.default_rng(0).random((40, 41, 42), dtype=np.float32), Geometry((42, 41, 40)))
    grid = Geometry((60, 50, 40), (0.5, 0.7, 0.9))
    asked: list[None] = []
    polled = resample(image, grid, poll=lambda: asked.append(None))
    assert len(asked) > 10
    np.testing.assert_array_equal(polled.array, resample(image, grid).array)


@pytest.mark.parametrize("at", [1, 5, -1])
def test_what_a_poll_raises_comes_out_of_the_filter(at: int) -> None:
    image = Image(np.zeros((40, 41, 42), np.float32), Geometry((42, 41, 40)))
    asked: list[None] = []
    resample(image, image.geometry, poll=lambda: asked.append(None))
    last = at if at > 0 else len(asked)
    count = [0]

    def poll() -> None:
        count[0] += 1
        if count[0] == last:
            raise StoppedError

    with pytest.raises(StoppedError):
        resample(image, image.geometry, poll=poll)
    assert count[0] == last


def test_a_filter_that_fails_says_why_itself() -> None:
    with pytest.raises(RuntimeError, match="SimpleITK"):
        execute(sitk.BinaryFillholeImageFilter(), never_cancel, sitk.Image((3, 3, 3), sitk.sitkFloat32))
