"""A volume and its geometry: reading, writing, resampling onto a grid."""

from __future__ import annotations

import gzip
import logging
import math
import os
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.files import write_atomically, write_together
from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, keep_going

logger = logging.getLogger(__name__)

WRITABLE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
SLICE_GAP_TOLERANCE = 0.05
LARGEST_MHD = 1 << 16


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar volume in the world.

    Parameters
    ----------
    array
        Voxel values, shape ``(k, j, i)``, any real dtype. Treated as read-only.
    geometry
        Where the voxels lie (LPS, mm).
    name
        What to call the image in messages: its file or node name.
    """

    array: NDArray[np.generic]
    geometry: Geometry
    name: str = "image"

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise InputError(
                f"The voxel array of {self.name} has shape {self.array.shape}, its grid {self.geometry.shape}.",
                "Give an array ordered (k, j, i) that fits the grid.",
            )
        if self.array.dtype.kind not in "biuf":
            raise InputError(f"{self.name} has voxels of type {self.array.dtype}.", "Give a scalar image.")

    def with_array(self, array: NDArray[np.generic]) -> Image:
        """Return the same grid and name with other voxel values."""
        return Image(array, self.geometry, self.name)


def read_image(path: str | Path) -> Image:
    """Read a volume from a file SimpleITK knows, a DICOM folder, or one file of a DICOM series.

    Raises
    ------
    InputError
        If there is nothing there, it cannot be read, or it is not one scalar 3-D volume.
    """
    source = Path(path)
    try:
        if not source.exists():
            raise InputError(f"{source} does not exist.", "Check the path.")
        if source.is_dir():
            return from_sitk(_read_dicom_folder(source), str(source))
        if source.stat().st_size == 0:
            raise InputError(f"{source} is empty (0 bytes).", "Copy or export the file again.")
        return _with_non_finite(from_sitk(_read_file(source), str(source)), source)
    except PermissionError as error:
        raise InputError(f"{source} cannot be opened: no permission.", "Change its permissions.") from error
    except OSError as error:
        raise InputError(f"{source} cannot be opened: {error.strerror}.", "Check the path.") from error
    except (RuntimeError, MemoryError) as error:
        raise _unreadable(source, error) from error


def box_around(mask: Image) -> Geometry:
    """Return the part of a mask's grid that holds its nonzero voxels."""
    spans = [np.flatnonzero(mask.array.any(axis=tuple({0, 1, 2} - {axis}))) for axis in (2, 1, 0)]
    first, last = (np.array([span[end] for span in spans]) for end in (0, -1))
    i, j, k = (last - first + 1).tolist()
    x, y, z = mask.geometry.to_world(first).tolist()
    return replace(mask.geometry, size=(i, j, k), origin=(x, y, z))


def as_image(source: Image | str | Path) -> Image:
    """Return an image as it is, or read it from a path."""
    return source if isinstance(source, Image) else read_image(source)


def write_image(image: Image, path: str | Path) -> None:
    """Write a volume to `.nii[.gz]`, `.nrrd`, `.mha` or `.mhd`, through a temporary name.

    Raises
    ------
    InputError
        If the file name has another ending.
    OutputError
        If the file cannot be written, or it is an .mhd file and there is a .raw file of its name that is not its own.
    """
    write_sitk(to_sitk(image), path)


def write_sitk(picture: sitk.Image, path: str | Path) -> None:
    """Write a SimpleITK image (scalar or vector) as `write_image` does."""
    target = Path(path)
    if not target.name.lower().endswith(WRITABLE_SUFFIXES):
        raise InputError(
            f"{target.name} does not end in a format that can be written.",
            f"End it in one of {', '.join(WRITABLE_SUFFIXES)}.",
        )
    if target.name.lower().endswith(".mhd"):
        _write_mhd(picture, target)
        return
    write_atomically(target, lambda temporary: _write_picture(picture, temporary))


def from_sitk(picture: sitk.Image, name: str = "image") -> Image:
    """Turn a SimpleITK image into an `Image`.

    Raises
    ------
    InputError
        If it is not a scalar 3-D volume (4-D with a last axis of one is accepted).
    """
    if picture.GetDimension() == 4 and picture.GetSize()[3] == 1:
        picture = picture[:, :, :, 0]
    if picture.GetDimension() == 4:
        raise InputError(
            f"{name} is 4-D, {picture.GetSize()[3]} volumes in one file.", "Extract the volume to be registered."
        )
    if picture.GetDimension() != 3 or 1 in picture.GetSize():
        size = " x ".join(str(n) for n in picture.GetSize())
        raise InputError(f"{name} is a 2-D image ({size}).", "DeepReg registers 3-D volumes; give a stack of slices.")
    if picture.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{name} has {picture.GetNumberOfComponentsPerPixel()} components a voxel (colour or vector image).",
            "Convert it to a scalar volume.",
        )
    if "complex" in picture.GetPixelIDTypeAsString():
        raise InputError(f"{name} has complex voxels.", "Convert it to magnitude.")
    return Image(sitk.GetArrayFromImage(picture), geometry_of(picture, name), name)


def to_sitk(image: Image) -> sitk.Image:
    """Turn an `Image` into a SimpleITK image with the same voxel type."""
    dtype = image.array.dtype
    # ITK has no bool, no half and no long double, and its numbers are in the machine's byte order.
    known: dict[str, np.dtype[Any]] = {
        "b1": np.dtype("u1"),
        "f2": np.dtype("f4"),
        "f12": np.dtype("f8"),
        "f16": np.dtype("f8"),
    }
    array = image.array.astype(known.get(f"{dtype.kind}{dtype.itemsize}", dtype.newbyteorder("=")), copy=False)
    picture = sitk.GetImageFromArray(np.ascontiguousarray(array))
    set_geometry(picture, image.geometry)
    return picture


def geometry_of(picture: sitk.Image, name: str = "image") -> Geometry:
    """Return the grid of a 3-D SimpleITK image."""
    try:
        return Geometry(picture.GetSize(), picture.GetSpacing(), picture.GetOrigin(), picture.GetDirection())
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.hint) from error


def set_geometry(picture: sitk.Image, geometry: Geometry) -> None:
    """Give a SimpleITK image the spacing, origin and direction of a grid of the same size."""
    picture.SetSpacing(geometry.spacing)
    picture.SetOrigin(geometry.origin)
    picture.SetDirection(geometry.direction)


def resample(
    image: Image,
    geometry: Geometry,
    *,
    interpolation: str = "linear",
    background: float = 0.0,
    transform: sitk.Transform | None = None,
    poll: Poll = keep_going,
) -> Image:
    """Resample an image onto a grid.

    Parameters
    ----------
    image
        The image to sample.
    geometry
        The grid of the result.
    interpolation
        ``"linear"`` or ``"nearest"``.
    background
        Value outside the image's voxel box.
    transform
        Takes points of `geometry` to points of the image (LPS, mm); None for the identity.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        On `geometry`, dtype of `image`; whole numbers are cut off towards zero, as by SimpleITK itself.
    """
    interpolator = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}[interpolation]
    resampled = resample_sitk(to_sitk(image), geometry, transform, interpolator, background, poll)
    array = sitk.GetArrayFromImage(resampled)
    return Image(array.astype(image.array.dtype, copy=False), geometry, image.name)


def resample_sitk(
    picture: sitk.Image,
    geometry: Geometry,
    transform: sitk.Transform | None,
    interpolator: int = sitk.sitkLinear,
    background: float = 0.0,
    poll: Poll = keep_going,
) -> sitk.Image:
    """Resample a SimpleITK image as `resample` does, keeping its voxel type."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(geometry.size)
    resampler.SetOutputOrigin(geometry.origin)
    resampler.SetOutputSpacing(geometry.spacing)
    resampler.SetOutputDirection(geometry.direction)
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(float(background))
    if transform is not None:
        resampler.SetTransform(transform)
    return execute(resampler, poll, picture)


def execute(task: Any, poll: Poll, *inputs: Any) -> Any:
    """Run a SimpleITK filter and return what it makes; `poll` is called at each of its reports, and may raise to stop.

    Most filters report their progress some fifty times.
    """
    raised: list[BaseException] = []

    def on_progress() -> None:
        if raised:  # a filter reports a few times more on its way out
            return
        try:
            poll()
        except BaseException as error:  # noqa: BLE001  # it must not go through the C++ in between
            raised.append(error)
            task.Abort()

    task.AddCommand(sitk.sitkProgressEvent, on_progress)
    try:
        result = task.Execute(*inputs)
    except RuntimeError:
        if raised:
            raise raised[0] from None
        raise
    finally:
        task.RemoveAllCommands()
    if raised:  # asked to stop when it was done
        raise raised[0]
    poll()
    return result


def require_whole_file(path: str | Path) -> None:
    """Make sure that a NIfTI file holds all its voxels; ITK reads what is missing as zeros, without a word.

    Other files pass: their readers notice it themselves.

    Raises
    ------
    InputError
        If the file is truncated, or its compressed stream is damaged.
    """
    source = Path(path)
    if source.name.lower().endswith((".nii", ".nii.gz")) and not _nifti_is_whole(source):
        raise InputError(f"{source} is damaged or truncated: voxels are missing.", "Copy or export the file again.")


def _read_file(source: Path) -> sitk.Image:
    require_whole_file(source)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(source))
    reader.ReadImageInformation()
    if reader.HasMetaDataKey("0020|000e") and (reader.GetDimension() == 2 or reader.GetSize()[2:] == (1,)):
        return _read_dicom_series(source.parent, _files_of_series(source))
    return reader.Execute()


def _read_dicom_folder(folder: Path) -> sitk.Image:
    series = {
        uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }
    if not series:
        raise InputError(f"{folder} is a folder without DICOM files.", "Give a volume file or a DICOM series folder.")
    if len(series) > 1:
        examples = "; ".join(f"{Path(files[0]).name} ({len(files)} files)" for files in series.values())
        raise InputError(
            f"{folder} holds {len(series)} DICOM series.", f"Give one file of the series you mean: {examples}."
        )
    return _read_dicom_series(folder, next(iter(series.values())))


def _files_of_series(source: Path) -> tuple[str, ...]:
    # GDCM appends to the UID, and one UID may be the beginning of another, so the series is found by its files.
    folder = str(source.parent)
    for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder):
        files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, uid)
        if any(Path(name).name == source.name for name in files):
            return tuple(files)
    return (str(source),)


def _read_dicom_series(folder: Path, files: tuple[str, ...]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    picture = reader.Execute()
    if len(files) > 2:
        _check_slice_gaps(reader, len(files), folder, picture)
    return picture


def _check_slice_gaps(reader: sitk.ImageSeriesReader, count: int, folder: Path, picture: sitk.Image) -> None:
    keys = [reader.HasMetaDataKey(n, "0020|0032") for n in range(count)]
    if not all(keys):
        return
    positions = [[float(x) for x in reader.GetMetaData(n, "0020|0032").split("\\")] for n in range(count)]
    steps = np.diff(np.array(positions), axis=0)
    gaps = np.linalg.norm(steps, axis=1)
    typical = float(np.median(gaps))
    if typical == 0 or np.abs(gaps - typical).max() > SLICE_GAP_TOLERANCE * max(typical, 1e-6):
        raise InputError(
            f"The slices of the DICOM series in {folder} are unevenly spaced "
            f"({gaps.min():.2f} to {gaps.max():.2f} mm): slices are missing or several volumes are mixed.",
            "Export the series again, or convert it with a DICOM importer that resamples it.",
        )
    # ITK drops the tilt of a sheared stack and puts the voxels elsewhere.
    normal = np.array(picture.GetDirection()).reshape(3, 3)[:, 2]
    drift = np.linalg.norm(steps - (steps @ normal)[:, None] * normal, axis=1).max()
    if drift > SLICE_GAP_TOLERANCE * typical:
        raise InputError(
            f"The slices of the DICOM series in {folder} are tilted: each lies {drift:.2f} mm beside the one before.",
            "Convert it with a DICOM importer that corrects the gantry tilt.",
        )


def _write_picture(picture: sitk.Image, path: Path) -> None:
    sitk.WriteImage(picture, str(path), useCompression=True)
    # ITK's NIfTI writer does not notice a full disk.
    if path.name.lower().endswith((".nii", ".nii.gz")) and not _nifti_is_whole(path):
        raise RuntimeError("only a part of the voxels was written")


def _nifti_is_whole(path: Path) -> bool:
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            header = stream.read(348)
            length = len(header)
            while block := stream.read(1 << 22):
                length += len(block)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
    return len(header) >= 348 and length >= _nifti_length(header)


def _with_non_finite(image: Image, source: Path) -> Image:
    """Put the NaN and infinite voxels back that ITK's NIfTI reader silently replaces by zero."""
    if image.array.dtype.kind != "f" or not source.name.lower().endswith((".nii", ".nii.gz")):
        return image
    with source.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    with gzip.open(source) if compressed else source.open("rb") as stream:
        header = stream.read(348)
        layout = _nifti_floats(header)
        if layout is None:
            return image
        dtype, offset = layout
        stream.read(offset - 348)
        array = image.array.copy().reshape(-1)
        start = 0
        while start < array.size and (block := stream.read(min(1 << 22, (array.size - start) * dtype.itemsize))):
            values = np.frombuffer(block, dtype, count=len(block) // dtype.itemsize)
            bad = np.flatnonzero(~np.isfinite(values))
            array[start + bad] = values[bad]
            start += len(values)
    return image.with_array(array.reshape(image.array.shape))


def _nifti_floats(header: bytes) -> tuple[np.dtype[Any], int] | None:
    """Return the voxel type and where the voxels begin, if a NIfTI-1 header announces floats in the same file."""
    for order in "<>":
        if struct.unpack_from(f"{order}i", header)[0] == 348 and header[344:346] == b"n+":
            code = struct.unpack_from(f"{order}h", header, 70)[0]
            names = {16: "f4", 64: "f8"}
            offset = int(struct.unpack_from(f"{order}f", header, 108)[0])
            return (np.dtype(order + names[code]), offset) if code in names and offset >= 348 else None
    return None


def _nifti_length(header: bytes) -> int:
    """Return how many bytes a NIfTI-1 header promises; 0 if it is none, or its voxels lie in another file."""
    for order in "<>":
        (kind,) = struct.unpack_from(f"{order}i", header)
        if kind == 348 and header[344:346] == b"n+":
            count, *sizes = struct.unpack_from(f"{order}8h", header, 40)
            bits, offset = struct.unpack_from(f"{order}h34xf", header, 72)
            voxels = math.prod(max(n, 1) for n in sizes[: max(count, 0)])
            return int(offset) + voxels * bits // 8
    return 0


def _write_mhd(picture: sitk.Image, target: Path) -> None:
    check_mhd(target)
    data = target.with_suffix(".raw")
    array = sitk.GetArrayFromImage(picture)

    def write(folder: Path) -> None:
        array.tofile(folder / data.name)
        (folder / target.name).write_text(_mhd_header(picture, data.name), encoding="utf-8")

    write_together(target.absolute().parent, (data.name, target.name), write)


def check_mhd(path: str | Path) -> None:
    """Make sure that no file of somebody else is where the voxels of an .mhd file would go.

    Raises
    ------
    OutputError
        If there is one.
    """
    target = Path(path)
    data = target.with_suffix(".raw")
    if target.name.lower().endswith(".mhd") and os.path.lexists(data) and not _belongs_to(data, target):
        raise OutputError(
            f"{data}, where the voxels of {target.name} would go, exists already and is not of that image.",
            "Choose another name, or a format in one file such as .mha.",
        )


def _belongs_to(data: Path, header: Path) -> bool:
    """Tell whether an .mhd file names a file as that of its voxels."""
    try:
        with header.open("rb") as stream:
            text = stream.read(LARGEST_MHD).decode("utf-8", "replace")
    except OSError:
        return False
    return any(
        key.strip() == "ElementDataFile" and value.strip() == data.name
        for key, _, value in (line.partition("=") for line in text.splitlines())
    )


def _mhd_header(picture: sitk.Image, data_name: str) -> str:
    types = {"u1": "UCHAR", "i1": "CHAR", "u2": "USHORT", "i2": "SHORT", "u4": "UINT", "i4": "INT"}
    types |= {"u8": "ULONG_LONG", "i8": "LONG_LONG", "f4": "FLOAT", "f8": "DOUBLE"}
    dtype = sitk.GetArrayViewFromImage(picture).dtype
    # MetaImage lists the matrix one index axis after another.
    matrix = np.array(picture.GetDirection()).reshape(3, 3).T.ravel()
    channels = picture.GetNumberOfComponentsPerPixel()
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(dtype.byteorder == ">"),
        "CompressedData": "False",
        "TransformMatrix": " ".join(f"{m:.17g}" for m in matrix),
        "Offset": " ".join(f"{o:.17g}" for o in picture.GetOrigin()),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": " ".join(f"{s:.17g}" for s in picture.GetSpacing()),
        "DimSize": " ".join(str(n) for n in picture.GetSize()),
        "ElementNumberOfChannels": str(channels),
        "ElementType": f"MET_{types[f'{dtype.kind}{dtype.itemsize}']}",
        "ElementDataFile": data_name,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def _unreadable(source: Path, error: RuntimeError | MemoryError) -> InputError:
    text = str(error)
    if "orthonormal" in text or "direction" in text.lower():
        return InputError(
            f"{source} has a degenerate or sheared direction matrix.",
            "Repair the image header, or resample the image onto an orthogonal grid.",
        )
    if isinstance(error, MemoryError) or "allocate" in text.lower():
        return InputError(f"{source} does not fit into memory.", "Close other programs or resample the image first.")
    if "Unable to determine ImageIO reader" in text:
        return InputError(
            f"{source} is not an image file DeepReg can read.", "Give .nii, .nii.gz, .nrrd, .mha, .mhd or DICOM."
        )
    return InputError(f"{source} cannot be read: the file is damaged or truncated.", "Copy or export the file again.")
