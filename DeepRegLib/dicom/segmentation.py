"""Segmentation objects (SEG) in and out: binary, fractional and label maps in, binary out by highdicom."""

from __future__ import annotations

import logging
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.frames import SEGMENTATION, functional_group, numbers_of
from DeepRegLib.dicom.objects import MANUFACTURER, MODEL, PATIENT, STUDY, copy_identity, new_uid, write_object
from DeepRegLib.dicom.reading import without_pydicom_messages
from DeepRegLib.dicom.series import INSTALL, Series, require_frame, require_one_patient, require_pydicom
from DeepRegLib.dicom.structures import Layers, Structure, StructureSet, check_frame, colour_of
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.naming import shown
from DeepRegLib.version import VERSION

logger = logging.getLogger(__name__)

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
CLASSES = (SEGMENTATION, LABEL_MAP)
ON_GRID = 0.02  # voxels


def read_segmentation(source: str | Path, geometry: Geometry, scan: Any | None = None) -> StructureSet:
    """Read a SEG whose frames lie on the grid of its scan.

    Parameters
    ----------
    source
        The file.
    geometry
        The scan's grid.
    scan
        pydicom's header of the scan, where it is DICOM: its patient and frame of reference must be the file's.

    Raises
    ------
    InputError
        If the file is of another kind, another patient, frame of reference or grid, or damaged.
    """
    path = Path(source)
    with guarded(path), without_pydicom_messages():
        path.stat()
        require_pydicom()
        from pydicom import dcmread

        dataset, name = dcmread(path, force=True), shown(path)
        if str(dataset.get("SOPClassUID", "")) not in CLASSES:
            raise InputError(f"{name} is no DICOM segmentation.", "Give a SEG file.")
        if scan is not None:
            require_one_patient(dataset, scan, f"{name} and its scan")
            check_frame(str(dataset.get("FrameOfReferenceUID", "")), str(scan.get("FrameOfReferenceUID", "")), name)
        pixels = _pixels(dataset)
        groups = list(dataset.PerFrameFunctionalGroupsSequence)
        if len(groups) != len(pixels):
            raise InputError(f"{name} has {len(pixels)} frames and describes {len(groups)}.", "Export it again.")
        shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), None)
        volumes: dict[int, NDArray[np.bool_]] = {}
        for plane, group in zip(pixels, groups, strict=True):
            level = _slice_of(shared, group, plane.shape, geometry, name)
            for label, mask in _segments(dataset, shared, group, plane):
                volume = volumes.setdefault(label, np.zeros(geometry.shape, dtype=np.bool_))
                volume[level] |= mask
        layers, structures = Layers(geometry.shape), []
        for order, item in enumerate(dataset.SegmentSequence):
            label = int(item.SegmentNumber)
            title = str(item.get("SegmentLabel", "") or f"Segment {label}")
            if label == 0 or not volumes.get(label, np.zeros(1)).any():
                continue
            layers.add(volumes[label], label)
            structures.append(Structure(label, title, _rgb(item, order)))
        if not structures:
            raise InputError(f"{name} holds no segment with voxels.", "Export it again.")
        return StructureSet(
            tuple(layers.arrays), geometry, tuple(structures), str(dataset.get("FrameOfReferenceUID", ""))
        )


def write_segmentation(path: str | Path, structures: StructureSet, series: Series, root: str | None = None) -> None:
    """Write structures as a binary SEG that refers to a series.

    Parameters
    ----------
    path
        The file.
    structures
        On the grid of the series.
    series
        What it refers to; patient, study and frame of reference are its own.
    root
        What new UIDs begin with.

    Raises
    ------
    InputError
        If highdicom is missing, or the series names no frame of reference.
    OutputError
        If the file cannot be written.
    """
    require_highdicom()
    require_frame(series, "fixed")
    with without_pydicom_messages():
        write_object(_built(structures, series, root), path)


def require_highdicom() -> None:
    """Make sure that highdicom is there.

    Raises
    ------
    InputError
        If not.
    """
    if find_spec("highdicom") is None:
        raise InputError("DICOM segmentations need the package highdicom, which is not installed.", INSTALL)


def _built(structures: StructureSet, series: Series, root: str | None) -> Any:
    import highdicom
    from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    geometry = structures.geometry
    order = sorted(_complete(series), key=lambda header: float(_level(header, geometry)))
    single = len(order) == 1 and int(order[0].get("NumberOfFrames", 1) or 1) > 1
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=MODEL, family=codes.DCM.ArtificialIntelligence, version=VERSION
    )
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=structure.name[:64],
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Organ,
            algorithm_type=SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=None,
            display_color=highdicom.color.CIELabColor.from_rgb(*structure.colour),
        )
        for number, structure in enumerate(structures.structures, start=1)
    ]
    pixels = np.stack([structures.mask(structure.label) for structure in structures.structures], axis=-1)
    affine = geometry.index_to_world[:, [2, 1, 0, 3]]  # of indices (k, j, i)
    volume = highdicom.Volume(
        array=pixels.astype(np.uint8),
        affine=affine,
        coordinate_system="PATIENT",
        frame_of_reference_uid=series.frame,
        channels={"SegmentNumber": [d.segment_number for d in descriptions]},
    )
    built = Segmentation(
        source_images=order[:1] if single else order,
        pixel_array=volume,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=new_uid(root),
        series_number=1,
        sop_instance_uid=new_uid(root),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=VERSION,
        device_serial_number=VERSION,
        series_description="DeepReg segmentation",
    )
    for item in built.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence") or ():
        if item.get("SliceThickness") is None:  # the source may lack it
            item.SliceThickness = geometry.spacing[2]
    copy_identity(series.first, built)
    return built


def _complete(series: Series) -> list[Any]:
    """Return copies of the headers with empty values for what the standard wants and anonymised files lack."""
    copies = [deepcopy(header) for header in series.headers]
    for header in copies:
        for key in (*PATIENT, *STUDY):
            if key not in header:
                setattr(header, key, "")
    return copies


def _level(header: Any, geometry: Geometry) -> float:
    position = header.get("ImagePositionPatient")
    return 0.0 if position is None else float(geometry.to_index([float(p) for p in position])[2])


def _pixels(dataset: Any) -> NDArray[Any]:
    array = np.asarray(dataset.pixel_array)
    return array.reshape(-1, *array.shape[-2:])


def _segments(dataset: Any, shared: Any, group: Any, plane: NDArray[Any]) -> list[tuple[int, NDArray[np.bool_]]]:
    kind = str(dataset.get("SegmentationType", "BINARY"))
    if kind == "LABELMAP":
        return [(int(label), plane == label) for label in np.unique(plane) if label != 0]
    identified = functional_group(shared, group, "SegmentIdentificationSequence")
    threshold = int(dataset.get("MaximumFractionalValue", 255)) / 2 if kind == "FRACTIONAL" else 0
    return [(int(identified.ReferencedSegmentNumber), plane > threshold)]


def _slice_of(shared: Any, group: Any, shape: tuple[int, ...], geometry: Geometry, name: str) -> int:
    """Return the slice of the grid that a frame fills."""
    position = functional_group(shared, group, "PlanePositionSequence")
    plane = functional_group(shared, group, "PlaneOrientationSequence")
    measures = functional_group(shared, group, "PixelMeasuresSequence")
    if position is None or plane is None or measures is None:
        raise InputError(f"{name} does not say where its frames lie.", "Export it again.")
    axes = numbers_of(plane.ImageOrientationPatient, 6, name).reshape(2, 3)
    down, along = numbers_of(measures.PixelSpacing, 2, name).tolist()
    first = numbers_of(position.ImagePositionPatient, 3, name)
    last = first + axes[0] * along * (shape[1] - 1) + axes[1] * down * (shape[0] - 1)
    start, end = geometry.to_index(first), geometry.to_index(last)
    level = round(float(start[2]))
    expected = np.array([[0, 0, level], [geometry.size[0] - 1, geometry.size[1] - 1, level]])
    inside = 0 <= level < geometry.size[2] and shape == geometry.shape[1:]
    if not inside or np.abs(np.array([start, end]) - expected).max() > ON_GRID * max(geometry.size):
        raise InputError(f"{name} does not lie on the grid of its scan.", "Give the scan it was made on.")
    return level


def _rgb(item: Any, order: int) -> tuple[int, int, int]:
    """Return a segment's recommended colour, which the standard keeps in CIELab, as RGB."""
    values = item.get("RecommendedDisplayCIELabValue")
    if values is None or len(values) != 3 or find_spec("highdicom") is None:
        return colour_of(order)
    from highdicom.color import CIELabColor

    lightness, a, b = (float(v) for v in values)
    colour = CIELabColor(lightness / 65535 * 100, a / 65535 * 255 - 128, b / 65535 * 255 - 128)
    red, green, blue = colour.to_rgb()
    return int(red), int(green), int(blue)
