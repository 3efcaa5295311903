"""Transforms as files."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DeepRegLib.dicom.reading import is_dicom
from DeepRegLib.dicom.series import START_BYTES, Series
from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.formats.isolated import read_elsewhere
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.image import set_geometry, write_sitk, write_with_itk
from DeepRegLib.naming import shown
from DeepRegLib.transforms import itk_text
from DeepRegLib.transforms.composite import CompositeTransform, Transform, compose, parts_of
from DeepRegLib.transforms.dicom_registration import read_dicom_registration
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.field_images import SUFFIXES as FIELD_IMAGES
from DeepRegLib.transforms.field_images import read_field
from DeepRegLib.transforms.foreign import read_foreign
from DeepRegLib.transforms.hdf5 import StoredTransform, write_hdf5
from DeepRegLib.transforms.itk import displacement_on_grid, transform_to_sitk
from DeepRegLib.transforms.linear import LinearTransform, from_matrix_and_centre
from DeepRegLib.transforms.own_hdf5 import read_own_hdf5
from DeepRegLib.transforms.plausibility import require_plausible
from DeepRegLib.transforms.rounding import power_of_two, rounded

logger = logging.getLogger(__name__)

# Displacements in HDF5 files are rounded to at most these, of mm and of a voxel.
FILE_PRECISION, FILE_PRECISION_VOXELS = 1e-4, 1e-3
HDF5_SUFFIXES = (".h5", ".hdf5")
TRANSFORM_SUFFIXES = (*HDF5_SUFFIXES, ".tfm", ".txt", ".mat")
FIELD_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")


def read_transform(
    path: str | Path,
    *,
    fixed: Geometry | None = None,
    moving: Geometry | None = None,
    fixed_series: Series | None = None,
    moving_series: Series | None = None,
) -> Transform:
    """Read an ITK transform file, a displacement field saved as a vector image, or another tool's linear transform.

    Several transforms in one ITK file are one after another, the last of the file first, as ITK's composites and ANTs
    have it. A field is taken for displacements in LPS mm unless its header says otherwise: NIfTI's displacement vectors
    and NiftyReg's fields are read for what they are, others are refused.

    Parameters
    ----------
    path
        ``.h5``, ``.hdf5``, ``.tfm``, ``.txt``, ``.mat`` of ITK and ANTs; ``.nrrd``, ``.nhdr``, ``.nii.gz``,
        ``.nii``, ``.mha``, ``.mhd`` for a field; linear transforms of AFNI (``.aff12.1D``), FSL (``.mat``),
        FreeSurfer (``.lta``), NiftyReg (``.txt``) and nitransforms (``.x5``, with h5py installed); a DICOM
        registration (``.dcm``, with pydicom installed).
    fixed, moving
        Grids of both images; a matrix of AFNI or FSL needs them, the others leave them aside.
    fixed_series, moving_series
        What the images are in DICOM; a DICOM registration is read for these two.

    Returns
    -------
    Transform
        Fixed points to moving points, LPS mm, whichever way the file has it.

    Raises
    ------
    InputError
        If the file does not exist, cannot be read, holds something else, or leads beyond all scans.

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
            if is_dicom_file(source):
                found = read_dicom_registration(source, fixed_series, moving_series)
            else:
                found = _read(source, fixed, moving)
            require_plausible(found)
            return found
        except InputError as error:
            if shown(source) in error.message:
                raise
            raise InputError(f"{shown(source)}: {error.message}", error.hint) from error


def is_dicom_file(source: Path) -> bool:
    """Tell from its first bytes whether a path is a DICOM file.

    Examples
    --------
    >>> is_dicom_file(Path("nowhere.dcm"))
    False
    """
    if not source.is_file():
        return False
    with source.open("rb") as stream:
        return is_dicom(source, stream.read(START_BYTES))


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
    raise InputError(
        f"{name} is not a transform file by its name.", "Give .h5, .tfm, .txt, .mat, .dcm or a vector image."
    )


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
    table, arrays = read_own_hdf5(source) or read_elsewhere("transform", source)
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
    return StoredTransform("DisplacementFieldTransform_double_3_3", fixed, rounded(part.array, step).reshape(-1))


def file_precision(geometry: Geometry) -> float:
    """Return the step in mm to which displacements on a grid are rounded in HDF5 files, so that they compress well.

    Examples
    --------
    >>> file_precision(Geometry((8, 8, 8), spacing=(2.0, 2.0, 2.0))) < 0.01  # mm
    True
    """
    return power_of_two(min(FILE_PRECISION, FILE_PRECISION_VOXELS * min(geometry.spacing)))


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
