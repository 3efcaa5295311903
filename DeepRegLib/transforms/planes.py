"""The displacements of a transform on a grid, some planes at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.banded import along_axes, interpolation_between
from DeepRegLib.transforms.composite import Transform
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.itk import displacement_on_grid

# What is held at a time, here and by others that go through a grid: 50 MB of displacements, 100 in float64.
PLANES_VOXELS = 1 << 22


class DisplacementPlanes:
    """What `displacement_on_grid` returns, sampled some planes at a time: at 512^3 voxels all of it takes gigabytes.

    A field whose grid has the same axes is interpolated along one after the other, in a fifth of the time, in float32.

    Parameters
    ----------
    transform
        The transform T.
    geometry
        The grid.
    poll
        Called now and then; may raise to stop.

    Examples
    --------
    >>> from DeepRegLib.transforms.linear import LinearTransform
    >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> planes = DisplacementPlanes(wider, Geometry((4, 3, 100)))
    >>> planes.shape
    (100, 3, 4, 3)
    >>> planes[10:12].shape, planes[10:12][0, 0, 3].tolist()
    ((2, 3, 4, 3), [3.0, 0.0, 0.0])
    """

    def __init__(self, transform: Transform, geometry: Geometry, *, poll: Poll = never_cancel) -> None:
        self._transform, self._geometry, self._poll = transform, geometry, poll
        self._held: NDArray[np.floating] = np.empty((0, 0, 0, 3))
        self._first = 0
        self._components: list[NDArray[np.float32]] = []
        if isinstance(transform, DisplacementField) and transform.geometry.has_axes_of(geometry):
            self._components = [np.ascontiguousarray(transform.array[..., n], dtype=np.float32) for n in range(3)]
            self._matrices = interpolation_between(transform.geometry, geometry)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(k, j, i, 3)``.

        Examples
        --------
        >>> from DeepRegLib.transforms.linear import LinearTransform
        >>> DisplacementPlanes(LinearTransform.identity(), Geometry((4, 3, 2))).shape
        (2, 3, 4, 3)
        """
        return (*self._geometry.shape, 3)

    def __getitem__(self, planes: slice) -> NDArray[np.floating]:
        """T(x) - x in mm (LPS) at the voxel centres x of some planes, a slice of k without a step."""
        first, last, _ = planes.indices(self.shape[0])
        if not self._first <= first <= last <= self._first + len(self._held):
            at_once = max(PLANES_VOXELS // (self.shape[1] * self.shape[2]), last - first)
            self._held, self._first = np.empty((0, 0, 0, 3)), first  # given back before there is the next
            self._held = self._sampled(first, min(first + at_once, self.shape[0]))
        return self._held[first - self._first : last - self._first]

    def _sampled(self, first: int, last: int) -> NDArray[np.floating]:
        if not self._components:
            return displacement_on_grid(self._transform, self._geometry.planes(first, last), poll=self._poll)
        along_k, *others = self._matrices
        sampled = np.empty((last - first, *self.shape[1:]), dtype=np.float32)
        for number, component in enumerate(self._components):
            sampled[..., number] = along_axes(component, [along_k[first:last], *others], poll=self._poll)
        return sampled
