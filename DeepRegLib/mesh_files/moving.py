"""The model of a file moved: only where its points lie changes.

Points are in LPS mm, as Slicer saves models; a file that says ``SPACE=RAS`` is taken as RAS and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.geometry import FARTHEST
from DeepRegLib.guarding import guarded
from DeepRegLib.mesh_files import legacy_vtk, obj, ply, stl, xml_vtk
from DeepRegLib.mesh_files.parts import EXPORT_AGAIN, HEADER, RAS, Move, Points
from DeepRegLib.naming import shown

LARGEST_FILE = 2 << 30
TO_LPS = np.array([-1.0, -1.0, 1.0])
# Each takes the file's content, what moves its points, and its name; it returns the new content and how many points.
WRITERS: Mapping[str, Callable[[bytes, Move, str], tuple[bytes, int]]] = MappingProxyType(
    {
        ".vtk": legacy_vtk.moved,
        ".vtp": xml_vtk.moved,
        ".stl": stl.moved,
        ".obj": obj.moved,
        ".ply": ply.moved,
    }
)
SUFFIXES = tuple(WRITERS)


def move_model(source: str | Path, target: str | Path, move: Move) -> int:
    """Write the model of a file with its points moved; faces, lines and data stay as they are.

    Normals of an `.stl` are computed anew; those that other files list stay as they were.

    Parameters
    ----------
    source, target
        Files of the same ending, one of `SUFFIXES`.
    move
        Takes points ``(n, 3)``, LPS mm, to where they belong.

    Returns
    -------
    int
        How many points were moved.

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind or holds no points, or the endings differ.
    OutputError
        If the target cannot be written.
    """
    path, suffix = Path(source), Path(source).suffix.lower()
    if suffix not in SUFFIXES or Path(target).suffix.lower() != suffix:
        raise InputError(
            f"{shown(Path(target))} does not end as {shown(path)} does.", f"End both in one of {', '.join(SUFFIXES)}."
        )
    result, count = move_surface(path, move)
    write_atomically(target, lambda temporary: temporary.write_bytes(result))
    return count


def move_surface(path: Path, move: Move, *, ras: bool = False) -> tuple[bytes, int]:
    """Return the content of a model's file with its points moved, and how many they are.

    Parameters
    ----------
    path
        A file that ends in one of `SUFFIXES`.
    move
        As of `move_model`.
    ras
        Whether the points are in RAS although the file does not say so.

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind or holds no points.
    """
    suffix = path.suffix.lower()
    with guarded(path, EXPORT_AGAIN):
        content = _content(path)
        in_ras = ras or RAS in content[:HEADER] or (suffix == ".vtp" and xml_vtk.says_ras(content))

    def checked(points: Points) -> Points:
        if len(points) == 0 or not np.isfinite(points).all():
            raise InputError(f"{shown(path)} holds no points, or some that are not finite.", EXPORT_AGAIN)
        if np.abs(points).max() > FARTHEST:
            raise InputError(f"{shown(path)} holds points farther away than any scan lies.", EXPORT_AGAIN)
        return move(points * TO_LPS) * TO_LPS if in_ras else move(points)

    with guarded(path, EXPORT_AGAIN):
        return WRITERS[suffix](content, checked, shown(path))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{shown(path)} does not exist or is a folder.", "Check the path.")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{shown(path)} has {path.stat().st_size >> 20} MB.", "Decimate the model.")
    return path.read_bytes()
