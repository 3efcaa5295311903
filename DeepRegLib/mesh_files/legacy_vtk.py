"""Legacy VTK files of surfaces (`.vtk`), text and binary."""

from __future__ import annotations

import re

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.mesh_files.parts import EXPORT_AGAIN, HEADER, Move, lines_of

POINTS = re.compile(rb"^POINTS[ \t]+(\d{1,10})[ \t]+(float|double)[ \t]*\r?\n", re.MULTILINE)


def moved(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    """Return the content with its points moved, and how many they are.

    Raises
    ------
    InputError
        If it is no surface, or points are missing.
    """
    lines = content[:HEADER].splitlines()
    found = POINTS.search(content)
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
    return content[:start] + lines_of(move(points)) + content[end:], count
