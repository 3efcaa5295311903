"""Volumes out of files: which reader takes a file, and what of it can be registered."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.dicom.reading import is_dicom, read_dicom
from DeepRegLib.errors import InputError
from DeepRegLib.formats.gipl import SUFFIXES as GIPL_SUFFIXES
from DeepRegLib.formats.gipl import read_gipl
from DeepRegLib.formats.isolated import read_with_itk
from DeepRegLib.formats.metaimage import SUFFIXES as METAIMAGE_SUFFIXES
from DeepRegLib.formats.metaimage import metaimage_sizes, read_metaimage
from DeepRegLib.formats.nifti import SUFFIXES as NIFTI_SUFFIXES
from DeepRegLib.formats.nifti import is_nifti, nifti_sizes, read_nifti, spool_nifti
from DeepRegLib.formats.nrrd import MAGIC as NRRD_MAGIC
from DeepRegLib.formats.nrrd import SUFFIXES as NRRD_SUFFIXES
from DeepRegLib.formats.nrrd import nrrd_sizes, read_nrrd, spool_nrrd
from DeepRegLib.formats.raster import LARGEST_VALUE, Raster, Spooled, native, overflown
from DeepRegLib.formats.streams import first_bytes
from DeepRegLib.formats.vtk import SUFFIXES as VTK_SUFFIXES
from DeepRegLib.formats.vtk import read_vtk
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.image.volume import Image
from DeepRegLib.naming import shown

logger = logging.getLogger(__name__)

HEADER_BYTES = 540
DICOM_SERIES = "DICOM series"


def read_image(path: str | Path) -> Image:
    """Read a volume from a file, a DICOM folder, or one file of a DICOM series.

    NIfTI, NRRD, MetaImage, GIPL and VTK files are checked and read here; what else ITK knows is read by it in a process
    of its own. Nothing outside the file's own folder is opened.

    Returns
    -------
    Image
        Named as the path; a DICOM series is called that, for its folder often bears the patient's name.

    Raises
    ------
    InputError
        If there is nothing there, it cannot be read, or it is not one scalar 3-D volume.

    Examples
    --------
    >>> import tempfile
    >>> from DeepRegLib.image import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Image(np.zeros((2, 3, 4), dtype=np.int16), Geometry((4, 3, 2))), Path(folder) / "scan.nii.gz")
    ...     scan = read_image(Path(folder) / "scan.nii.gz")
    >>> scan.geometry.size, scan.array.dtype.name
    ((4, 3, 2), 'int16')
    """
    source = Path(path)
    with guarded(source):
        image = from_raster(read_raster(source), shown(source))
        return replace(image, name=DICOM_SERIES) if _holds_dicom(source) else image


def _holds_dicom(source: Path) -> bool:
    """Tell whether a path is of DICOM, whose files and folders often bear the patient's name."""
    if source.is_dir():
        return True
    with source.open("rb") as stream:
        return is_dicom(source, stream.read(132))


def as_image(source: Image | str | Path) -> Image:
    """Return an image as it is, or read it from a path.

    Examples
    --------
    >>> scan = Image(np.zeros((2, 3, 4)), Geometry((4, 3, 2)))
    >>> as_image(scan) is scan
    True
    """
    return source if isinstance(source, Image) else read_image(source)


def read_raster(source: Path) -> Raster:
    """Read what a file or DICOM folder holds, of any number of axes and components.

    Raises
    ------
    InputError
        If it cannot be read. Others may escape: wrap it in `guarded`.

    Examples
    --------
    >>> import tempfile
    >>> from DeepRegLib.image import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Image(np.zeros((2, 3, 4), dtype=np.int16), Geometry((4, 3, 2))), Path(folder) / "scan.nii.gz")
    ...     scan = read_raster(Path(folder) / "scan.nii.gz")
    >>> scan.channels, scan.spacing
    (1, (1.0, 1.0, 1.0))
    """
    name = shown(source)
    if not source.exists():
        raise InputError(f"{name} does not exist.", "Check the path.")
    if source.is_dir():
        return read_dicom(source)
    if not source.is_file():
        raise InputError(f"{name} is neither a file nor a folder.", "Give a volume file.")
    if source.stat().st_size == 0:
        raise InputError(f"{name} is empty (0 bytes).", "Copy or export the file again.")
    start = first_bytes(source, HEADER_BYTES)
    lower = source.name.lower()
    if start.startswith(NRRD_MAGIC) or lower.endswith(NRRD_SUFFIXES):
        return read_nrrd(source)
    if lower.endswith(METAIMAGE_SUFFIXES):
        return read_metaimage(source)
    if is_nifti(start) or lower.endswith(NIFTI_SUFFIXES):
        return read_nifti(source)
    if is_dicom(source, start):
        return read_dicom(source)
    if lower.endswith(GIPL_SUFFIXES):
        return read_gipl(source)
    if lower.endswith(VTK_SUFFIXES):
        return read_vtk(source)
    return read_with_itk(source)


def spool_raster(source: Path) -> Spooled:
    """As `read_raster`, but voxels of NIfTI and NRRD files stay on disk until they are looked at.

    Examples
    --------
    >>> import tempfile
    >>> from DeepRegLib.image import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Image(np.full((2, 3, 4), 7, dtype=np.int16), Geometry((4, 3, 2))), Path(folder) / "scan.nii.gz")
    ...     spooled = spool_raster(Path(folder) / "scan.nii.gz")
    >>> int(spooled.finished(np.array(spooled.raster.array[0])).max())
    7
    """
    if source.is_file() and source.stat().st_size > 0:
        start, lower = first_bytes(source, HEADER_BYTES), source.name.lower()
        if start.startswith(NRRD_MAGIC) or lower.endswith(NRRD_SUFFIXES):
            return spool_nrrd(source)
        if is_nifti(start) or lower.endswith(NIFTI_SUFFIXES):
            return spool_nifti(source)
    return Spooled(read_raster(source), native)


def sizes_in_header(path: str | Path) -> tuple[int, ...] | None:
    """Return how many voxels the header of a file claims along each axis, without reading the voxels.

    Returns
    -------
    tuple of int or None
        None for a DICOM series, and for a format that only ITK reads.

    Raises
    ------
    InputError
        If there is nothing there, or the header cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from DeepRegLib.image import write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Image(np.zeros((2, 3, 4), dtype=np.int16), Geometry((4, 3, 2))), Path(folder) / "scan.nii.gz")
    ...     sizes_in_header(Path(folder) / "scan.nii.gz")
    (4, 3, 2)
    """
    source = Path(path)
    with guarded(source):
        if source.is_dir():
            return None
        start, lower = first_bytes(source, HEADER_BYTES), source.name.lower()
        if not start:
            raise InputError(f"{shown(source)} is empty (0 bytes).", "Copy or export the file again.")
        if start.startswith(NRRD_MAGIC) or lower.endswith(NRRD_SUFFIXES):
            return nrrd_sizes(source)
        if lower.endswith(METAIMAGE_SUFFIXES):
            return metaimage_sizes(source)
        if is_nifti(start) or lower.endswith(NIFTI_SUFFIXES):
            return nifti_sizes(source)
        return None


def from_raster(raster: Raster, name: str) -> Image:
    """Turn what a file holds into an `Image`, and log what the user should know of it.

    Raises
    ------
    InputError
        If it is not a scalar 3-D volume (further axes of one voxel are accepted), or single precision cannot hold it.

    Examples
    --------
    >>> raster = Raster(np.zeros((1, 2, 3, 4)), 1, (1.0,) * 4, (0.0,) * 4, np.eye(3))  # a fourth axis of one voxel
    >>> from_raster(raster, "scan").array.shape
    (2, 3, 4)
    """
    array = _one_volume(raster, name)
    if array.dtype.itemsize > 4 and overflown(array, array):
        raise InputError(f"{name} has values beyond {LARGEST_VALUE:.1g}.", "Scale them, or export the file again.")
    for remark in raster.remarks:
        logger.warning("%s", remark)
    return Image(array, grid_of(raster, name), name)


def grid_of(raster: Raster, name: str) -> Geometry:
    """Return the grid of a raster's first three axes.

    Raises
    ------
    InputError
        If they are not orthonormal, or a spacing is not positive.

    Examples
    --------
    >>> raster = Raster(np.zeros((2, 3, 4)), 1, (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), np.eye(3))
    >>> grid_of(raster, "scan").spacing
    (1.0, 1.0, 5.0)
    """
    shape = raster.array.shape[:-1] if raster.channels > 1 else raster.array.shape
    spacing = np.array(raster.spacing[:3])
    if not np.all(np.isfinite(spacing)) or not np.all(spacing > 0):
        numbers = tuple(float(step) for step in spacing)
        raise InputError(
            f"{name} has a voxel spacing of {numbers} mm: its spacing or direction is degenerate.",
            "Repair the image header.",
        )
    if raster.direction is None:
        raise InputError(
            f"{name} has a degenerate or sheared direction matrix.",
            "Repair the image header, or resample the image onto an orthogonal grid.",
        )
    size = (int(shape[-1]), int(shape[-2]), int(shape[-3]))
    x, y, z = (float(c) for c in raster.origin[:3])
    i, j, k = spacing.tolist()
    direction = tuple(np.asarray(raster.direction).ravel().tolist())
    try:
        return Geometry(size, (i, j, k), (x, y, z), direction)
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.hint) from error


def _one_volume(raster: Raster, name: str) -> NDArray[Any]:
    array, channels = raster.array, raster.channels
    axes = array.shape[: array.ndim - (channels > 1)]
    if channels > 1:
        raise _components_refused(raster, name)
    if array.dtype.kind == "c":
        raise InputError(f"{name} has complex voxels.", "Convert it to magnitude.")
    while len(axes) > 3 and axes[0] == 1:
        array, axes = array[0], axes[1:]
    if len(axes) > 3:
        count = int(np.prod(axes[:-3]))
        raise InputError(
            f"{name} is {len(axes)}-D, {count} volumes in one file.", "Extract the volume to be registered."
        )
    if len(axes) < 3 or 1 in axes:
        size = " x ".join(str(n) for n in axes[::-1])
        raise InputError(f"{name} is a 2-D image ({size}).", "DeepReg registers 3-D volumes; give a stack of slices.")
    return array


def _components_refused(raster: Raster, name: str) -> InputError:
    count = raster.channels
    if any(key.startswith("Segment") for key in raster.marks) or name.lower().endswith(".seg.nrrd"):
        return InputError(
            f"{name} is a segmentation of {count} layers, whose segments overlap.",
            "Carry it over with deepreg apply, or export its segments as a label map without overlap.",
        )
    if raster.marks.get("component kind", "").lower() in ("list", "time", "vector") and count > 4:
        return InputError(f"{name} holds {count} volumes in one file.", "Extract the volume to be registered.")
    kind = "colour or vector image"
    return InputError(f"{name} has {count} components a voxel ({kind}).", "Convert it to a scalar volume.")
