"""Which of the files that other tools write is which: AFNI, FSL, FreeSurfer, NiftyReg, nitransforms."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms.afni import afni_transform
from DeepRegLib.transforms.fsl import fsl_transform
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.lta import lta_transform
from DeepRegLib.transforms.niftyreg import niftyreg_transform
from DeepRegLib.transforms.x5 import read_x5

ITK_TEXT = b"#Insight Transform File"
# A matrix of text is short; ITK's own .mat is binary.
LONGEST_TEXT = 1 << 16


def read_foreign(source: Path, fixed: Geometry | None, moving: Geometry | None) -> LinearTransform | None:
    r"""Read a linear transform that another tool wrote; None if the file is not known as one.

    Parameters
    ----------
    source
        ``.lta`` (FreeSurfer), ``.x5`` (nitransforms), ``.1D`` (AFNI), text in ``.mat`` (FSL) or ``.txt``
        (NiftyReg).
    fixed, moving
        Grids of the images; needed for AFNI and FSL only.

    Raises
    ------
    InputError
        If it is known and cannot be read, or AFNI's or FSL's and a grid is missing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "aff.txt"
    ...     _ = file.write_text("1 0 0 1\n0 1 0 2\n0 0 1 3\n0 0 0 1")  # of NiftyReg: RAS
    ...     transform = read_foreign(file, None, None)
    >>> transform.apply_to_points([0.0, 0.0, 0.0]).tolist()  # LPS
    [-1.0, -2.0, 3.0]
    """
    suffix, name = source.suffix.lower(), str(source)
    if suffix == ".x5":
        return read_x5(source)
    if suffix not in (".lta", ".1d", ".mat", ".txt") or (suffix in (".mat", ".txt") and not _is_matrix(source)):
        return None
    if source.stat().st_size > LONGEST_TEXT:
        raise InputError(f"{source} is too long for one linear transform.", "Check the transform file.")
    text = source.read_text(encoding="utf-8", errors="replace")
    if suffix == ".lta":
        return lta_transform(text, name)
    if suffix == ".txt":
        return niftyreg_transform(text, name)
    tool, read = ("AFNI", afni_transform) if suffix == ".1d" else ("FSL", fsl_transform)
    if fixed is None or moving is None:
        raise InputError(
            f"{source} is a matrix of {tool}, which says nothing without the grids of both images.",
            "Give the fixed and the moving image too.",
        )
    return read(text, fixed, moving, name)


def _is_matrix(source: Path) -> bool:
    """Whether a file holds sixteen numbers as text, and nothing else."""
    if source.stat().st_size > LONGEST_TEXT:
        return False
    content = source.read_bytes()
    if content.startswith(ITK_TEXT):
        return False
    try:
        words = [float(word) for word in content.decode("ascii").split()]
    except ValueError:
        return False
    return len(words) == 16
