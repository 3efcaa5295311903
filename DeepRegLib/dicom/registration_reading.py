"""Spatial Registration and Deformable Spatial Registration objects, as they stand in the file (PS3.3 C.20.2, C.20.3).

The two kinds run opposite ways. A matrix of a Spatial Registration takes points of the item's images to the registered
frame of reference. A Deformable Spatial Registration takes points of the registered frame of reference to the item's
images: by the pre-deformation matrix, then the grid, then the post-deformation matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.reading import without_pydicom_messages
from DeepRegLib.dicom.series import require_pydicom
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.naming import shown

SPATIAL = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.3"
AGAIN = "Export the registration again."
MOST_VECTORS = 1 << 29


@dataclass(frozen=True, eq=False)
class Grid:
    """Displacements on a grid.

    Parameters
    ----------
    array
        ``(k, j, i, 3)``, float32, mm, LPS; zero where the file says that nothing is known.
    geometry
        The grid.
    unknown
        How many of its vectors the file leaves undefined.
    """

    array: NDArray[np.float32]
    geometry: Geometry
    unknown: int = 0


@dataclass(frozen=True, eq=False)
class Item:
    """One frame of reference, and how it is registered.

    Parameters
    ----------
    frame
        UID of its frame of reference; empty if the file tells the images only.
    instances
        SOP instance UIDs of the images it is of; empty if it is of the whole frame.
    matrices
        ``(4, 4)``, LPS mm, in the order they are applied. Of a Spatial Registration: the item's points to the
        registered frame. Of a deformable one: pre-deformation and post-deformation matrix.
    grid
        Of a deformable one: what comes between the two, registered frame to the item's; None if nothing does.
    """

    frame: str
    instances: frozenset[str]
    matrices: tuple[NDArray[np.float64], ...]
    grid: Grid | None = None


@dataclass(frozen=True, eq=False)
class RegistrationObject:
    """What a file says.

    Parameters
    ----------
    frame
        UID of the registered frame of reference.
    deformable
        Which of the two kinds it is, and so which way its items run.
    items
        In the file's order.
    """

    frame: str
    deformable: bool
    items: tuple[Item, ...]


def read_registration_object(source: str | Path) -> RegistrationObject:
    """Read a file of either kind.

    Raises
    ------
    InputError
        If pydicom is missing, or the file is of another kind or damaged.
    """
    path = Path(source)
    with guarded(path), without_pydicom_messages():
        path.stat()
        require_pydicom()
        from pydicom import dcmread

        dataset = dcmread(path, force=True)
        name, kind = shown(path), str(dataset.get("SOPClassUID", ""))
        if kind not in (SPATIAL, DEFORMABLE):
            what = str(dataset.get("Modality", "")) or "unknown kind"
            raise InputError(
                f"{name} is a DICOM file of another kind ({shown(what)}).", "Give a registration, of modality REG."
            )
        if not dataset.get("FrameOfReferenceUID"):
            raise InputError(f"{name} names no frame of reference that it registers to.", AGAIN)
        key = "DeformableRegistrationSequence" if kind == DEFORMABLE else "RegistrationSequence"
        read = _deformable_item if kind == DEFORMABLE else _spatial_item
        items = tuple(read(item, name) for item in dataset.get(key) or ())
        if not items:
            raise InputError(f"{name} holds no registration.", AGAIN)
        return RegistrationObject(str(dataset.FrameOfReferenceUID), kind == DEFORMABLE, items)


def _spatial_item(item: Any, name: str) -> Item:
    matrices = [
        _matrix(entry, name)
        for registration in item.get("MatrixRegistrationSequence") or ()
        for entry in registration.get("MatrixSequence") or ()
    ]
    if not matrices:
        raise InputError(f"{name} has an item without a matrix.", AGAIN)
    return _item(item.get("FrameOfReferenceUID"), item, tuple(matrices), None, name)


def _deformable_item(item: Any, name: str) -> Item:
    matrices = []
    for key in ("PreDeformationMatrixRegistrationSequence", "PostDeformationMatrixRegistrationSequence"):
        entries = item.get(key) or ()
        matrices.append(_matrix(entries[0], name) if entries else np.eye(4))
    grids = item.get("DeformableRegistrationGridSequence") or ()
    grid = _grid(grids[0], name) if grids else None
    return _item(item.get("SourceFrameOfReferenceUID"), item, tuple(matrices), grid, name)


def _item(frame: Any, item: Any, matrices: tuple[NDArray[np.float64], ...], grid: Grid | None, name: str) -> Item:
    images = item.get("ReferencedImageSequence") or ()
    instances = frozenset(str(image.get("ReferencedSOPInstanceUID", "")) for image in images) - {""}
    if not frame and not instances:
        raise InputError(f"{name} has an item without a frame of reference and without images.", AGAIN)
    return Item(str(frame or ""), instances, matrices, grid)


def _matrix(entry: Any, name: str) -> NDArray[np.float64]:
    numbers = np.array([float(v) for v in entry.get("FrameOfReferenceTransformationMatrix") or ()], dtype=np.float64)
    if numbers.shape != (16,) or not np.all(np.isfinite(numbers)):
        raise InputError(f"{name} has a matrix of {numbers.size} numbers where 16 belong.", AGAIN)
    matrix = numbers.reshape(4, 4)
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6 or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        raise InputError(f"{name} has a matrix that is singular, or not affine.", AGAIN)
    matrix[3] = (0, 0, 0, 1)
    return matrix


def _grid(entry: Any, name: str) -> Grid:
    size = [int(n) for n in entry.GridDimensions]
    spacing = [float(s) for s in entry.GridResolution]
    x, y, z = (float(p) for p in entry.ImagePositionPatient)
    if len(size) != 3 or len(spacing) != 3 or min(size) < 1 or np.prod(size, dtype=np.float64) > MOST_VECTORS:
        raise InputError(f"{name} has a deformation grid of {size} points.", AGAIN)
    data = entry.VectorGridData
    values = np.frombuffer(data, dtype="<f4") if isinstance(data, bytes) else np.asarray(data, dtype=np.float32)
    if values.size < 3 * int(np.prod(size)):
        raise InputError(f"{name} is damaged: its deformation grid has {values.size // 3} vectors of {size}.", AGAIN)
    array = values[: 3 * int(np.prod(size))].reshape(size[2], size[1], size[0], 3).astype(np.float32)
    unknown = ~np.isfinite(array).all(axis=-1)
    array[unknown] = 0
    axes = np.array([float(c) for c in entry.ImageOrientationPatient]).reshape(2, 3)
    direction = np.column_stack([*axes, np.cross(axes[0], axes[1])])
    geometry = Geometry(
        (size[0], size[1], size[2]),
        (spacing[0], spacing[1], spacing[2]),
        (x, y, z),
        tuple(float(d) for d in direction.ravel()),
    )
    return Grid(array, geometry, int(unknown.sum()))
