"""Files written by ITK under any name that a file can have."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from DeepRegLib.naming import shown


def write_with_itk(path: Path, suffix: str, write: Callable[[str], object]) -> None:
    """Have ITK write a file, and give it its name.

    ITK writes neither under a name with two endings (`o.nii.gz.nii.gz` becomes `o.nii.gz`) nor under one that is not
    UTF-8, which makes SimpleITK abort the whole program.

    Parameters
    ----------
    path
        The file; its folder exists.
    suffix
        The ending, in lower case, that tells ITK the format.
    write
        Writes to the name it is given.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.nii.gz.nii.gz"
    ...     write_with_itk(file, ".nii.gz", lambda name: Path(name).write_bytes(b""))
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.nii.gz.nii.gz']
    """
    plain = f".{uuid.uuid4().hex[:12]}{suffix}"
    if shown(path.parent) != str(path.parent):
        with tempfile.TemporaryDirectory() as folder:
            elsewhere = Path(folder) / plain
            write(str(elsewhere))
            shutil.copyfile(elsewhere, path)
        return
    beside = path.with_name(plain)
    try:
        write(str(beside))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
