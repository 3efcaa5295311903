"""A volume and its geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Image:
    """A scalar volume in the world.

    Parameters
    ----------
    array
        Voxel values, shape ``(k, j, i)``, any real dtype. Treated as read-only.
    geometry
        Where the voxels lie (LPS, mm).
    name
        What to call the image in messages: its file or node name.

    Examples
    --------
    >>> grid = Geometry((4, 3, 2), spacing=(1.0, 1.0, 5.0))
    >>> Image(np.zeros((2, 3, 4)), grid, "scan").array.shape  # (k, j, i)
    (2, 3, 4)
    """

    array: NDArray[np.generic]
    geometry: Geometry
    name: str = "image"

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise InputError(
                f"The voxel array of {self.name} has shape {self.array.shape}, its grid {self.geometry.shape}.",
                "Give an array ordered (k, j, i) that fits the grid.",
            )
        if self.array.dtype.kind not in "biuf":
            raise InputError(f"{self.name} has voxels of type {self.array.dtype}.", "Give a scalar image.")

    def with_array(self, array: NDArray[np.generic]) -> Image:
        """Return the same grid and name with other voxel values.

        Examples
        --------
        >>> scan = Image(np.zeros((2, 3, 4)), Geometry((4, 3, 2)), "scan")
        >>> scan.with_array(scan.array > 0).name
        'scan'
        """
        return Image(array, self.geometry, self.name)


def box_around(mask: Image) -> Geometry:
    """Return the part of a mask's grid that holds its nonzero voxels.

    Examples
    --------
    >>> voxels = np.zeros((2, 3, 4), dtype=np.uint8)
    >>> voxels[1, 1, 2:4] = 1
    >>> box = box_around(Image(voxels, Geometry((4, 3, 2))))
    >>> box.size, box.origin
    ((2, 1, 1), (2.0, 1.0, 1.0))
    """
    spans = [np.flatnonzero(mask.array.any(axis=tuple({0, 1, 2} - {axis}))) for axis in (2, 1, 0)]
    first, last = (np.array([span[end] for span in spans]) for end in (0, -1))
    i, j, k = (last - first + 1).tolist()
    x, y, z = mask.geometry.to_world(first).tolist()
    return replace(mask.geometry, size=(i, j, k), origin=(x, y, z))
