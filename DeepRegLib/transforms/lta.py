"""Linear transforms of FreeSurfer (`.lta`).

The matrix takes points of the *source* to points of the *destination*: from RAS mm to RAS mm (type 1), or from voxels
to voxels (type 0). The source is what is moved, so a registration's file is read the other way round: fixed to
moving. The file tells the grids of both.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.matrices import from_ras, inverted, matrix_of_text

VOXELS, RAS = 0, 1
_KINDS = {2: "physical voxels", 14: "register.dat", 21: "COR to COR"}
_FIELD = re.compile(r"^[ \t]*(?P<key>\w+)[ \t]*=[ \t]*(?P<value>.*?)[ \t]*$", re.MULTILINE)
_MATRIX = re.compile(r"^\s*1 4 4\s*\n(?P<rows>(?:.*\n){4})", re.MULTILINE)
_VECTORS = ("volume", "voxelsize", "xras", "yras", "zras", "cras")


def lta_transform(text: str, name: str = "transform") -> LinearTransform:
    r"""Return the transform that the text of an LTA file stands for, fixed (destination) to moving (source), LPS mm.

    Raises
    ------
    InputError
        If the text is no LTA, holds several transforms or one of another kind, or the matrix is singular.

    Examples
    --------
    >>> text = "type = 1\nnxforms = 1\n1 4 4\n1 0 0 1\n0 1 0 2\n0 0 1 3\n0 0 0 1\n"  # moving to fixed, RAS
    >>> lta_transform(text).apply_to_points([0.0, 0.0, 0.0]).tolist()  # fixed to moving, LPS
    [1.0, 2.0, -3.0]
    """
    text = re.sub(r"#.*", "", text)
    head, *volumes = re.split(r"^\s*(?:src|dst) volume info\s*$", text, flags=re.MULTILINE)
    fields, matrix = _fields(head), _MATRIX.search(head + "\n")
    if matrix is None or not fields.get("type", "").lstrip("-").isdigit():
        raise InputError(f"{name} is not a readable LTA file.", "Give a file as lta_convert writes it.")
    if fields.get("nxforms", "1") != "1":
        raise InputError(f"{name} holds {fields['nxforms']} transforms.", "Give a file that holds one.")
    kind, forward = int(fields["type"]), matrix_of_text(matrix["rows"], name)
    if kind == VOXELS:
        if len(volumes) != 2:
            raise InputError(f"{name} does not tell the grids of both images.", "Write it with lta_convert.")
        source, destination = (_voxels_to_ras(volume, name) for volume in volumes)
        forward = destination @ forward @ inverted(source, name)
    elif kind != RAS:
        what = _KINDS.get(kind, f"type {kind}")
        raise InputError(f"{name} is an LTA of another kind ({what}).", "Convert it: lta_convert --outlta, RAS to RAS.")
    return from_ras(inverted(forward, name))


def _fields(text: str) -> dict[str, str]:
    return {match["key"]: match["value"] for match in _FIELD.finditer(text)}


def _voxels_to_ras(volume: str, name: str) -> NDArray[np.float64]:
    """Return the ``(4, 4)`` matrix from voxels to RAS mm; `cras` is the place of voxel ``volume / 2``."""
    fields = _fields(volume)
    if fields.get("valid", "1").split()[:1] == ["0"]:
        raise InputError(
            f"{name} says that it does not know the grids of its images, and maps voxels.", "Write it with lta_convert."
        )
    try:
        numbers = {key: np.array(fields[key].split(), dtype=np.float64) for key in _VECTORS}
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([numbers["xras"], numbers["yras"], numbers["zras"]], axis=1) * numbers["voxelsize"]
        matrix[:3, 3] = numbers["cras"] - matrix[:3, :3] @ numbers["volume"] / 2
    except (KeyError, ValueError) as error:
        raise InputError(f"{name} does not tell the grids of both images.", "Write it with lta_convert.") from error
    return matrix
