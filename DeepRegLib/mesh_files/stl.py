"""STL files, text and binary; what was text becomes binary."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.mesh_files.parts import EXPORT_AGAIN, HEADER, RAS, Move

BEGIN = 84
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def moved(content: bytes, move: Move, name: str) -> tuple[bytes, int]:
    """Return the content with its corners moved and its normals computed anew, and how many corners there are.

    Raises
    ------
    InputError
        If it is damaged, or no STL file.
    """
    count = int.from_bytes(content[80:BEGIN], "little")
    if len(content) == BEGIN + count * TRIANGLE.itemsize:
        header, triangles = content[:BEGIN], np.frombuffer(content, TRIANGLE, count, BEGIN).copy()
    else:
        header, triangles = _of_text(content, name)
    corners = move(triangles["corners"].astype(np.float64).reshape(-1, 3)).reshape(-1, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["corners"], triangles["normal"] = corners, normals / np.where(length > 0, length, 1)
    return header + triangles.tobytes(), 3 * len(triangles)


def _of_text(content: bytes, name: str) -> tuple[bytes, NDArray[np.void]]:
    """Return an STL file of text as a binary one: its header and triangles."""
    words = re.findall(rb"^[ \t]*vertex[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", content, re.MULTILINE)
    if not content.lstrip().startswith(b"solid") or not words or len(words) % 3:
        raise InputError(f"{name} is damaged, or no STL file.", EXPORT_AGAIN)
    triangles = np.zeros(len(words) // 3, TRIANGLE)
    triangles["corners"] = np.array(words).astype(np.float64).reshape(-1, 3, 3)
    space = RAS if RAS in content[:HEADER] else b"SPACE=LPS"
    return space.ljust(80) + len(triangles).to_bytes(4, "little"), triangles
