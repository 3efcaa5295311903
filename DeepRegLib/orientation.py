"""The axes of a scan in one standard order, however its file stores them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image

# Between sums of cosines: two orders that agree as well as the other with the standard axes, as at 45 degrees.
AS_NEAR = 1e-6


@dataclass(frozen=True)
class AxisOrder:
    """How the axes of a grid become those of another with the same voxels.

    Parameters
    ----------
    axes
        For each of the new axes i, j, k the axis of the old grid that it is.
    mirrored
        Whether it runs the other way.
    """

    axes: tuple[int, int, int]
    mirrored: tuple[bool, bool, bool]

    @property
    def keeps_all(self) -> bool:
        """Whether the new grid is the old one."""
        return self.axes == (0, 1, 2) and not any(self.mirrored)

    def of_geometry(self, geometry: Geometry) -> Geometry:
        """Return the new grid for an old one: the same voxels at the same places (LPS, mm)."""
        if self.keeps_all:
            return geometry
        first = np.zeros(3)
        for axis, mirrored in zip(self.axes, self.mirrored, strict=True):
            first[axis] = geometry.size[axis] - 1 if mirrored else 0
        signs = np.where(self.mirrored, -1.0, 1.0)
        x, y, z = geometry.to_world(first).tolist()
        a, b, c = self.axes
        return Geometry(
            (geometry.size[a], geometry.size[b], geometry.size[c]),
            (geometry.spacing[a], geometry.spacing[b], geometry.spacing[c]),
            (x, y, z),
            tuple((geometry.axes[:, self.axes] * signs).ravel().tolist()),
        )

    def of_image(self, image: Image) -> Image:
        """Return an image on the old grid with its axes in the new order; the voxels are not interpolated."""
        if self.keeps_all:
            return image
        array = image.array.transpose([2 - axis for axis in reversed(self.axes)])
        flipped = np.flip(array, tuple(2 - axis for axis in range(3) if self.mirrored[axis]))
        return Image(np.ascontiguousarray(flipped), self.of_geometry(image.geometry), image.name)

    def inverse(self) -> AxisOrder:
        """Return the order that leads back to the old grid."""
        i, j, k = (self.axes.index(axis) for axis in range(3))
        return AxisOrder((i, j, k), (self.mirrored[i], self.mirrored[j], self.mirrored[k]))

    def back(self, image: Image, geometry: Geometry) -> Image:
        """Return an image on the new grid with the axes of the old one, `geometry`, as it was given."""
        return replace(self.inverse().of_image(image), geometry=geometry)


def nearest_axes(geometry: Geometry, wanted: ArrayLike) -> AxisOrder:
    """Find how the axes of a grid come nearest to wanted directions.

    Parameters
    ----------
    geometry
        The grid.
    wanted
        ``(3, 3)``: one direction (LPS) a row, for the new axes i, j, k.
    """
    cosines: NDArray[np.float64] = np.asarray(wanted, dtype=np.float64) @ geometry.axes  # a row a wanted direction

    def nearness(axes: tuple[int, ...]) -> tuple[float, ...]:
        chosen = cosines[:, axes]
        towards = chosen * np.where(np.diag(chosen) < 0, -1.0, 1.0)
        # Of two that are as near, the same one is taken for every order that the grid may be stored in.
        return (round(float(np.trace(towards)) / AS_NEAR), *np.round(towards.ravel() / AS_NEAR).tolist())

    i, j, k = max(itertools.permutations(range(3)), key=nearness)
    first, second, third = (bool(cosine < 0) for cosine in cosines[range(3), (i, j, k)])
    return AxisOrder((i, j, k), (first, second, third))


def standard_order(geometry: Geometry) -> AxisOrder:
    """Find how the axes of a grid come nearest to left, posterior and superior."""
    return nearest_axes(geometry, np.eye(3))


def in_standard_order(image: Image) -> Image:
    """Return an image with its axes as near to left, posterior and superior as they come; no voxel is interpolated."""
    return standard_order(image.geometry).of_image(image)
