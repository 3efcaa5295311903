"""Volume files: read as ITK reads whole ones, and refused in words where a header claims what cannot be."""

from __future__ import annotations

import gzip
import itertools
import logging
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.naming import shown

RNG = np.random.default_rng(0)
ARRAY = RNG.integers(0, 100, (5, 6, 7))
TURN = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix()


def picture(dtype: str = "i2") -> sitk.Image:
    image = sitk.GetImageFromArray(ARRAY.astype(dtype))
    image.SetSpacing((0.7, 1.1, 2.5))
    image.SetOrigin((-31.7, 12.3, 55.1))
    image.SetDirection(TURN)
    return image


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_files_are_read_as_itk_reads_them(ending: str, dtype: str, compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    sitk.WriteImage(picture(dtype), str(path), useCompression=compressed)
    ours, theirs = read_image(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs))
    assert ours.array.dtype == sitk.GetArrayFromImage(theirs).dtype
    np.testing.assert_allclose(ours.geometry.spacing, theirs.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(ours.geometry.origin, theirs.GetOrigin(), rtol=1e-6)
    np.testing.assert_allclose(ours.geometry.direction, theirs.GetDirection(), atol=2e-6)


# NIfTI


def rotation(angle: float) -> np.ndarray:
    return np.array(sitk.VersorTransform((0.0, 0.0, 1.0), angle).GetMatrix()).reshape(3, 3)


def nifti_with_forms(path: Path, qform: int, sform: int, rows: np.ndarray) -> None:
    """Write a file whose qform is a turn by 0.3 about z, and whose sform is `rows`, RAS."""
    write_image(Image(ARRAY.astype(np.float32), Geometry((7, 6, 5), (1.0, 2.0, 3.0))), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<hh", content, 252, qform, sform)
    struct.pack_into("<6f", content, 256, 0.0, 0.0, np.sin(0.15), 10.0, 20.0, 30.0)
    struct.pack_into("<f", content, 76, 1.0)
    struct.pack_into("<12f", content, 280, *np.ravel(rows))
    path.write_bytes(content)


@pytest.mark.parametrize(("qform", "sform"), [*itertools.product((0, 1, 2), (0, 1, 2, 4))])
@pytest.mark.parametrize("kind", ["same", "turned", "mirrored", "shifted"])
def test_where_a_nifti_lies_is_what_itk_says(kind: str, qform: int, sform: int, tmp_path: Path) -> None:
    axes = {"turned": rotation(0.4), "mirrored": rotation(0.3) @ np.diag([-1, 1, 1])}.get(kind, rotation(0.3))
    shift = (12.0, 20.0, 30.0) if kind == "shifted" else (10.0, 20.0, 30.0)
    rows = np.column_stack([axes * (1.0, 2.0, 3.0), shift])
    path = tmp_path / "v.nii"
    nifti_with_forms(path, qform, sform, rows)
    ours, theirs = read_image(path).geometry, sitk.ReadImage(str(path))
    np.testing.assert_allclose(ours.origin, theirs.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(ours.direction, theirs.GetDirection(), atol=1e-5)


def test_a_sheared_sform_beside_a_qform_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = np.array([[1, 0.3, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7]])
    nifti_with_forms(tmp_path / "v.nii", 1, 4, rows)
    with caplog.at_level(logging.WARNING):
        read_image(tmp_path / "v.nii")
    assert "sform" in caplog.text
    assert "qform" in caplog.text


def test_the_file_that_is_named_is_read_and_not_its_neighbour(tmp_path: Path) -> None:
    for name, value in (("scan.nii", 7), ("scan.nii.gz", 3)):
        write_image(Image(np.full((5, 6, 7), value, np.int16), Geometry((7, 6, 5))), tmp_path / name)
    assert np.unique(read_image(tmp_path / "scan.nii.gz").array).tolist() == [3]
    assert np.unique(read_image(tmp_path / "scan.nii").array).tolist() == [7]


@pytest.mark.parametrize("name", ["scan.img", "scan.img.gz", "scan.hdr"])
def test_of_a_pair_the_voxels_that_are_named_are_read(name: str, tmp_path: Path) -> None:
    sitk.WriteImage(picture(), str(tmp_path / "scan.hdr"), useCompression=False)
    (tmp_path / "scan.img.gz").write_bytes(gzip.compress((ARRAY + 1).astype("<i2").tobytes()))
    np.testing.assert_array_equal(read_image(tmp_path / name).array, ARRAY + name.endswith(".gz"))


def test_that_an_analyze_file_does_not_say_where_it_lies_is_told(tmp_path: Path, caplog) -> None:
    sitk.WriteImage(picture(), str(tmp_path / "scan.hdr"), useCompression=False)
    content = bytearray((tmp_path / "scan.hdr").read_bytes())
    content[344:348] = bytes(4)  # no mark of NIfTI
    (tmp_path / "scan.hdr").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        read_image(tmp_path / "scan.hdr")
    assert "left and right may be swapped" in caplog.text


def test_a_gzip_stream_is_read_under_a_plain_name(tmp_path: Path) -> None:
    write_image(Image(ARRAY.astype(np.int16), Geometry((7, 6, 5))), tmp_path / "v.nii.gz")
    (tmp_path / "v.nii.gz").rename(tmp_path / "v.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "v.nii").array, ARRAY)


def changed(path: Path, offset: int, form: str, value: float) -> Path:
    sitk.WriteImage(picture(), str(path), useCompression=False)
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("offset", "form", "value", "said"),
    [
        (72, "<h", 13, "13 bits"),
        (108, "<f", 5.0, "byte 5"),
        (108, "<f", float("nan"), "byte nan"),
        (108, "<f", 1e9, "missing"),
        (40, "<h", 0, "0 axes"),
        (40, "<h", 60000 - 65536, "axes"),
        (42, "<h", -3, "-3 x 6 x 5"),
        (42, "<h", 32767, "missing"),
        (70, "<h", 1536, "type 1536"),
    ],
)
def test_a_nifti_header_that_cannot_be_is_refused(offset, form, value, said: str, tmp_path: Path) -> None:
    assert said in refusal(changed(tmp_path / "v.nii", offset, form, value))


def test_nan_in_a_pair_of_files_stay_nan(tmp_path: Path) -> None:
    array = ARRAY.astype(np.float32)
    array[1, 2, 3] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "v.hdr"), useCompression=False)
    np.testing.assert_array_equal(read_image(tmp_path / "v.hdr").array, array)
    np.testing.assert_array_equal(read_image(tmp_path / "v.img").array, array)


# NRRD and MetaImage

NRRD = (
    b"NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: 7 6 5\nspace directions: (1,0,0) "
    b"(0,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
)
MHA = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    b"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 7 6 5\n"
    b"ElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
)
VTK = (
    b"# vtk DataFile Version 3.0\nscan\nBINARY\nDATASET STRUCTURED_POINTS\nDIMENSIONS 7 6 5\nSPACING 1 1 1\n"
    b"ORIGIN 0 0 0\nPOINT_DATA 210\nSCALARS s float 1\nLOOKUP_TABLE default\n"
)
VOXELS = ARRAY.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("v.nrrd", b"type: float", b"x: " + b"A" * 3000 + b"\ntype: float", ""),
        ("v.nrrd", b"sizes: 7 6 5", b"sizes: 7 6 1000000000", "missing"),
        ("v.nrrd", b"sizes: 7 6 5", b"sizes: 7 6 -5", "-5 voxels"),
        ("v.nrrd", b"dimension: 3", b"dimension: 99", "99 axes"),
        ("v.nrrd", b"(0,0,1)\n", b"(0,0,0)\n", "spacing"),
        ("v.nrrd", b"encoding: raw", b"data file: ../v.raw\nencoding: raw", "not in its own folder"),
        ("v.nrrd", b"encoding: raw", b"data file: /etc/passwd\nencoding: raw", "not in its own folder"),
        ("v.nrrd", b"encoding: raw", b"data file: LIST\nencoding: raw", "several files"),
        ("v.nrrd", b"endian: little\n", b"", "byte order"),
        ("v.nrrd", b"space: left", b"space: right-up", "lies in the space"),
        ("v.mha", b"NDims = 3", b"NDims = 60000", "60000 axes"),
        ("v.mha", b"NDims = 3", b"NDims = -1", "-1 axes"),
        ("v.mha", b"NDims = 3", b"NDims = 9223372036854775807", "axes"),
        ("v.mha", b"DimSize = 7 6 5", b"DimSize = 1000 1000 1000", "missing"),
        ("v.mha", b"= LOCAL", b"= ../v.raw", "not in its own folder"),
        ("v.mha", b"= LOCAL", b"= C:\\secret.raw", "not in its own folder"),
        ("v.mha", b"= LOCAL", b"= v%03d.raw 1 5 1", "several files"),
        ("v.mha", b"MET_FLOAT", b"MET_STRANGE", "MET_STRANGE"),
        ("v.mha", b"CompressedData = False", b"CompressedData = True", "unpacked"),
        ("v.mha", b"ElementType", b"DimSize = 5 6 7\nElementType", "DimSize twice"),
        ("v.nrrd", b"endian: little", b"sizes: 5 6 7\nendian: little", "sizes twice"),
        ("v.vtk", b"SCALARS s float 1", b"SCALARS s bit 1", "'bit'"),
        ("v.vtk", b"DIMENSIONS 7 6 5", b"DIMENSIONS 7 6 50", "210 values for 2100 points"),
        ("v.vtk", b"POINT_DATA", b"CELL_DATA", "cell_data"),
        ("v.vtk", b"STRUCTURED_POINTS", b"STRUCTURED_GRID", "structured_grid"),
    ],
)
def test_a_text_header_that_cannot_be_is_refused(name, old, new, said: str, tmp_path: Path) -> None:
    head, voxels = {"v.nrrd": (NRRD, VOXELS), "v.mha": (MHA, VOXELS), "v.vtk": (VTK, ARRAY.astype(">f4").tobytes())}[
        name
    ]
    assert head.count(old) == 1
    (tmp_path / name).write_bytes(head + voxels)
    np.testing.assert_array_equal(read_image(tmp_path / name).array, ARRAY)
    (tmp_path / name).write_bytes(head.replace(old, new) + voxels)
    if said:
        assert said in refusal(tmp_path / name)
    else:
        np.testing.assert_array_equal(read_image(tmp_path / name).array, ARRAY)


def test_a_compressed_stream_that_is_too_short_is_refused(tmp_path: Path) -> None:
    head = MHA.replace(b"CompressedData = False", b"CompressedData = True")
    (tmp_path / "v.mha").write_bytes(head + zlib.compress(VOXELS[:-40]))
    assert "missing" in refusal(tmp_path / "v.mha")
    (tmp_path / "v.mha").write_bytes(head + zlib.compress(VOXELS))
    np.testing.assert_array_equal(read_image(tmp_path / "v.mha").array, ARRAY)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.vtk"])
def test_voxels_as_words_are_read_and_refused_where_one_is_wrong(name: str, tmp_path: Path) -> None:
    head = {
        "v.nrrd": NRRD.replace(b"raw", b"text").replace(b"type: float", b"type: uchar"),
        "v.mha": MHA.replace(b"BinaryData = True", b"BinaryData = False").replace(b"MET_FLOAT", b"MET_UCHAR"),
        "v.vtk": VTK.replace(b"BINARY", b"ASCII").replace(b"float", b"unsigned_char"),
    }[name]
    words = [str(value) for value in ARRAY.ravel()]
    (tmp_path / name).write_bytes(head + " ".join(words).encode())
    np.testing.assert_array_equal(read_image(tmp_path / name).array, ARRAY)
    for wrong, said in (("309", "too large"), ("two", "no number")):
        (tmp_path / name).write_bytes(head + " ".join([*words[:-1], wrong]).encode())
        assert said in refusal(tmp_path / name)


@pytest.mark.parametrize("dtype", ["i4", "i8"])
def test_a_metaimages_long_has_as_many_bytes_as_the_file(dtype: str, tmp_path: Path) -> None:
    head = MHA.replace(b"MET_FLOAT", b"MET_LONG")
    for compressed in (False, True):
        voxels = ARRAY.astype(f"<{dtype}").tobytes()
        packed = (head.replace(b"CompressedData = False", b"CompressedData = True"), zlib.compress(voxels))
        (tmp_path / "v.mha").write_bytes(b"".join(packed if compressed else (head, voxels)))
        np.testing.assert_array_equal(read_image(tmp_path / "v.mha").array, ARRAY)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nii"])
def test_a_file_with_twice_the_voxels_of_its_header_is_told(name: str, tmp_path: Path, caplog) -> None:
    path = tmp_path / name
    sitk.WriteImage(picture("f4"), str(path), useCompression=False)
    with caplog.at_level(logging.WARNING):
        read_image(path)
        assert not caplog.text
        path.write_bytes(path.read_bytes() + VOXELS)
        np.testing.assert_array_equal(read_image(path).array, ARRAY)
    assert "is its header right?" in caplog.text


def test_a_nrrds_unit_of_length_is_told_where_it_is_not_millimetres(tmp_path: Path, caplog) -> None:
    for unit, told in (("mm", False), ("um", True)):
        head = NRRD.replace(b"kinds:", f'space units: "{unit}" "{unit}" "{unit}"\nkinds:'.encode())
        (tmp_path / "v.nrrd").write_bytes(head + VOXELS)
        with caplog.at_level(logging.WARNING):
            read_image(tmp_path / "v.nrrd")
        assert ("lengths in 'um'" in caplog.text) == told


def test_a_data_file_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(VOXELS)
    (inside / "v.raw").symlink_to(tmp_path / "secret")
    (inside / "v.mhd").write_bytes(MHA.replace(b"LOCAL", b"v.raw"))
    assert "leads out of its folder" in refusal(inside / "v.mhd")


def test_a_tiny_file_that_claims_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = NRRD.replace(b"sizes: 7 6 5", b"sizes: 1000 1200 1000").replace(b"raw", b"gzip")
    (tmp_path / "v.nrrd").write_bytes(head + gzip.compress(VOXELS))
    assert "missing" in refusal(tmp_path / "v.nrrd")
    # A stream long enough for the claim to be possible, which ends early all the same.
    (tmp_path / "v.nrrd").write_bytes(head + gzip.compress(RNG.bytes(5_000_000)))
    assert "missing" in refusal(tmp_path / "v.nrrd")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_layers_of_a_segmentation_are_called_so(tmp_path: Path) -> None:
    layers = sitk.GetImageFromArray(RNG.integers(0, 2, (5, 6, 7, 2)).astype(np.uint8), isVector=True)
    layers.SetMetaData("Segment0_Name", "liver")
    sitk.WriteImage(layers, str(tmp_path / "s.seg.nrrd"))
    assert "segmentation of 2 layers" in refusal(tmp_path / "s.seg.nrrd")


# Rare formats, and names


@pytest.mark.parametrize("ending", [".vtk", ".gipl", ".gipl.gz", ".tif", ".mrc", ".hdf5"])
def test_a_rare_format_is_read_as_by_itk_and_not_with_zeros_for_what_is_missing(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY.astype(np.int16)), str(path), useCompression=False)
    np.testing.assert_array_equal(read_image(path).array, ARRAY)
    path.write_bytes(path.read_bytes()[: -20 if ending == ".gipl.gz" else -150])
    refusal(path)


WRITTEN_BY_ITK = ["u1", "i1", "i2", "u2", "f4", "f8"]  # in all three formats


@pytest.mark.parametrize(
    ("ending", "dtype"),
    [*itertools.product([".vtk", ".gipl", ".gipl.gz"], WRITTEN_BY_ITK), (".vtk", "i4"), (".vtk", "u4")],
)
def test_vtk_and_gipl_are_read_as_itk_reads_them(ending: str, dtype: str, tmp_path: Path) -> None:
    path, written = tmp_path / f"v{ending}", picture(dtype)
    written.SetDirection(np.eye(3).ravel().tolist())
    sitk.WriteImage(written, str(path))
    ours, theirs = read_image(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs))
    assert ours.array.dtype == sitk.GetArrayFromImage(theirs).dtype
    np.testing.assert_allclose(ours.geometry.spacing, theirs.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(ours.geometry.origin, theirs.GetOrigin(), rtol=1e-6)


def test_the_distance_of_a_tiffs_pictures_is_not_known_and_that_is_told(tmp_path: Path, caplog) -> None:
    sitk.WriteImage(picture("u2"), str(tmp_path / "v.tif"))
    with caplog.at_level(logging.WARNING):
        read_image(tmp_path / "v.tif")
    assert "1 mm was taken" in caplog.text


def test_a_name_that_is_not_utf_8_is_read_and_shown(tmp_path: Path) -> None:
    for ending in (".nii.gz", ".vtk"):
        plain = tmp_path / f"v{ending}"
        sitk.WriteImage(picture(), str(plain))
        odd = tmp_path / f"caf\udce9{ending}"
        try:
            plain.rename(odd)
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        image = read_image(odd)
        np.testing.assert_array_equal(image.array, ARRAY)
        assert image.name.endswith(rf"caf\xe9{ending}")
        image.name.encode("utf-8")
    assert shown("a\x1b[31mb\n") == r"a\x1b[31mb\n"
