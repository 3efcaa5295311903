"""Files of every kind that is read, and what becomes of them on the way: one damage a seed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from DeepRegLib.errors import DeepRegError
from DeepRegLib.image import read_image
from DeepRegLib.landmarks import read_point_list, write_points
from DeepRegLib.recipes import load_recipe, recipe_to_toml
from DeepRegLib.transforms import read_transform

NUMBERS = (
    *("0", "-1", "60000", "4294967296", "9223372036854775807", "-9223372036854775808", "1e308", "1e400", "nan", "inf"),
    *("0x10", "1_0", "", "9" * 40, "2147483648", "\u0663"),
)
PIECES = (
    b"\0",
    b"\xff" * 8,
    b"A" * 3000,
    b"[" * 3000,
    b"{" * 3000,
    b"\n",
    b"\n\n",
    b"../../etc/passwd",
    b"%s%d%03d",
    b"=",
)
READ, REFUSED = "read", "refused"


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Parameters
    ----------
    read
        What reads them.
    make
        Writes a whole one into an empty folder; returns the path that is read and the one that is damaged.
    elsewhere
        Whether ITK reads it in a process of its own, which takes a while.
    """

    read: Callable[[Path], object]
    make: Callable[[Path], tuple[Path, Path]]
    elsewhere: bool = False


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to four things wrong, mostly near its beginning, where the header is."""
    for _ in range(int(rng.integers(1, 5))):
        data = DAMAGES[int(rng.integers(len(DAMAGES)))](data, rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    reach = len(data) if rng.random() < 0.3 else min(len(data), 600)
    return int(rng.integers(0, max(reach, 1)))


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        if changed:
            changed[_place(data, rng)] = int(rng.integers(256))
    return bytes(changed)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data) + 1))]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + PIECES[int(rng.integers(len(PIECES)))] + data[place:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    place, length = _place(data, rng), int(rng.integers(1, 64))
    return data[:place] + data[place : place + length] * int(rng.integers(2, 30)) + data[place + length :]


def _word(data: bytes, rng: np.random.Generator) -> bytes:
    """Put an extreme binary number somewhere."""
    place, width = _place(data, rng) & ~1, int(rng.choice([2, 4, 8]))
    value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x80])) * int(rng.choice([1, 256, 2**24])) - int(rng.integers(0, 2))
    number = (value % 2 ** (8 * width)).to_bytes(width, "little" if rng.random() < 0.8 else "big")
    return data[:place] + number + data[place + width :]


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    """Put an extreme number in the place of one of a text's first numbers."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[:4000]))
    if not found:
        return _flip(data, rng)
    match = found[int(rng.integers(len(found)))]
    return data[: match.start()] + NUMBERS[int(rng.integers(len(NUMBERS)))].encode() + data[match.end() :]


def _line(data: bytes, rng: np.random.Generator) -> bytes:
    """Drop or double a line."""
    lines = data.split(b"\n")
    at = int(rng.integers(0, min(len(lines), 30)))
    lines[at : at + 1] = [] if rng.random() < 0.5 else [lines[at], lines[at]]
    return b"\n".join(lines)


DAMAGES = (_flip, _flip, _cut, _insert, _repeat, _word, _word, _number, _number, _line)


def outcome(kind: Kind, path: Path) -> str:
    """Read a file; return `READ` or `REFUSED`, or raise what escaped and was not declared.

    A refusal must be one line of characters that can be printed, with advice.
    """
    try:
        kind.read(path)
    except DeepRegError as error:
        refusal = error
    else:
        return READ
    text = str(refusal)
    assert text.isprintable(), ascii(text)
    assert refusal.hint, text
    assert len(text) < 1500, text
    return REFUSED


def _volume() -> sitk.Image:
    picture = sitk.GetImageFromArray(np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7))
    picture.SetSpacing((1.0, 1.5, 2.0))
    picture.SetOrigin((-10.0, 5.0, 3.0))
    return picture


def _field() -> sitk.Image:
    return sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, (4, 5, 6, 3)).astype(np.float32), isVector=True)


def _image(name: str, damaged_name: str = "", compressed: bool = True) -> Callable[[Path], tuple[Path, Path]]:
    def make(folder: Path) -> tuple[Path, Path]:
        sitk.WriteImage(_volume(), str(folder / name), useCompression=compressed)
        return folder / name, folder / (damaged_name or name)

    return make


def _field_file(name: str) -> Callable[[Path], tuple[Path, Path]]:
    def make(folder: Path) -> tuple[Path, Path]:
        sitk.WriteImage(_field(), str(folder / name), useCompression=True)
        return folder / name, folder / name

    return make


def _transform_file(name: str) -> Callable[[Path], tuple[Path, Path]]:
    def make(folder: Path) -> tuple[Path, Path]:
        turn = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6))
        field = sitk.DisplacementFieldTransform(sitk.Cast(_field(), sitk.sitkVectorFloat64))
        chain = sitk.AffineTransform(3) if name.endswith(".mat") else sitk.CompositeTransform([turn, field])
        sitk.WriteTransform(chain, str(folder / name))
        return folder / name, folder / name

    return make


def _text_file(name: str, text: Callable[[], str]) -> Callable[[Path], tuple[Path, Path]]:
    def make(folder: Path) -> tuple[Path, Path]:
        (folder / name).write_text(text(), encoding="utf-8")
        return folder / name, folder / name

    return make


def _points_file(name: str) -> Callable[[Path], tuple[Path, Path]]:
    def make(folder: Path) -> tuple[Path, Path]:
        write_points([[1.5, -2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], folder / name, ["a", "b", "c"])
        return folder / name, folder / name

    return make


def _lta() -> str:
    volume = "volume = 10 10 10\nvoxelsize = 1 1 1\nxras = -1 0 0\nyras = 0 0 -1\nzras = 0 1 0\ncras = 0 0 0\n"
    matrix = "1 4 4\n1 0 0 5\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
    return f"type = 0\nnxforms = 1\nmean = 0 0 0\nsigma = 1\n{matrix}src volume info\n{volume}dst volume info\n{volume}"


def dataset_of_slice(number: int, pixels: np.ndarray) -> FileDataset:
    """Return a CT slice as pydicom has it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesDescription": "thorax",
        "Modality": "CT",
        "InstanceNumber": number + 1,
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-9.0, -8.0, 3.0 * number],
        "PixelSpacing": [1.0, 2.0],
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
        "PixelData": pixels.astype("<i2").tobytes(),
    }
    for key, value in values.items():
        setattr(dataset, key, value)
    return dataset


def multi_frame(pixels: np.ndarray, positions: list[list[float]], slopes: list[float] | None = None) -> FileDataset:
    """Return an enhanced CT as pydicom has it: a position, and a slope, a frame."""
    dataset = dataset_of_slice(0, pixels)
    for key in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(dataset, key)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.NumberOfFrames = len(pixels)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, orientation.ImageOrientationPatient = [1.0, 2.0], [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    frames = []
    for number, position in enumerate(positions):
        frame, place, scale, content = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = position
        scale.RescaleSlope, scale.RescaleIntercept = str(slopes[number] if slopes else 1), "0"
        content.TemporalPositionIndex = 1 + number // 6
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [place], [scale]
        frame.FrameContentSequence = [content]
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], frames
    return dataset


def _series(folder: Path) -> tuple[Path, Path]:
    pixels = np.arange(4 * 6 * 5).reshape(4, 6, 5)
    for number, plane in enumerate(pixels):
        dataset_of_slice(number, plane).save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder, folder / "1.dcm"


def _enhanced(folder: Path) -> tuple[Path, Path]:
    pixels = np.arange(4 * 6 * 5).reshape(4, 6, 5)
    path = folder / "enhanced.dcm"
    multi_frame(pixels, [[0.0, 0.0, 3.0 * n] for n in range(4)]).save_as(path, enforce_file_format=True)
    return path, path


KINDS = {
    "nifti": Kind(read_image, _image("v.nii", compressed=False)),
    "nifti, compressed": Kind(read_image, _image("v.nii.gz")),
    "nifti, pair": Kind(read_image, _image("v.hdr", "v.hdr", compressed=False)),
    "nrrd": Kind(read_image, _image("v.nrrd")),
    "nrrd, detached": Kind(read_image, _image("v.nhdr")),
    "nrrd, raw": Kind(read_image, _image("v.nrrd", compressed=False)),
    "metaimage": Kind(read_image, _image("v.mha")),
    "metaimage, detached": Kind(read_image, _image("v.mhd", compressed=False)),
    "vtk": Kind(read_image, _image("v.vtk", compressed=False)),
    "gipl": Kind(read_image, _image("v.gipl", compressed=False)),
    "gipl, compressed": Kind(read_image, _image("v.gipl.gz")),
    "tiff": Kind(read_image, _image("v.tif", compressed=False), elsewhere=True),
    "mrc": Kind(read_image, _image("v.mrc", compressed=False), elsewhere=True),
    "hdf5 image": Kind(read_image, _image("v.hdf5"), elsewhere=True),
    "field, nrrd": Kind(read_transform, _field_file("f.nrrd")),
    "field, nifti": Kind(read_transform, _field_file("f.nii.gz")),
    "transform, text": Kind(read_transform, _transform_file("t.tfm")),
    "transform, matlab": Kind(read_transform, _transform_file("t.mat")),
    "transform, hdf5": Kind(read_transform, _transform_file("t.h5"), elsewhere=True),
    "transform, lta": Kind(read_transform, _text_file("t.lta", _lta)),
    "transform, matrix": Kind(read_transform, _text_file("m.txt", lambda: "1 0 0 5\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")),
    "points, csv": Kind(read_point_list, _points_file("p.csv")),
    "points, fcsv": Kind(read_point_list, _points_file("p.fcsv")),
    "points, json": Kind(read_point_list, _points_file("p.mrk.json")),
    "recipe": Kind(load_recipe, _text_file("r.toml", lambda: recipe_to_toml(load_recipe("auto")))),
    "dicom series": Kind(read_image, _series),
    "dicom, multi-frame": Kind(read_image, _enhanced),
}
