"""The data file that a header names: one in the header's own folder, and nothing else on the disk."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from DeepRegLib.errors import InputError
from DeepRegLib.naming import shown


def file_beside(header: Path, name: str) -> Path:
    """Return the file of that name in the folder of a header.

    Raises
    ------
    InputError
        If the name leads out of the folder, names a list or a pattern of files, or there is no such file.
    """
    plain = name.strip().removeprefix("./").removeprefix(".\\")
    if plain.split(" ")[0].upper() == "LIST" or "%" in plain:
        raise InputError(
            f"The voxels of {shown(header)} lie in several files.",
            "Save it as one file, .nii.gz or .nrrd for instance.",
        )
    if not plain or plain in (".", "..") or PurePosixPath(plain).name != plain or PureWindowsPath(plain).name != plain:
        raise InputError(
            f"{shown(header)} names the data file {shown(plain[:100])!r}, which is not in its own folder.",
            "Put both files into one folder and correct the header.",
        )
    # Headers are read as bytes; a name may hold any of them.
    for encoding in ("utf-8", "latin-1"):
        path = header.with_name(plain.encode("latin-1", "surrogateescape").decode(encoding, "surrogateescape"))
        if path.is_file():
            if path.is_symlink() and path.resolve().parent != header.parent.resolve():
                raise InputError(
                    f"The data file {shown(plain)} of {shown(header)} is a link that leads out of its folder.",
                    "Put the file itself beside the header.",
                )
            return path
    raise InputError(f"The data file {shown(plain)} of {shown(header)} is missing.", "Copy both files together.")
