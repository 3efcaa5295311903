"""Transforms that pass from one step of a template to the next: read at once, where a file of ITK is not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.files.arrays import store_arrays, stored_arrays
from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms import CompositeTransform, DisplacementField, LinearTransform, Transform, parts_of

MATRIX, FIELD, GRID = "matrix", "field", "grid"


def store_transform(transform: Transform, path: str) -> None:
    """Write a transform as the arrays of its parts."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, part in enumerate(parts_of(transform)):
        if isinstance(part, LinearTransform):
            arrays[f"{number} {MATRIX}"] = part.matrix
        else:
            grid = part.geometry
            arrays[f"{number} {FIELD}"] = part.array
            arrays[f"{number} {GRID}"] = np.array([*grid.size, *grid.spacing, *grid.origin, *grid.direction])
    store_arrays(path, arrays)


def stored_transform(path: str) -> Transform:
    """Read what `store_transform` has written."""
    arrays = stored_arrays(path)
    parts: list[LinearTransform | DisplacementField] = []
    while True:
        number = len(parts)
        if f"{number} {MATRIX}" in arrays:
            parts.append(LinearTransform(arrays[f"{number} {MATRIX}"]))
        elif f"{number} {FIELD}" in arrays:
            n = arrays[f"{number} {GRID}"].tolist()
            grid = Geometry((int(n[0]), int(n[1]), int(n[2])), (n[3], n[4], n[5]), (n[6], n[7], n[8]), tuple(n[9:]))
            parts.append(DisplacementField(arrays[f"{number} {FIELD}"], grid))
        else:
            return parts[0] if number == 1 else CompositeTransform(tuple(parts))
