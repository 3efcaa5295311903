"""Transforms as ITK objects and files."""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.formats.isolated import read_elsewhere
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.image import execute, geometry_of, set_geometry, write_sitk, write_with_itk
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.naming import shown
from DeepRegLib.transforms import itk_text
from DeepRegLib.transforms.composite import CompositeTransform, Transform, compose, parts_of
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.field_images import SUFFIXES as FIELD_IMAGES
from DeepRegLib.transforms.field_images import read_field
from DeepRegLib.transforms.foreign import read_foreign
from DeepRegLib.transforms.hdf5 import StoredTransform, write_hdf5
from DeepRegLib.transforms.linear import LinearTransform, from_matrix_and_centre

logger = logging.getLogger(__name__)

VOXELS_AT_ONCE = 1 << 20
# Displacements in HDF5 files are rounded to at most these, of mm and of a voxel.
FILE_PRECISION, FILE_PRECISION_VOXELS = 1e-4, 1e-3
HDF5_SUFFIXES = (".h5", ".hdf5")
TRANSFORM_SUFFIXES = (*HDF5_SUFFIXES, ".tfm", ".txt", ".mat")
FIELD_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")


def transform_to_sitk(transform: Transform) -> sitk.Transform:
    """Turn a transform into the SimpleITK transform that maps points the same way.

    Examples
    --------
    >>> transform_to_sitk(LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))).TransformPoint((3.0, 4.0, 5.0))
    (6.0, 4.0, 5.0)
    """
    parts = [_part_to_sitk(part) for part in parts_of(transform)]
    if len(parts) == 1:
        return parts[0]
    # ITK applies the transform added last first.
    return sitk.CompositeTransform(parts[::-1])


def transform_from_sitk(transform: sitk.Transform, name: str = "transform") -> Transform:
    """Turn a SimpleITK transform (linear, displacement field, or composite of these) into ours.

    Raises
    ------
    InputError
        If it is two-dimensional or of another kind.

    Examples
    --------
    >>> transform_from_sitk(sitk.TranslationTransform(3, (1.0, 2.0, 3.0))).apply_to_points([0.0, 0.0, 0.0]).tolist()
    [1.0, 2.0, 3.0]
    """
    if transform.GetDimension() != 3:
        raise InputError(f"{name} is a {transform.GetDimension()}-D transform.", "Give a 3-D transform.")
    concrete = transform.Downcast()
    if isinstance(concrete, sitk.CompositeTransform):
        if concrete.GetNumberOfTransforms() == 0:
            return LinearTransform.identity()
        parts = [
            transform_from_sitk(concrete.GetNthTransform(n), name)
            for n in reversed(range(concrete.GetNumberOfTransforms()))
        ]
        return compose(*parts)
    if isinstance(concrete, sitk.DisplacementFieldTransform):
        picture = concrete.GetDisplacementField()
        return DisplacementField(sitk.GetArrayFromImage(picture), geometry_of(picture, name))
    if concrete.IsLinear():
        return LinearTransform(_matrix_of(concrete))
    raise InputError(
        f"{name} is a {concrete.GetName()}, which DeepReg does not read.",
        "Convert it to a displacement field first.",
    )


def read_transform(path: str | Path, *, fixed: Geometry | None = None, moving: Geometry | None = None) -> Transform:
    """Read an ITK transform file, a displacement field saved as a vector image, or another tool's linear transform.

    Several transforms in one ITK file are one after another, the last of the file first, as ITK's composites and ANTs
    have it. A field is taken for displacements in LPS mm unless its header says otherwise: NIfTI's displacement vectors
    and NiftyReg's fields are read for what they are, others are refused.

    Parameters
    ----------
    path
        ``.h5``, ``.hdf5``, ``.tfm``, ``.txt``, ``.mat`` of ITK and ANTs; ``.nrrd``, ``.nhdr``, ``.nii.gz``,
        ``.nii``, ``.mha``, ``.mhd`` for a field; linear transforms of FSL (``.mat``), FreeSurfer (``.lta``),
        NiftyReg (``.txt``) and nitransforms (``.x5``, with h5py installed).
    fixed, moving
        Grids of both images; a matrix of FSL needs them, the others leave them aside.

    Returns
    -------
    Transform
        Fixed points to moving points, LPS mm, whichever way the file has it.

    Raises
    ------
    InputError
        If the file does not exist, cannot be read, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_transform(wider, Path(folder) / "wider.tfm")
    ...     read_transform(Path(folder) / "wider.tfm").apply_to_points([3.0, 4.0, 5.0]).tolist()
    [6.0, 4.0, 5.0]
    """
    source = Path(path)
    with guarded(source):
        if not source.exists():
            raise InputError(f"{shown(source)} does not exist.", "Check the path.")
        try:
            return _read(source, fixed, moving)
        except InputError as error:
            if shown(source) in error.message:
                raise
            raise InputError(f"{shown(source)}: {error.message}", error.hint) from error


def _read(source: Path, fixed: Geometry | None, moving: Geometry | None) -> Transform:
    name, lower = shown(source), source.name.lower()
    if source.is_dir():
        raise InputError(f"{name} is a folder.", "Give a transform file.")
    if source.stat().st_size == 0:
        raise InputError(f"{name} is empty (0 bytes).", "Copy or export the file again.")
    if lower.endswith(FIELD_IMAGES):
        return read_field(source)
    foreign = read_foreign(source, fixed, moving)
    if foreign is not None:
        return foreign
    if lower.endswith(itk_text.SUFFIXES):
        return _read_list(source, name)
    if lower.endswith((".h5", ".hdf5")):
        return _read_hdf5(source)
    raise InputError(f"{name} is not a transform file by its name.", "Give .h5, .tfm, .txt, .mat or a vector image.")


def _read_list(source: Path, name: str) -> Transform:
    entries = itk_text.read_entries(source)
    if len(entries) > 1 and entries[0].kind != "CompositeTransform":
        logger.warning(
            "%s lists %d transforms: they are applied one after another, the last of the file first.",
            name,
            len(entries),
        )
    return compose(*(itk_text.parts_of_entries(entries, name) or [LinearTransform.identity()]))


def _read_hdf5(source: Path) -> Transform:
    name = shown(source)
    table, arrays = read_elsewhere("transform", source)
    remaining = iter(arrays)
    parts: list[Transform] = []
    for entry in table["parts"]:
        if entry["dimension"] != 3:
            raise InputError(f"{name} is a {entry['dimension']}-D transform.", "Give a 3-D transform.")
        if "shape" in entry:
            i, j, k = (int(n) for n in entry["shape"][2::-1])
            geometry = Geometry((i, j, k), *(tuple(entry[key]) for key in ("spacing", "origin", "direction")))
            parts.append(DisplacementField(next(remaining), geometry))
        elif entry["linear"]:
            parts.append(_linear_part(entry))
        else:
            raise itk_text.refusal_of_kind(entry["kind"], name)
    return compose(*parts[::-1]) if parts else LinearTransform.identity()


def _linear_part(entry: dict[str, Any]) -> LinearTransform:
    parameters, fixed = np.array(entry["parameters"]), np.array(entry["fixed"])
    if entry["kind"] == "AffineTransform":
        return from_matrix_and_centre(parameters[:9].reshape(3, 3), parameters[9:12], fixed)
    origin, *ends = (np.array(point) for point in entry["points"])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.stack([end - origin for end in ends], axis=1) / 1000.0, origin
    return LinearTransform(matrix)


def write_transform(transform: Transform, path: str | Path, geometry: Geometry | None = None) -> None:
    """Write a transform as an ITK file, or sampled on a grid as a vector image (mm, LPS, float32).

    Parameters
    ----------
    transform
        The transform to write.
    path
        ``.h5``, ``.hdf5``, ``.tfm``, ``.txt``, ``.mat`` for the transform itself, fields in the first two in float32,
        compressed, rounded to less than 1e-4 mm and 1e-3 voxels (`file_precision`); ``.nrrd``, ``.nii.gz``, ``.nii``,
        ``.mha`` for the displacement field on `geometry`.
    geometry
        The grid of the vector image; needed only there.

    Raises
    ------
    InputError
        If the ending is another, or a grid is needed and missing.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> grid = Geometry((4, 3, 2))
    >>> with tempfile.TemporaryDirectory() as folder:  # as the field of a linear transform on a grid
    ...     write_transform(LinearTransform.identity(), Path(folder) / "still.nii.gz", grid)
    ...     read_transform(Path(folder) / "still.nii.gz").geometry.size
    (4, 3, 2)
    """
    target = Path(path)
    name = target.name.lower()
    if name.endswith(".mat") and isinstance(transform, CompositeTransform):
        raise InputError(
            f"{target.name} would hold a composite transform, and a .mat file holds one.", "Write an .h5 file."
        )
    if name.endswith(HDF5_SUFFIXES):
        stored = _stored(transform)
        write_atomically(target, lambda temporary: write_hdf5(stored, temporary))
    elif name.endswith(TRANSFORM_SUFFIXES):
        concrete = transform_to_sitk(transform)
        suffix = target.suffix.lower()
        write = partial(sitk.WriteTransform, concrete)
        write_atomically(target, lambda temporary: write_with_itk(temporary, suffix, write))
    elif name.endswith(FIELD_SUFFIXES):
        write_sitk(_field_picture(transform, geometry), target)
    else:
        endings = ", ".join(TRANSFORM_SUFFIXES + FIELD_SUFFIXES)
        raise InputError(f"{target.name} does not end in a transform format.", f"End it in one of {endings}.")


def displacement_on_grid(transform: Transform, geometry: Geometry, *, poll: Poll = never_cancel) -> NDArray[np.float64]:
    """Return T(x) - x in mm (LPS) at every voxel centre x of a grid, shape ``(k, j, i, 3)``, float64.

    `poll` is called now and then and may raise to stop. `DisplacementPlanes` takes less memory.

    Examples
    --------
    >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> displacement_on_grid(wider, Geometry((4, 3, 2)))[0, 0, 3].tolist()
    [3.0, 0.0, 0.0]
    """
    return _sampled(transform_to_sitk(transform), geometry, poll)


def _sampled(chain: sitk.Transform, geometry: Geometry, poll: Poll) -> NDArray[np.float64]:
    sampler = sitk.TransformToDisplacementFieldFilter()
    sampler.SetOutputPixelType(sitk.sitkVectorFloat64)
    sampler.SetSize(geometry.size)
    sampler.SetOutputOrigin(geometry.origin)
    sampler.SetOutputSpacing(geometry.spacing)
    sampler.SetOutputDirection(geometry.direction)
    field = execute(sampler, poll, chain)
    view = sitk.GetArrayViewFromImage(field)
    displacement = np.empty(view.shape, dtype=np.float64)
    thickness = max(1, VOXELS_AT_ONCE // (geometry.shape[1] * geometry.shape[2]))
    for start in range(0, len(view), thickness):  # hundreds of megabytes, which take a while
        poll()
        displacement[start : start + thickness] = view[start : start + thickness]
    return displacement


def _part_to_sitk(part: LinearTransform | DisplacementField) -> sitk.Transform:
    if isinstance(part, LinearTransform):
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(part.matrix[:3, :3].ravel().tolist())
        affine.SetTranslation(part.matrix[:3, 3].tolist())
        return affine
    picture = sitk.GetImageFromArray(part.array.astype(np.float64), isVector=True)
    set_geometry(picture, part.geometry)
    return sitk.DisplacementFieldTransform(picture)


def _stored(transform: Transform) -> list[StoredTransform]:
    """Return a transform as the parts that ITK stores, the one added last, which is applied first, at the end."""
    parts = [_stored_part(part) for part in reversed(parts_of(transform))]
    return parts if len(parts) == 1 else [StoredTransform("CompositeTransform_double_3_3"), *parts]


def _stored_part(part: LinearTransform | DisplacementField) -> StoredTransform:
    if isinstance(part, LinearTransform):
        affine = np.concatenate([part.matrix[:3, :3].ravel(), part.matrix[:3, 3]])
        return StoredTransform("AffineTransform_double_3_3", np.zeros(3), affine)
    grid = part.geometry
    fixed = np.array([*grid.size, *grid.origin, *grid.spacing, *grid.direction], dtype=np.float64)
    step = file_precision(grid)
    return StoredTransform("DisplacementFieldTransform_double_3_3", fixed, _rounded(part.array, step))


def file_precision(geometry: Geometry) -> float:
    """Return the step in mm to which displacements on a grid are rounded in HDF5 files, so that they compress well.

    Examples
    --------
    >>> file_precision(Geometry((8, 8, 8), spacing=(2.0, 2.0, 2.0))) < 0.01  # mm
    True
    """
    finest = min(FILE_PRECISION, FILE_PRECISION_VOXELS * min(geometry.spacing))
    return float(2.0 ** math.floor(math.log2(finest)))


def _rounded(array: NDArray[np.floating], step: float) -> NDArray[np.float32]:
    values = np.multiply(array, 1 / step, dtype=np.float64 if array.dtype == np.float64 else np.float32).reshape(-1)
    np.rint(values, out=values)
    values *= step
    return values.astype(np.float32, copy=False)


def _matrix_of(transform: sitk.Transform) -> NDArray[np.float64]:
    matrix = np.eye(4)
    if isinstance(transform, sitk.AffineTransform):
        # Taken as stored, so that a file written and read again maps to the same bits.
        centre = np.array(transform.GetCenter())
        matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
        matrix[:3, 3] = np.array(transform.GetTranslation()) + (centre - matrix[:3, :3] @ centre)
        return matrix
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    # Columns are taken 1000 mm out so that a small rotation is not lost to rounding against a far origin.
    reach = 1000.0
    columns = [np.array(transform.TransformPoint(tuple(axis))) - origin for axis in np.eye(3) * reach]
    matrix[:3, :3] = np.stack(columns, axis=1) / reach
    matrix[:3, 3] = origin
    return matrix


def _field_picture(transform: Transform, geometry: Geometry | None) -> sitk.Image:
    if isinstance(transform, DisplacementField) and geometry is None:
        array, grid = transform.array, transform.geometry
    elif geometry is None:
        kind = "composite" if isinstance(transform, CompositeTransform) else "linear"
        raise InputError(
            f"A {kind} transform can be written as a displacement field only on a grid.",
            "Give a reference image, or write an .h5 file.",
        )
    else:
        array, grid = displacement_on_grid(transform, geometry), geometry
    picture = sitk.GetImageFromArray(array.astype(np.float32), isVector=True)
    set_geometry(picture, grid)
    return picture
