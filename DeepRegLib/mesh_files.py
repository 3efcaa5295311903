"""Models (surfaces, centrelines) in files moved: `.vtk` (legacy), `.stl`, `.obj`. Only where their points lie changes.

Points are in LPS mm, as Slicer saves models; a file that says ``SPACE=RAS`` is taken as RAS and stays so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.guarding import guarded
from DeepRegLib.naming import shown

Points = NDArray[np.float64]
Move = Callable[[Points], Points]

SUFFIXES = (".vtk", ".stl", ".obj")
EXPORT_AGAIN = "Save the model again as .vtk, .stl or .obj."
LARGEST_FILE = 2 << 30
HEADER = 4096
RAS = b"SPACE=RAS"
TO_LPS = np.array([-1.0, -1.0, 1.0])
STL_HEADER = 84
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
VTK_POINTS = re.compile(rb"^POINTS[ \t]+(\d{1,10})[ \t]+(float|double)[ \t]*\r?\n", re.MULTILINE)
VERTEX = re.compile(rb"^(v[ \t]+)(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)


def move_model(source: str | Path, target: str | Path, move: Move) -> int:
    """Write the model of a file with its points moved; faces, lines and data stay as they are.

    Normals of an `.stl` are computed anew; those that a `.vtk` or `.obj` lists stay as they were.

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
    with guarded(path, EXPORT_AGAIN):
        content = _content(path)
    in_ras = RAS in content[:HEADER]

    def moved(points: Points) -> Points:
        if len(points) == 0 or not np.isfinite(points).all():
            raise InputError(f"{shown(path)} holds no points, or some that are not finite.", EXPORT_AGAIN)
        return move(points * TO_LPS) * TO_LPS if in_ras else move(points)

    with guarded(path, EXPORT_AGAIN):
        result, count = WRITERS[suffix](content, moved, shown(path))
    write_atomically(target, lambda temporary: temporary.write_bytes(result))
    return count


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{shown(path)} does not exist or is a folder.", "Check the path.")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{shown(path)} has {path.stat().st_size >> 20} MB.", "Decimate the model.")
    return path.read_bytes()


def _vtk(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    lines = content[:HEADER].splitlines()
    found = VTK_POINTS.search(content)
    if not content.startswith(b"# vtk DataFile") or len(lines) < 4 or b"POLYDATA" not in lines[3] or found is None:
        raise InputError(f"{name} is no legacy VTK file of a surface.", EXPORT_AGAIN)
    count, start = int(found[1]), found.end()
    if lines[2].strip().upper() == b"BINARY":
        kind = np.dtype(">f4" if found[2] == b"float" else ">f8")
        end = start + 3 * count * kind.itemsize
        if end > len(content):
            raise InputError(f"{name} is damaged or truncated: points are missing.", EXPORT_AGAIN)
        points = np.frombuffer(content, kind, 3 * count, start).astype(np.float64).reshape(-1, 3)
        return content[:start] + move(points).astype(kind).tobytes() + content[end:], count
    words = re.compile(rb"\S+").finditer(content, start)
    places = [word for word, _ in zip(words, range(3 * count), strict=False)]
    if len(places) < 3 * count:
        raise InputError(f"{name} is damaged or truncated: points are missing.", EXPORT_AGAIN)
    points = np.array([float(word[0]) for word in places], dtype=np.float64).reshape(-1, 3)
    end = places[-1].end() if places else start
    return content[:start] + _lines(move(points), b"") + content[end:], count


def _stl(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    count = int.from_bytes(content[80:STL_HEADER], "little")
    if len(content) == STL_HEADER + count * TRIANGLE.itemsize:
        header, triangles = content[:STL_HEADER], np.frombuffer(content, TRIANGLE, count, STL_HEADER).copy()
    else:
        header, triangles = _text_stl(content, name)
    corners = move(triangles["corners"].astype(np.float64).reshape(-1, 3)).reshape(-1, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["corners"], triangles["normal"] = corners, normals / np.where(length > 0, length, 1)
    return header + triangles.tobytes(), 3 * len(triangles)


def _text_stl(content: bytes, name: str) -> tuple[bytes, NDArray[np.void]]:
    """Return an STL file of text as a binary one: its header and triangles."""
    words = re.findall(rb"^[ \t]*vertex[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", content, re.MULTILINE)
    if not content.lstrip().startswith(b"solid") or not words or len(words) % 3:
        raise InputError(f"{name} is damaged, or no STL file.", EXPORT_AGAIN)
    triangles = np.zeros(len(words) // 3, TRIANGLE)
    triangles["corners"] = np.array(words).astype(np.float64).reshape(-1, 3, 3)
    space = RAS if RAS in content[:HEADER] else b"SPACE=LPS"
    return space.ljust(80) + len(triangles).to_bytes(4, "little"), triangles


def _obj(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    points = np.array([[float(word) for word in line.groups()[1:]] for line in VERTEX.finditer(content)])
    if points.size == 0:
        raise InputError(f"{name} has no vertices.", EXPORT_AGAIN)
    lines = iter(_lines(move(points), b"v ").splitlines())
    return VERTEX.sub(lambda _line: next(lines), content), len(points)


def _lines(points: Points, start: bytes) -> bytes:
    return b"\n".join(start + b" ".join(b"%.9g" % value for value in point) for point in points.tolist())


WRITERS = {".vtk": _vtk, ".stl": _stl, ".obj": _obj}
