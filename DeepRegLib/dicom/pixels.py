"""The numbers of DICOM frames, scaled frame by frame."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.frames import Frame
from DeepRegLib.errors import InputError
from DeepRegLib.formats.isolated import read_elsewhere
from DeepRegLib.formats.raster import DamagedFileError, overflown
from DeepRegLib.naming import shown

# What numpy and pydicom unpack by themselves; the rest goes to GDCM, in a process of its own.
PLAIN_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
RUN_LENGTH = "1.2.840.10008.1.2.5"
RUN_LENGTH_GROWTH = 64  # two bytes make at most 128
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
GREY_WORDS = "1.2.840.10008.5.1.4.1.1.7.3"
KEPT = (
    *("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PixelData"),
)
EXACT_IN_FLOAT32 = 1 << 24


def values_of(frames: Sequence[Frame], datasets: dict[Path, Any]) -> NDArray[Any]:
    """Return the values of frames, shape ``(k, j, i)``: whole numbers where all are, single precision elsewhere.

    Parameters
    ----------
    frames
        In the order of the stack.
    datasets
        pydicom's of each file, with its pixels.

    Raises
    ------
    DamagedFileError
        If there are fewer pixels than the header says, or they cannot be unpacked.
    """
    stored = _stored_frames(frames, datasets)
    scales = [(frame.slope, frame.intercept) for frame in frames]
    dtype = _dtype(stored, scales)
    values = np.empty((len(frames), *stored[0].shape), dtype=dtype)
    for number, (pixels, (slope, intercept)) in enumerate(zip(stored, scales, strict=True)):
        if (slope, intercept) == (1.0, 0.0):
            values[number] = pixels
        elif dtype.kind == "f":
            values[number] = _scaled(pixels, slope, intercept, frames[number])
        else:
            values[number] = pixels.astype(np.int64) * int(slope) + int(intercept)
    return values


def _scaled(pixels: NDArray[Any], slope: float, intercept: float, frame: Frame) -> NDArray[Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        values = pixels * slope + intercept
    if overflown(pixels, values):
        raise DamagedFileError(
            f"{shown(frame.file)} is damaged: scaled by {slope:g} its values are beyond all numbers."
        )
    return values


def _dtype(stored: Sequence[NDArray[Any]], scales: Sequence[tuple[float, float]]) -> np.dtype[Any]:
    kind = np.result_type(*{pixels.dtype for pixels in stored})
    if kind.kind == "f":
        return kind
    if any(not float(number).is_integer() for pair in scales for number in pair):
        return np.dtype(np.float32 if kind.itemsize <= 2 else np.float64)
    ends = [
        pixels_end * slope + intercept
        for pixels, (slope, intercept) in zip(stored, scales, strict=True)
        for pixels_end in (int(pixels.min()), int(pixels.max()))
    ]
    for candidate in (kind, np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.int32)):
        limits = np.iinfo(candidate)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return candidate
    return np.dtype(np.float64)


def _stored_frames(frames: Sequence[Frame], datasets: dict[Path, Any]) -> list[NDArray[Any]]:
    files = list(dict.fromkeys(frame.file for frame in frames))
    plain = [file for file in files if _syntax(datasets[file]) in (*PLAIN_SYNTAXES, RUN_LENGTH)]
    others = [file for file in files if file not in set(plain)]
    pixels = {file: _unpacked(datasets[file], file) for file in plain}
    pixels |= _unpacked_elsewhere(others, datasets)
    return [pixels[frame.file][frame.number] for frame in frames]


def _syntax(dataset: Any) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("TransferSyntaxUID", PLAIN_SYNTAXES[0])) if meta is not None else PLAIN_SYNTAXES[0]


def _unpacked(dataset: Any, file: Path) -> NDArray[Any]:
    """Return the stored numbers of a file, shape ``(frames, j, i)``."""
    _require_enough(dataset, file)
    if _syntax(dataset) == PLAIN_SYNTAXES[0] and not hasattr(dataset.file_meta, "TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = PLAIN_SYNTAXES[0]
    layout = _layout(dataset)
    # pydicom takes the stored bits to be the lowest, wherever the header says they are.
    dataset.BitsStored, dataset.HighBit = layout.allocated, layout.allocated - 1
    array = np.asarray(dataset.pixel_array)
    return _stored_bits(array.reshape(-1, *array.shape[-2:]), layout)


@dataclass(frozen=True)
class Layout:
    """How many bits a number takes, how many of them are stored, and how many lie above those."""

    allocated: int
    stored: int
    above: int


def _layout(dataset: Any) -> Layout:
    allocated = int(dataset.BitsAllocated)
    stored = int(dataset.get("BitsStored", allocated))
    above = allocated - 1 - int(dataset.get("HighBit", stored - 1))
    if not (0 < stored <= allocated and 0 <= above <= allocated - stored):
        raise DamagedFileError(f"A slice is damaged: {stored} of {allocated} bits, {above} below the top.")
    return Layout(allocated, stored, above)


def _require_enough(dataset: Any, file: Path) -> None:
    count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames", 1) or 1)
    bits = int(dataset.BitsAllocated)
    data = next(
        (dataset[key].value for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if key in dataset), b""
    )
    growth = RUN_LENGTH_GROWTH if _syntax(dataset) == RUN_LENGTH else 1
    if bits not in (8, 16, 32, 64) or len(data) * growth < count * bits // 8:
        raise DamagedFileError(f"{shown(file)} is damaged or truncated: pixels are missing.")


def _stored_bits(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Return numbers without what lies in the bits beside those stored: overlays of old files."""
    if array.dtype.kind == "f" or layout.stored == layout.allocated or layout.allocated != array.dtype.itemsize * 8:
        return array
    return (array << layout.above) >> (layout.allocated - layout.stored)


def _unpacked_elsewhere(files: Sequence[Path], datasets: dict[Path, Any]) -> dict[Path, NDArray[Any]]:
    """Unpack compressed pixels with GDCM, which gets files that hold nothing else, so that it scales nothing."""
    if not files:
        return {}
    pixels: dict[Path, NDArray[Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, file in enumerate(files):
            _bare(datasets[file]).save_as(folder / f"{number:06d}.dcm", enforce_file_format=True)
        try:
            _, arrays = read_elsewhere("files", folder)
        except InputError as error:
            message = error.message.replace(shown(folder), f"The compressed pixels of {shown(files[0].parent)}")
            raise type(error)(message, error.hint) from error
    for file, array in zip(files, arrays, strict=True):
        dataset = datasets[file]
        shape = (int(dataset.get("NumberOfFrames", 1) or 1), int(dataset.Rows), int(dataset.Columns))
        if math.prod(shape) != array.size:
            raise DamagedFileError(f"{shown(file)} is damaged or truncated: pixels are missing.")
        pixels[file] = _stored_bits(array.reshape(shape), _layout(dataset))
    return pixels


def _bare(dataset: Any) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    bare, meta = Dataset(), FileMetaDataset()
    for key in KEPT:
        if key in dataset:
            bare[key] = dataset[key]
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    bare.SOPClassUID = meta.MediaStorageSOPClassUID = UID(GREY_WORDS if frames > 1 else SECONDARY_CAPTURE)
    bare.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    bare.Modality = "OT"
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.file_meta = meta
    return bare
