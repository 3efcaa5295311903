"""Volumes into files."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.files import write_atomically, write_together
from DeepRegLib.formats.nifti import read_nifti
from DeepRegLib.image.conversion import to_sitk
from DeepRegLib.image.itk_files import write_with_itk
from DeepRegLib.image.volume import Image
from DeepRegLib.naming import shown

WRITABLE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
LARGEST_MHD = 1 << 16


def write_image(image: Image, path: str | Path) -> None:
    """Write a volume to `.nii[.gz]`, `.nrrd`, `.mha` or `.mhd`, through a temporary name.

    Raises
    ------
    InputError
        If the file name has another ending.
    OutputError
        If the file cannot be written, or it is an .mhd file and there is a .raw file of its name that is not its own.

    Examples
    --------
    >>> import tempfile
    >>> from DeepRegLib.geometry import Geometry
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Image(np.zeros((2, 3, 4), dtype=np.int16), Geometry((4, 3, 2))), Path(folder) / "scan.nrrd")
    ...     [path.name for path in Path(folder).iterdir()]
    ['scan.nrrd']
    """
    write_sitk(to_sitk(image), path)


def write_sitk(picture: sitk.Image, path: str | Path) -> None:
    """Write a SimpleITK image (scalar or vector) as `write_image` does.

    Examples
    --------
    >>> write_sitk(sitk.Image([4, 3, 2], sitk.sitkInt16), "scan.png")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    DeepRegLib.errors.InputError: scan.png does not end in a format that can be written. End it in one of ...
    """
    target = Path(path)
    suffix = next((ending for ending in WRITABLE_SUFFIXES if target.name.lower().endswith(ending)), None)
    if suffix is None:
        raise InputError(
            f"{shown(target.name)} does not end in a format that can be written.",
            f"End it in one of {', '.join(WRITABLE_SUFFIXES)}.",
        )
    if suffix == ".mhd":
        _write_mhd(picture, target)
        return
    write_atomically(target, lambda temporary: write_with_itk(temporary, suffix, partial(_write_picture, picture)))


def _write_picture(picture: sitk.Image, name: str) -> None:
    sitk.WriteImage(picture, name, useCompression=True)
    # ITK's NIfTI writer does not notice a full disk.
    if name.endswith((".nii", ".nii.gz")):
        try:
            read_nifti(Path(name))
        except InputError as error:
            raise RuntimeError("only a part of the voxels was written") from error


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

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_mhd(Path(folder) / "scan.mhd")  # nothing is in the way
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
