"""Transforms as other programs write them: lists, base classes, fields in another sense, endings of their own."""

from __future__ import annotations

import logging
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.transforms import read_transform

POINTS = np.array([[10.0, 20.0, 30.0], [-5.0, 7.0, 1.0]])
TURN = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6))
SHIFT = sitk.TranslationTransform(3, (5, 0, 0))


def moved_by(itk: sitk.Transform) -> np.ndarray:
    return np.array([itk.TransformPoint(tuple(point)) for point in POINTS])


def text_entry(itk: sitk.Transform, kind: str) -> str:
    parameters, fixed = (" ".join(repr(float(n)) for n in numbers) for numbers in numbers_of(itk))
    return f"#Transform 0\nTransform: {kind}\nParameters: {parameters}\nFixedParameters: {fixed}\n"


def numbers_of(itk: sitk.Transform) -> tuple[list[float], list[float]]:
    affine = sitk.AffineTransform(3)
    centre = TURN.GetCenter()
    affine.SetCenter(centre)
    affine.SetMatrix(itk.GetMatrix() if hasattr(itk, "GetMatrix") else np.eye(3).ravel().tolist())
    affine.SetTranslation(itk.GetTranslation() if hasattr(itk, "GetTranslation") else itk.GetOffset())
    return list(affine.GetParameters()), list(affine.GetFixedParameters())


def matlab(*entries: tuple[sitk.Transform, str]) -> bytes:
    content = b""
    for itk, kind in entries:
        for label, values in zip((kind, "fixed"), numbers_of(itk), strict=True):
            content += struct.pack("<5i", 0, len(values), 1, 0, len(label) + 1) + label.encode() + b"\0"
            content += np.array(values, "<f8").tobytes()
    return content


@pytest.mark.parametrize("kind", ["MatrixOffsetTransformBase", "AffineTransform"])
@pytest.mark.parametrize("number", ["double", "float"])
@pytest.mark.parametrize("ending", [".txt", ".tfm", ".mat"])
def test_the_base_class_of_linear_transforms_is_read(ending: str, number: str, kind: str, tmp_path: Path) -> None:
    path, name = tmp_path / f"t{ending}", f"{kind}_{number}_3_3"
    if ending == ".mat":
        path.write_bytes(matlab((TURN, name)))
    else:
        path.write_text("#Insight Transform File V1.0\n" + text_entry(TURN, name))
    np.testing.assert_allclose(read_transform(path).apply_to_points(POINTS), moved_by(TURN), atol=1e-9)


@pytest.mark.parametrize("ending", [".txt", ".mat"])
def test_of_a_list_the_last_acts_first_as_in_itks_composites(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, name = tmp_path / f"two{ending}", "AffineTransform_double_3_3"
    if ending == ".mat":
        path.write_bytes(matlab((TURN, name), (SHIFT, name)))
    else:
        path.write_text("#Insight Transform File V1.0\n" + text_entry(TURN, name) + text_entry(SHIFT, name))
    with caplog.at_level(logging.WARNING):
        read = read_transform(path)
    expected = moved_by(sitk.CompositeTransform([TURN, SHIFT]))
    np.testing.assert_allclose(read.apply_to_points(POINTS), expected, atol=1e-9)
    assert "lists 2 transforms" in caplog.text


def test_itks_own_composite_in_text_is_that_of_its_hdf5(tmp_path: Path) -> None:
    field = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 2, (9, 9, 9, 3)), isVector=True)
    field.SetSpacing((10.0, 10.0, 10.0))
    field.SetOrigin((-40.0, -40.0, -40.0))
    chain = sitk.CompositeTransform([TURN, sitk.DisplacementFieldTransform(field), SHIFT])
    expected = moved_by(chain)
    for ending in (".tfm", ".h5"):
        sitk.WriteTransform(chain, str(tmp_path / f"c{ending}"))
        read = read_transform(tmp_path / f"c{ending}")
        np.testing.assert_allclose(read.apply_to_points(POINTS), expected, atol=1e-6)


# Fields

IJK = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), -1)[..., ::-1]  # (k, j, i, 3), entries i, j, k
RAS = IJK * 2.0 - 20.0


def nifti_field(path: Path, vectors: np.ndarray, intent: int, name: bytes = b"", first: float = 0.0) -> Path:
    """Write vectors (k, j, i, 3) on a grid of 2 mm in RAS, as a NIfTI file with these marks."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 5, 20, 20, 20, 1, 3, 1, 1)
    struct.pack_into("<f", header, 56, first)
    struct.pack_into("<3h", header, 68, intent, 16, 32)
    struct.pack_into("<8f", header, 76, 1, 2, 2, 2, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[123] = 2
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, 2, 0, 0, -20, 0, 2, 0, -20, 0, 0, 2, -20)
    header[328 : 328 + len(name)] = name
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + np.moveaxis(vectors, -1, 0).astype("<f4").tobytes())
    return path


def right(*shape: int) -> np.ndarray:
    vectors = np.zeros((*shape, 3))
    vectors[..., 0] = 4.0
    return vectors


@pytest.mark.parametrize(
    ("vectors", "marks", "expected"),
    [
        (right(20, 20, 20), (1007,), (7, 4, 5)),  # ITK and ANTs: LPS
        (right(20, 20, 20), (1006,), (-1, 4, 5)),  # NIfTI's displacement vectors: RAS
        (right(20, 20, 20), (1007, b"NREG_TRANS", 1.0), (-1, 4, 5)),  # NiftyReg: RAS displacements
        (RAS + right(20, 20, 20), (1007, b"NREG_TRANS", 0.0), (-1, 4, 5)),  # NiftyReg: RAS positions
        (RAS + right(20, 20, 20), (1007, b"Mapping"), (-1, 4, 5)),  # SPM: RAS positions
    ],
    ids=["vectors", "displacement vectors", "NiftyReg displacement", "NiftyReg deformation", "SPM deformation"],
)
def test_a_nifti_field_is_what_its_marks_say(vectors, marks, expected, tmp_path: Path) -> None:
    read = read_transform(nifti_field(tmp_path / "f.nii", vectors, *marks))
    np.testing.assert_allclose(read.apply_to_points([3.0, 4.0, 5.0]), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ((1007, b"NREG_TRANS", 2.0), "control points"),
        ((1007, b"NREG_TRANS", 5.0), "velocity"),
        ((1007, b"Velocity"), "velocity"),
        ((1005,), "symmetric matrices"),
        ((2006,), "FSL"),
    ],
)
def test_a_field_that_is_no_displacement_is_refused(marks, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_transform(nifti_field(tmp_path / "f.nii", right(20, 20, 20), *marks))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("displacement field type", "resampling", ""),
        ("displacement field type", "modeling", "moving points to fixed points"),
        ("displacement field type", "sideways", "sideways"),
    ],
)
def test_the_direction_that_slicer_writes_into_a_nrrd_field_counts(key, value, said: str, tmp_path: Path) -> None:
    field = sitk.GetImageFromArray(right(10, 10, 10), isVector=True)
    field.SetMetaData(key, value)
    sitk.WriteImage(field, str(tmp_path / "f.nrrd"))
    assert f"{key}:={value}".encode() in (tmp_path / "f.nrrd").read_bytes()[:1000]
    if said:
        with pytest.raises(InputError, match=said):
            read_transform(tmp_path / "f.nrrd")
    else:
        np.testing.assert_allclose(read_transform(tmp_path / "f.nrrd").apply_to_points([4.0, 4.0, 4.0]), (8, 4, 4))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"", b"", (8, 4, 4)),
        (b"space: left-posterior-superior", b"space: RAS", "in which frame"),
        (b"space: left-posterior-superior", b"measurement frame: (1,0,0) (0,1,0) (0,0,1)\nspace: RAS", (-8, -4, 4)),
        (b"kinds: vector", b"kinds: point", "point"),
    ],
    ids=["LPS", "RAS", "RAS, vectors too", "points"],
)
def test_the_frame_of_a_nrrd_fields_vectors_is_believed_or_asked_for(old, new, expected, tmp_path: Path) -> None:
    head = (
        b"NRRD0004\ntype: float\ndimension: 4\nspace: left-posterior-superior\nsizes: 3 10 10 10\nspace directions: "
        b"none (1,0,0) (0,1,0) (0,0,1)\nkinds: vector domain domain domain\nendian: little\nencoding: raw\n"
        b"space origin: (0,0,0)\n\n"
    )
    (tmp_path / "f.nrrd").write_bytes(head.replace(old, new) + right(10, 10, 10).astype("<f4").tobytes())
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            read_transform(tmp_path / "f.nrrd")
        return
    turned = np.sign(expected) * 4.0
    np.testing.assert_allclose(read_transform(tmp_path / "f.nrrd").apply_to_points(turned), expected)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (r"FixedParameters.*", "", "no line FixedParameters"),
        (r"(FixedParameters.*)", r"\1\nParameters: 1 0 0 0 1 0 0 0 1 0 0 0", "twice"),
    ],
)
def test_a_text_without_the_centre_or_with_two_matrices_is_refused(old, new, said: str, tmp_path: Path) -> None:
    text = "#Insight Transform File V1.0\n" + text_entry(TURN, "AffineTransform_double_3_3")
    (tmp_path / "t.tfm").write_text(re.sub(old, new, text))
    with pytest.raises(InputError, match=said):
        read_transform(tmp_path / "t.tfm")


@pytest.mark.parametrize("name", ["f.mha", "f.mhd", "f.nhdr", "f.nrrd", "f.nii", "f.hdr"])
def test_a_field_is_read_from_every_kind_of_vector_image(name: str, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(right(10, 10, 10).astype(np.float32), isVector=True), str(tmp_path / name))
    np.testing.assert_allclose(read_transform(tmp_path / name).apply_to_points([4.0, 4.0, 4.0]), (8, 4, 4))


def test_slicers_inverse_types_are_refused_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "t.tfm"
    path.write_text("#Insight Transform File V1.0\n" + text_entry(TURN, "InverseDisplacementFieldTransform_double_3_3"))
    with pytest.raises(InputError, match="maps moving points to fixed points"):
        read_transform(path)
