"""RT Structure Sets read: closed contours in the slices of a scan become labels on its grid (PS3.3 C.8.8.6)."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.frames import numbers_of
from DeepRegLib.dicom.polygons import Polygon, crosses, filled
from DeepRegLib.dicom.reading import without_pydicom_messages
from DeepRegLib.dicom.series import require_one_patient, require_pydicom
from DeepRegLib.dicom.structures import LARGEST_LABEL, Layers, Structure, StructureSet, check_frame, colour_of
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.naming import shown

logger = logging.getLogger(__name__)

STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
CLOSED, POINT = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"), "POINT"
OFF_PLANE = 0.5  # slices by which a contour may lie beside the slice it is of
TILTED = 0.1  # slices by which the points of one contour may differ


def read_contours(source: str | Path, geometry: Geometry, scan: Any | None = None) -> StructureSet:
    """Read a structure set as labels on the grid of its scan.

    A voxel is inside where its centre is inside an odd number of the slice's contours, so a contour inside another is a
    hole, and one in that an island. Where contours were drawn on every second slice or fewer, those between are
    interpolated from the distances to the two borders.

    Parameters
    ----------
    source
        The file.
    geometry
        The scan's grid, whose slices k the contours lie in.
    scan
        pydicom's header of the scan, where it is DICOM: its patient and frame of reference must be the file's.

    Raises
    ------
    InputError
        If the file is of another kind, another patient or frame of reference, or a contour is open, crosses itself or
        another of its structure, or lies in no slice of the grid.
    """
    path = Path(source)
    with guarded(path), without_pydicom_messages():
        path.stat()
        require_pydicom()
        from pydicom import dcmread

        dataset, name = dcmread(path, force=True), shown(path)
        if str(dataset.get("SOPClassUID", "")) != STRUCTURES:
            raise InputError(f"{name} is no DICOM structure set.", "Give an RTSTRUCT file.")
        frames = _frames(dataset)
        if scan is not None:
            require_one_patient(dataset, scan, f"{name} and its scan")
        expected = "" if scan is None else str(scan.get("FrameOfReferenceUID", "") or "")
        contours = {int(item.ReferencedROINumber): item for item in dataset.get("ROIContourSequence") or ()}
        layers, structures = Layers(geometry.shape), []
        for order, region in enumerate(dataset.get("StructureSetROISequence") or ()):
            number = int(region.ROINumber)
            title = str(region.get("ROIName", "") or f"ROI {number}")
            frame = str(region.get("ReferencedFrameOfReferenceUID", "") or "") or next(iter(frames), "")
            check_frame(frame, expected, f"The structure {shown(title)} of {name}")
            item = contours.get(number)
            planes = _planes(item, geometry, f"{shown(title)} of {name}") if item is not None else {}
            if not planes:
                logger.warning("The structure %s of %s has no contours and is left out.", shown(title), name)
                continue
            label = number if 0 < number <= LARGEST_LABEL else order + 1
            layers.add(_solid(planes, geometry), label)
            structures.append(Structure(label, title, _colour(item, order)))
        if not structures:
            raise InputError(f"{name} holds no structure with contours.", "Export it again.")
        if len({structure.label for structure in structures}) < len(structures):
            raise InputError(f"{name} gives two structures one number.", "Export it again.")
        return StructureSet(tuple(layers.arrays), geometry, tuple(structures), next(iter(frames), ""))


def _frames(dataset: Any) -> list[str]:
    items = (*(dataset.get("ReferencedFrameOfReferenceSequence") or ()), dataset)
    return [str(item.FrameOfReferenceUID) for item in items if item.get("FrameOfReferenceUID")]


def _planes(item: Any, geometry: Geometry, what: str) -> dict[int, list[Polygon]]:
    """Return the polygons of a structure, corners (i, j), by slice."""
    planes: dict[int, list[Polygon]] = {}
    for contour in item.get("ContourSequence") or ():
        kind = str(contour.get("ContourGeometricType", "")).strip()
        if kind == POINT:
            logger.warning("A point of %s is left out: it encloses nothing.", what)
            continue
        if kind not in CLOSED:
            raise InputError(
                f"A contour of {what} is open ({shown(kind) or 'of no type'}).", "Close it, or leave it out."
            )
        values = contour.get("ContourData") or ()
        points = numbers_of(values, len(values), what).reshape(-1, 3) if len(values) % 3 == 0 else np.empty((0, 3))
        if len(points) < 3:
            raise InputError(f"A contour of {what} has {len(points)} points and encloses nothing.", "Draw it again.")
        index = geometry.to_index(points)
        level = float(np.median(index[:, 2]))
        if np.ptp(index[:, 2]) > TILTED or abs(level - round(level)) > OFF_PLANE:
            raise InputError(f"A contour of {what} lies in no slice of its scan.", "Give the scan it was drawn on.")
        if not -OFF_PLANE <= level <= geometry.size[2] - 1 + OFF_PLANE:
            raise InputError(f"A contour of {what} lies outside its scan.", "Give the scan it was drawn on.")
        polygon = index[:, :2]
        polygons = planes.setdefault(min(max(round(level), 0), geometry.size[2] - 1), [])
        if not any(len(other) == len(polygon) and np.allclose(other, polygon, atol=1e-3) for other in polygons):
            polygons.append(polygon)
    for plane, polygons in planes.items():
        if crosses(polygons):
            raise InputError(f"Contours of {what} cross in slice {plane + 1}.", "Draw them again, or repair them.")
    return planes


def _solid(planes: dict[int, list[Polygon]], geometry: Geometry) -> NDArray[np.bool_]:
    mask = np.zeros(geometry.shape, dtype=np.bool_)
    for plane, polygons in planes.items():
        mask[plane] = filled(polygons, geometry.shape[1:])
    levels = sorted(planes)
    step = int(np.median(np.diff(levels))) if len(levels) > 2 else 1
    if step > 1:
        for low, high in pairwise(levels):
            if high - low == step:
                _fill_between(mask, low, high, geometry)
    return mask


def _fill_between(mask: NDArray[np.bool_], low: int, high: int, geometry: Geometry) -> None:
    """Interpolate the slices between two by their distances to the border (Raya and Udupa 1990)."""
    below, above = (_signed_distance(mask[plane], geometry) for plane in (low, high))
    for plane in range(low + 1, high):
        share = (plane - low) / (high - low)
        mask[plane] = (1 - share) * below + share * above < 0


def _signed_distance(plane: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.float64]:
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(plane.astype(np.uint8))
    picture.SetSpacing(geometry.spacing[:2])
    distance: NDArray[np.float64] = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(picture, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    ).astype(np.float64)
    return distance


def _colour(item: Any, order: int) -> tuple[int, int, int]:
    values = [int(v) for v in item.get("ROIDisplayColor") or ()]
    if len(values) == 3 and all(0 <= value <= 255 for value in values):
        return values[0], values[1], values[2]
    return colour_of(order)
