"""What a DICOM header says of each of its frames: where it lies and how its numbers are to be scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import DamagedFileError
from DeepRegLib.naming import shown

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
# What may tell two frames at one place apart, in words a user knows.
TELLS_APART = (
    ("TemporalPositionIdentifier", "time point"),
    ("TemporalPositionIndex", "time point"),
    ("TriggerTime", "trigger time"),
    ("NominalCardiacTriggerDelayTime", "trigger time"),
    ("NominalPercentageOfCardiacPhase", "phase in percent"),
    ("NominalPercentageOfRespiratoryPhase", "phase in percent"),
    ("EchoTime", "echo time"),
    ("EffectiveEchoTime", "echo time"),
    ("DiffusionBValue", "b-value"),
    ("AcquisitionNumber", "acquisition"),
    ("FrameAcquisitionNumber", "acquisition"),
    ("AcquisitionTime", "acquisition time"),
    ("ImageType", "image type"),
    ("FrameType", "image type"),
    ("FrameReferenceDateTime", "time"),
    ("ContentTime", "time"),
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice.

    Parameters
    ----------
    file
        Where its pixels are.
    number
        Which of that file's frames it is, from 0.
    position
        LPS mm of the centre of its first pixel, shape ``(3,)``.
    axes
        ``(3, 2)``: along a row (i) and down a column (j), unit length.
    spacing
        Millimetres along i and j.
    size
        Pixels along i and j.
    slope, intercept
        What makes the stored number a value.
    tags
        What may tell it from another at the same place.
    """

    file: Path
    number: int
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    spacing: tuple[float, float]
    size: tuple[int, int]
    slope: float
    intercept: float
    tags: tuple[tuple[str, str], ...]


def frames_of(dataset: Any, path: Path) -> list[Frame]:
    """Return the frames of one file, in the file's order.

    Parameters
    ----------
    dataset
        pydicom's, with or without its pixels.
    path
        The file.

    Raises
    ------
    InputError
        If it is no stack of grey slices, or does not say where each lies.
    """
    name = shown(path)
    _require_grey(dataset, name)
    count = _whole(dataset.get("NumberOfFrames", 1) or 1)
    size = (_whole(dataset.Columns), _whole(dataset.Rows))
    if min(*size, count) < 1 or max(size) > 1 << 16:
        raise DamagedFileError(f"{name} is damaged: its header claims {count} frames of {size[0]} x {size[1]} pixels.")
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), None)
    if groups or shared is not None:
        if len(groups) != count:
            raise DamagedFileError(f"{name} is damaged: it has {count} frames and describes {len(groups)}.")
        return [_enhanced(dataset, shared, group, path, n, size) for n, group in enumerate(groups)]
    positions = _positions(dataset, count, name)
    plane = _oriented(dataset)
    axes, spacing = _axes(plane.ImageOrientationPatient, name), _spacing(dataset.get("PixelSpacing"), name)
    slope, intercept = _scale(dataset, dataset, name)
    tags = _tags((dataset,))
    return [Frame(path, n, p, axes, spacing, size, slope, intercept, tags) for n, p in enumerate(positions)]


def _require_grey(dataset: Any, name: str) -> None:
    if str(dataset.get("SOPClassUID", "")) == SEGMENTATION:
        raise InputError(f"{name} is a DICOM segmentation.", "Convert it to a label map, .nii.gz for instance.")
    if _whole(dataset.get("SamplesPerPixel", 1)) != 1 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(f"{name} is a colour image: several components a voxel.", "Convert it to a scalar volume.")
    if dataset.get("ModalityLUTSequence"):
        raise InputError(f"{name} scales its values by a table.", "Convert it with a DICOM importer.")


def _enhanced(dataset: Any, shared: Any, group: Any, path: Path, number: int, size: tuple[int, int]) -> Frame:
    name = shown(path)
    position = functional_group(shared, group, "PlanePositionSequence")
    plane = functional_group(shared, group, "PlaneOrientationSequence")
    measures = functional_group(shared, group, "PixelMeasuresSequence")
    if position is None or plane is None or measures is None or "ImagePositionPatient" not in position:
        raise InputError(
            f"{name}: its frame {number + 1} does not say where it lies.", "Convert it with a DICOM importer."
        )
    transformation = functional_group(shared, group, "PixelValueTransformationSequence")
    slope, intercept = _scale(dataset if transformation is None else transformation, dataset, name)
    mapped = functional_group(shared, group, "RealWorldValueMappingSequence")
    if transformation is None and "RescaleSlope" not in dataset and mapped is not None:
        slope, intercept = _mapped(mapped, name)
    content = [
        item
        for key in (
            "FrameContentSequence",
            "MREchoSequence",
            "MRDiffusionSequence",
            "CardiacTriggerSequence",
            "CardiacSynchronizationSequence",
            "RespiratorySynchronizationSequence",
            "MRImageFrameTypeSequence",
            "CTImageFrameTypeSequence",
            "TemporalPositionSequence",
        )
        if (item := functional_group(shared, group, key)) is not None
    ]
    return Frame(
        path,
        number,
        numbers_of(position.ImagePositionPatient, 3, name),
        _axes(plane.get("ImageOrientationPatient"), name),
        _spacing(measures.get("PixelSpacing"), name),
        size,
        slope,
        intercept,
        _tags(content),
    )


def functional_group(shared: Any, group: Any, key: str) -> Any:
    """Return the first item of a functional group: the frame's own, or that of all frames."""
    for holder in (group, shared):
        items = None if holder is None else holder.get(key)
        if items:
            return items[0]
    return None


def _oriented(dataset: Any) -> Any:
    """Return what holds position and orientation: the data set, or the detector of nuclear medicine."""
    if "ImageOrientationPatient" not in dataset and dataset.get("DetectorInformationSequence"):
        return dataset.DetectorInformationSequence[0]
    return dataset


def _positions(dataset: Any, count: int, name: str) -> list[NDArray[np.float64]]:
    plane = _oriented(dataset)
    if "ImagePositionPatient" not in plane or "ImageOrientationPatient" not in plane:
        raise InputError(
            f"{name} does not say where its slices lie.", "Export it as a volume, or convert it with a DICOM importer."
        )
    first = numbers_of(plane.ImagePositionPatient, 3, name)
    if count == 1:
        return [first]
    axes = _axes(plane.ImageOrientationPatient, name)
    normal = np.cross(axes[:, 0], axes[:, 1])
    offsets = dataset.get("GridFrameOffsetVector")
    if offsets is not None and not isinstance(offsets, str | float | int):
        steps = numbers_of(offsets, count, name)
        # In the second of DICOM's two forms the offsets are the patient's own z.
        return [first + normal * (step if steps[0] == 0 else step - first[2]) for step in steps.tolist()]
    between = dataset.get("SpacingBetweenSlices")
    if plane is dataset or between is None:
        raise InputError(
            f"{name} holds {count} frames and does not say where each lies.", "Convert it with a DICOM importer."
        )
    return [first + normal * float(between) * n for n in range(count)]


def _axes(orientation: Any, name: str) -> NDArray[np.float64]:
    if orientation is None:
        raise InputError(f"{name} does not say how its slices are turned.", "Convert it with a DICOM importer.")
    axes = numbers_of(orientation, 6, name).reshape(2, 3).T
    lengths = np.linalg.norm(axes, axis=0)
    if not np.all(np.abs(lengths - 1) < 1e-2) or abs(float(axes[:, 0] @ axes[:, 1])) > 1e-2:
        raise DamagedFileError(f"{name} is damaged: its direction cosines are not two unit vectors at a right angle.")
    axes = axes / lengths
    axes[:, 1] -= axes[:, 0] * (axes[:, 0] @ axes[:, 1])
    return axes / np.linalg.norm(axes, axis=0)


def _spacing(pixel_spacing: Any, name: str) -> tuple[float, float]:
    if pixel_spacing is None:
        raise InputError(f"{name} does not say how large its pixels are.", "Convert it with a DICOM importer.")
    down, along = numbers_of(pixel_spacing, 2, name).tolist()
    if min(down, along) <= 0:
        raise DamagedFileError(f"{name} is damaged: its pixel spacing is {down:g} x {along:g} mm.")
    return along, down


def _scale(holder: Any, dataset: Any, name: str) -> tuple[float, float]:
    slope, intercept = holder.get("RescaleSlope"), holder.get("RescaleIntercept")
    if str(dataset.get("SOPClassUID", "")) == RT_DOSE:
        slope, intercept = dataset.get("DoseGridScaling", 1), 0
    numbers = float(1 if slope is None else slope), float(0 if intercept is None else intercept)
    if not all(math.isfinite(number) for number in numbers) or numbers[0] == 0:
        raise DamagedFileError(f"{name} is damaged: its values are scaled by {numbers[0]:g} and {numbers[1]:g}.")
    return numbers


def _mapped(mapping: Any, name: str) -> tuple[float, float]:
    """Return the scale of a frame's real-world values, where nothing else scales it."""
    slope, intercept = mapping.get("RealWorldValueSlope"), mapping.get("RealWorldValueIntercept")
    if slope is None or intercept is None:
        raise InputError(f"{name} scales its values by a table.", "Convert it with a DICOM importer.")
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise DamagedFileError(f"{name} is damaged: its values are scaled by {slope:g} and {intercept:g}.")
    return float(slope), float(intercept)


def _tags(holders: Any) -> tuple[tuple[str, str], ...]:
    return tuple(
        (word, str(holder[key].value)[:80]) for key, word in TELLS_APART for holder in holders if key in holder
    )


def numbers_of(values: Any, count: int, name: str) -> NDArray[np.float64]:
    """Return an element's values as so many finite numbers, or say that the file is damaged."""
    numbers = np.array([float(value) for value in np.atleast_1d(np.asarray(values, dtype=object))], dtype=np.float64)
    if numbers.shape != (count,) or not np.all(np.isfinite(numbers)):
        raise DamagedFileError(f"{name} is damaged: its header gives {len(numbers)} numbers where {count} belong.")
    return numbers


def _whole(value: Any) -> int:
    return int(str(value).strip() or 0)
