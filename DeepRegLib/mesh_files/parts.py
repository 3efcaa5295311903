"""What the formats of models have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Move = Callable[[Points], Points]

EXPORT_AGAIN = "Save the model again as .vtk, .vtp, .stl, .obj or .ply."
# Slicer says in the first lines of most files in which system the points are.
HEADER = 4096
RAS = b"SPACE=RAS"


def lines_of(points: Points, start: bytes = b"") -> bytes:
    """Return points as text, a line each."""
    return b"\n".join(start + b" ".join(b"%.9g" % value for value in point) for point in points.tolist())
