"""A DICOM folder, one file of a series, or a multi-frame file, as a volume."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from DeepRegLib.dicom.frames import Frame, frames_of
from DeepRegLib.dicom.pixels import values_of
from DeepRegLib.dicom.stack import stacked
from DeepRegLib.dicom.with_gdcm import read_with_gdcm
from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import Raster
from DeepRegLib.naming import shown

MARK = b"DICM"
DIRECTORY = "1.2.840.10008.1.3.10"
MOST_FILES = 20_000
MOST_SERIES_SHOWN = 6
SAME_DIRECTION = 0.02  # of direction cosines: a localiser is turned, a rounded number is not
HEADER_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality", "Rows"),
    *("Columns", "ImageOrientationPatient", "NumberOfFrames", "MediaStorageSOPClassUID"),
)


@dataclass(frozen=True)
class Header:
    """What is looked at in each file of a folder, to find the series."""

    file: Path
    series: str
    instance: str
    description: str
    size: tuple[int, int]
    turned: tuple[float, ...]
    frames: int

    def is_beside(self, other: Header) -> bool:
        """Tell whether two files may be slices of one volume; each multi-frame file is a volume of its own."""
        if max(self.frames, other.frames) > 1:
            return self.instance == other.instance
        return (self.series, self.size, len(self.turned)) == (other.series, other.size, len(other.turned)) and max(
            (abs(a - b) for a, b in zip(self.turned, other.turned, strict=True)), default=0.0
        ) <= SAME_DIRECTION


def is_dicom(path: Path, start: bytes) -> bool:
    """Tell from the first bytes of a file whether it is DICOM; files of old scanners lack the mark."""
    if start[128:132] == MARK:
        return True
    bare = start[:2] in (b"\x08\x00", b"\x02\x00") and start[3:4] == b"\x00"
    return bare and path.suffix.lower() in (".dcm", ".ima", ".dic", ".dicom", "")


def read_dicom(source: Path) -> Raster:
    """Read a series.

    Parameters
    ----------
    source
        A folder that holds one series, or has it in folders below; one file of a series; or a multi-frame file.

    Raises
    ------
    InputError
        If there is no series, there are several, or it is not one even, upright stack of grey slices.
    """
    if find_spec("pydicom") is None:
        return read_with_gdcm(source)
    with without_pydicom_messages():
        files = series_files(source)
        folder = shown(files[0].parent if len(files) > 1 or source.is_dir() else files[0])
        what = f"the DICOM series in {folder}" if len(files) > 1 else f"the DICOM file {folder}"
        datasets = {file: dataset_of(file) for file in files}
        frames: list[Frame] = [frame for file in files for frame in frames_of(datasets[file], file)]
        stack = stacked(frames, what)
        array = values_of(stack.frames, datasets)
    x, y, z = stack.frames[0].position.tolist()
    return Raster(array, 1, stack.spacing, (x, y, z), stack.direction)


def series_files(source: Path) -> list[Path]:
    """Return the files of the one series that a path stands for; needs pydicom.

    Raises
    ------
    InputError
        If there is none, or there are several.
    """
    headers = _series_of_file(source) if source.is_file() else _only_series(source)
    return [header.file for header in headers]


@contextmanager
def without_pydicom_messages() -> Iterator[None]:
    """Keep what pydicom says of values that break the standard's letter off the screen."""
    messages = logging.getLogger("pydicom")
    level = messages.level
    messages.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        messages.setLevel(level)


def dataset_of(file: Path, *, pixels: bool = True) -> Any:
    """Return pydicom's data set of a file, with or without its pixels."""
    from pydicom import dcmread

    with file.open("rb") as stream:
        return dcmread(stream, force=True, stop_before_pixels=not pixels)


def holds_dicom(source: Path) -> bool:
    """Tell whether a path is a folder with DICOM files, in it or below, or such a file."""
    if source.is_dir():
        return next(_dicom_below(source), None) is not None
    with source.open("rb") as stream:
        return is_dicom(source, stream.read(132))


def _dicom_below(folder: Path) -> Iterator[Path]:
    return (path for path in _files_below(folder) if _header(path) is not None)


def headers_by_series(folder: Path) -> list[list[Header]]:
    """Return the headers of each series in a folder, or in the folders below; needs pydicom."""
    return [_without_copies(headers) for headers in _series_in(folder)]


def _header(file: Path) -> Header | None:
    """Return what a file says of its series; None if it is no DICOM file with pixels."""
    from pydicom import dcmread

    try:
        with file.open("rb") as stream:
            if not is_dicom(file, stream.read(132)):
                return None
            stream.seek(0)
            dataset = dcmread(stream, stop_before_pixels=True, specific_tags=list(HEADER_TAGS), force=True)
        if "Rows" not in dataset or "Columns" not in dataset:
            return None
        turned = tuple(float(c) for c in dataset.get("ImageOrientationPatient") or ())
        return Header(
            file,
            str(dataset.get("SeriesInstanceUID", "")),
            str(dataset.get("SOPInstanceUID", "")) or shown(file),
            _description(dataset),
            (int(dataset.Rows), int(dataset.Columns)),
            turned,
            int(dataset.get("NumberOfFrames", 1) or 1),
        )
    except PermissionError:
        raise
    except Exception:  # noqa: BLE001  # a file among others that is none of a series
        return None


def _description(dataset: Any) -> str:
    text = " ".join(str(dataset.get("SeriesDescription", "") or "").split())
    return shown(text[:60]) or f"{dataset.get('Modality', 'series')} {dataset.get('SeriesNumber', '') or ''}".strip()


def _series_of_file(source: Path) -> list[Header]:
    own = _header(source)
    if own is None:
        if _is_directory_file(source):
            return _only_series(source.parent)
        raise InputError(f"{shown(source)} is damaged, or a DICOM file without pixels.", "Give a file of an image.")
    if own.frames > 1:
        return [own]
    beside = _headers(path for path in sorted(source.parent.iterdir()) if path.is_file())
    return _without_copies([header for header in beside if header.is_beside(own)])


def _is_directory_file(source: Path) -> bool:
    dataset = dataset_of(source)
    return str(getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", "")) == DIRECTORY


def _only_series(folder: Path) -> list[Header]:
    """Return the files of a folder's one series, or of the one series in the folders below."""
    series = _series_in(folder)
    if not series:
        raise InputError(
            f"{shown(folder)} is a folder without DICOM files.", "Give a volume file or a DICOM series folder."
        )
    if len(series) > 1:
        raise InputError(
            f"{shown(folder)} holds {len(series)} DICOM series.",
            f"Give one file of the series you mean: {_offer(folder, series)}.",
        )
    return _without_copies(series[0])


def _series_in(folder: Path) -> list[list[Header]]:
    headers = _headers(path for path in sorted(folder.iterdir()) if path.is_file())
    if not headers:
        headers = _headers(_files_below(folder))
    series: list[list[Header]] = []
    for header in headers:
        own = next((each for each in series if each[0].is_beside(header)), None)
        if own is None:
            series.append([header])
        else:
            own.append(header)
    return series


def _offer(folder: Path, series: Sequence[list[Header]]) -> str:
    largest = sorted(series, key=lambda headers: -sum(h.frames for h in headers))
    offers = []
    for headers in largest[:MOST_SERIES_SHOWN]:
        count = sum(header.frames for header in headers)
        file = shown(headers[0].file.relative_to(folder))
        offers.append(f"{headers[0].description} ({count} slices, {file})")
    left = len(largest) - len(offers)
    return "; ".join(offers) + (f"; and {left} more" if left else "")


def _headers(files: Iterable[Path]) -> list[Header]:
    found = (_header(file) for file in files)
    return [header for header in found if header is not None]


def _files_below(folder: Path) -> Iterator[Path]:
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            count += 1
            if count > MOST_FILES:
                raise InputError(
                    f"{shown(folder)} holds more than {MOST_FILES} files in its folders.",
                    "Give the folder of one series.",
                )
            yield path


def _without_copies(headers: list[Header]) -> list[Header]:
    """Leave out further files of one and the same slice."""
    return list({header.instance: header for header in reversed(headers)}.values())[::-1]
