"""Which patient, study, series and frame of reference a DICOM scan belongs to: what objects made from it refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from DeepRegLib.dicom.reading import is_dicom, series_files, without_pydicom_messages
from DeepRegLib.errors import InputError
from DeepRegLib.guarding import guarded
from DeepRegLib.naming import shown

START_BYTES = 132
INSTALL = 'Install it: pip install "slicer-deepreg[dicom]".'


@dataclass(frozen=True, eq=False)
class Series:
    """The headers of a series.

    Parameters
    ----------
    headers
        pydicom's data sets without pixels, one a file, at least one.
    """

    headers: tuple[Any, ...]

    @property
    def first(self) -> Any:
        """The header that stands for all where they agree: patient, study, equipment."""
        return self.headers[0]

    @property
    def patient(self) -> tuple[str, str]:
        """The patient's identifier and name; a hidden or missing one is empty."""
        return str(self.first.get("PatientID", "") or ""), str(self.first.get("PatientName", "") or "")

    @property
    def study(self) -> str:
        """UID of the study."""
        return str(self.first.get("StudyInstanceUID", "") or "")

    @property
    def uid(self) -> str:
        """UID of the series."""
        return str(self.first.get("SeriesInstanceUID", "") or "")

    @property
    def frame(self) -> str:
        """UID of the frame of reference; empty if the headers name none."""
        return str(self.first.get("FrameOfReferenceUID", "") or "")

    @property
    def images(self) -> tuple[tuple[str, str], ...]:
        """SOP class and instance UID of each file."""
        return tuple((str(header.SOPClassUID), str(header.SOPInstanceUID)) for header in self.headers)

    @property
    def instances(self) -> frozenset[str]:
        """SOP instance UIDs."""
        return frozenset(instance for _, instance in self.images)


def read_series(source: str | Path) -> Series:
    """Read the headers of the series that `read_image` reads from the same path.

    Parameters
    ----------
    source
        A folder that holds one series, one file of it, or a multi-frame file.

    Raises
    ------
    InputError
        If pydicom is missing, there is no series or there are several, a header lacks the UIDs that name it, or the
        files name several frames of reference.
    """
    path = Path(source)
    with guarded(path), without_pydicom_messages():
        return series_of_files(series_files(path), path)


def series_of_files(files: Sequence[str | Path], path: str | Path) -> Series:
    """Read the headers of the files of one series; `path` is what messages call it, errors as of `read_series`."""
    require_pydicom()
    with guarded(Path(path)), without_pydicom_messages():
        from pydicom import dcmread

        headers = tuple(dcmread(file, stop_before_pixels=True, force=True) for file in files)
        for header in headers:
            for key in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
                if not header.get(key):
                    raise InputError(f"{shown(path)} has a slice without {key}.", "Export the series again.")
        if len({str(header.get("FrameOfReferenceUID", "") or "") for header in headers}) > 1:
            raise InputError(
                f"The slices of {shown(path)} lie in several frames of reference.", "Export the series again."
            )
        return Series(headers)


def series_of(source: str | Path) -> Series | None:
    """Return the series of a path; None if it is no DICOM, or pydicom is missing."""
    path = Path(source)
    if find_spec("pydicom") is None or not path.exists():
        return None
    if path.is_file():
        with guarded(path), path.open("rb") as stream:
            if not is_dicom(path, stream.read(START_BYTES)):
                return None
    return read_series(path)


def require_pair(fixed: Series, moving: Series) -> None:
    """Make sure that an object may refer to two series: one patient, and a frame of reference each.

    Raises
    ------
    InputError
        If not. The message names no patient.
    """
    require_frame(fixed, "fixed")
    require_frame(moving, "moving")
    require_one_patient(fixed.first, moving.first, "The fixed and the moving series")


def require_frame(series: Series, role: str) -> None:
    """Make sure that a series names its frame of reference.

    Raises
    ------
    InputError
        If not.
    """
    if not series.frame:
        raise InputError(
            f"The {role} series names no frame of reference, without which no DICOM object can refer to its space.",
            "Export it with Frame of Reference UID (0020,0052).",
        )


def require_one_patient(first: Any, second: Any, what: str) -> None:
    """Make sure that two data sets are of one patient, as far as both say whose they are.

    Raises
    ------
    InputError
        If identifier, name (where there is no identifier) or birth date differ. The message names no patient.
    """
    for key in ("PatientID", "PatientBirthDate"):
        one, other = (str(dataset.get(key, "") or "").strip() for dataset in (first, second))
        if one and other and one != other:
            break
    else:
        identified = all(str(dataset.get("PatientID", "") or "").strip() for dataset in (first, second))
        one, other = (str(dataset.get("PatientName", "") or "").strip(" ^").lower() for dataset in (first, second))
        if identified or not one or not other or one == other:
            return
    raise InputError(f"{what} are of two patients.", "Give two of one patient, or repair their headers.")


def require_pydicom() -> None:
    """Make sure that pydicom is there.

    Raises
    ------
    InputError
        If not.
    """
    if find_spec("pydicom") is None:
        raise InputError("DICOM objects need the package pydicom, which is not installed.", INSTALL)
