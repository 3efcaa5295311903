"""Wavefront files (`.obj`)."""

from __future__ import annotations

import re

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.mesh_files.parts import EXPORT_AGAIN, Move, lines_of

VERTEX = re.compile(rb"^(v[ \t]+)(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)


def moved(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    """Return the content with its vertices moved, and how many they are; an `InputError` if there are none."""
    points = np.array([[float(word) for word in line.groups()[1:]] for line in VERTEX.finditer(content)])
    if points.size == 0:
        raise InputError(f"{name} has no vertices.", EXPORT_AGAIN)
    lines = iter(lines_of(move(points), b"v ").splitlines())
    return VERTEX.sub(lambda _line: next(lines), content), len(points)
