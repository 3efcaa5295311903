"""The grid of a field, half as fine as that of the images it moves, and the way between the two.

A displacement is smooth where an intensity is not, so half as many nodes an axis hold it, and all that is done with a
field takes an eighth of the time. Each node lies in the middle of eight voxels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms.sampling import sample_images
from DeepRegLib.transforms.trilinear import POSITIONS_AT_ONCE

RATIO = 2
# A voxel lies a quarter of the nodes' distance from the nearer of its two neighbours along an axis.
FARTHER_SHARE = 0.25


def field_grid(geometry: Geometry) -> Geometry:
    """Return the grid of the field for images on a grid."""
    i, j, k = (-(-n // RATIO) for n in geometry.size)
    x, y, z = geometry.to_world([(RATIO - 1) / 2] * 3).tolist()
    a, b, c = (RATIO * step for step in geometry.spacing)
    return replace(geometry, size=(i, j, k), origin=(x, y, z), spacing=(a, b, c))


def image_grid(geometry: Geometry) -> Geometry:
    """Return the grid of the images whose field is on a grid, twice as many voxels an axis."""
    i, j, k = (RATIO * n for n in geometry.size)
    x, y, z = geometry.to_world([-(RATIO - 1) / (2 * RATIO)] * 3).tolist()
    a, b, c = (step / RATIO for step in geometry.spacing)
    return replace(geometry, size=(i, j, k), origin=(x, y, z), spacing=(a, b, c))


def to_image_grid(field: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Interpolate a field linearly at the voxels of its images.

    Parameters
    ----------
    field
        Shape ``(3, d, h, w)``, in voxels of its grid.
    shape
        Shape ``(D, H, W)`` of the images.

    Returns
    -------
    Tensor
        Shape ``(3, D, H, W)``, in voxels of the images; past the outer nodes their values are repeated.
    """
    depth, height, width = shape
    return _at_planes(field, slice(0, depth), height, width)


def warp(volume: Tensor, field: Tensor) -> Tensor:
    """Look volumes up where a field on the grid of their field moves each voxel; zero past their border.

    The same as ``sample_images(volume, grid + to_image_grid(field))``, on the CPU a few planes at a time, so that the
    field on the grid of the images never leaves the cache.

    Parameters
    ----------
    volume
        Shape ``(C, D, H, W)``.
    field
        Shape ``(3, d, h, w)``, in voxels of its grid.

    Returns
    -------
    Tensor
        Shape ``(C, D, H, W)``.
    """
    depth, height, width = volume.shape[1:]
    thickness = max(1, POSITIONS_AT_ONCE // (height * width)) if volume.device.type == "cpu" else depth
    warped = torch.empty_like(volume)
    for first in range(0, depth, thickness):
        planes = slice(first, min(first + thickness, depth))
        warped[:, planes] = sample_images(volume, _places(field, planes, height, width), padding="zeros")
    return warped


def _places(field: Tensor, planes: slice, height: int, width: int) -> Tensor:
    """Return where a field moves the voxels of some planes, ``(d, h, w, 3)``."""
    fine = _at_planes(field, planes, height, width)
    for component, axis in enumerate((3, 2, 1)):
        start = planes.start if axis == 1 else 0
        count = fine.shape[axis]
        steps = torch.arange(start, start + count, dtype=fine.dtype, device=fine.device)
        fine[component].add_(steps.reshape([count if axis == n else 1 for n in (1, 2, 3)]))
    return fine.permute(1, 2, 3, 0)


def _at_planes(field: Tensor, planes: slice, height: int, width: int) -> Tensor:
    """Interpolate a field at the voxels of some planes of its images, ``(3, d, height, width)`` in their voxels."""
    nodes = slice(max(planes.start // RATIO - 1, 0), (planes.stop + 1) // RATIO + 1)
    fine = field[:, nodes] * RATIO
    fine = _twice_as_fine(_twice_as_fine(fine, 3, width), 2, height)  # along memory first, while there is least of it
    skipped = RATIO * nodes.start
    return _twice_as_fine(fine, 1, planes.stop - skipped)[:, planes.start - skipped :]


def to_field_grid(values: Tensor) -> Tensor:
    """Average over the eight voxels about each node.

    Parameters
    ----------
    values
        Shape ``(C, D, H, W)``, on the grid of the images.

    Returns
    -------
    Tensor
        Shape ``(C, d, h, w)``, on the grid of the field; an odd last voxel counts twice.
    """
    odd = [n % RATIO for n in values.shape[1:]]
    if any(odd):
        values = functional.pad(values[None], (0, odd[2], 0, odd[1], 0, odd[0]), mode="replicate")[0]
    channels, *shape = values.shape
    d, h, w = (n // RATIO for n in shape)
    pairs = values.reshape(channels, d, RATIO, h, RATIO, w, RATIO)
    planes = pairs[:, :, 0] + pairs[:, :, 1]
    rows = planes[:, :, :, 0] + planes[:, :, :, 1]
    return (rows[..., 0] + rows[..., 1]).mul_(1 / RATIO**3)


def _twice_as_fine(values: Tensor, dim: int, size: int) -> Tensor:
    """Interpolate between the nodes along one axis, and cut the result to its size."""
    count = values.shape[dim]
    fine = values.new_empty(*values.shape[: dim + 1], 2, *values.shape[dim + 1 :])
    inner, outer = values.narrow(dim, 0, count - 1), values.narrow(dim, 1, count - 1)
    before, after = fine.unbind(dim + 1)
    before.narrow(dim, 0, 1).copy_(values.narrow(dim, 0, 1))
    torch.lerp(outer, inner, FARTHER_SHARE, out=before.narrow(dim, 1, count - 1))
    torch.lerp(inner, outer, FARTHER_SHARE, out=after.narrow(dim, 0, count - 1))
    after.narrow(dim, count - 1, 1).copy_(values.narrow(dim, count - 1, 1))
    return fine.flatten(dim, dim + 1).narrow(dim, 0, size)
