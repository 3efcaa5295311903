"""Sums over cubic windows, the building block of every windowed similarity.

A volume is cut into pieces that fit a CPU cache. Each piece is copied once into a zero-padded buffer, and because the
padding separates rows, planes and volumes, a shift along any axis is a shift of the flat buffer: every addition runs
over contiguous memory. Windows grow by doubling, so 2 r + 1 terms cost about log2(2 r + 1) additions an axis. Unlike a
running sum no subtraction is involved: sums of non-negative values stay non-negative, and an empty window is exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from DeepRegLib.errors import InputError

_CPU_TILE_VOXELS = 1 << 19


@torch.no_grad()
def box_sum(x: Tensor, radius: int) -> Tensor:
    """Sum over the cubic window of ``(2 radius + 1)**3`` voxels about each voxel, with zeros outside the volume.

    The operator is symmetric, so it is its own adjoint: ``<box_sum(x), y> == <x, box_sum(y)>``.

    Parameters
    ----------
    x
        ``(..., D, H, W)`` floating point, on any device. Leading axes are independent volumes.
    radius
        Half width of the window in voxels, at least 0.

    Returns
    -------
    Tensor
        A new contiguous tensor with the shape, dtype and device of ``x``.

    Raises
    ------
    InputError
        If ``radius`` is negative or ``x`` has fewer than three axes.
    """
    if radius < 0:
        raise InputError(f"The window radius is {radius}.", "Give a radius of at least 0.")
    if x.ndim < 3:
        raise InputError(f"A window sum needs (..., D, H, W), not shape {tuple(x.shape)}.")
    if radius == 0:
        return x.clone(memory_format=torch.contiguous_format)
    volumes = x.reshape(-1, *x.shape[-3:])
    out = torch.empty_like(volumes, memory_format=torch.contiguous_format)
    for items, planes in _tiles(volumes, radius):
        out[items, planes] = _box_sum_tile(volumes[items], planes, radius)
    return out.reshape(x.shape)


def _tiles(volumes: Tensor, radius: int) -> Iterator[tuple[slice, slice]]:
    """Cut ``(N, D, H, W)`` into (items, planes): cache-sized pieces on the CPU, everything at once elsewhere."""
    count, depth, height, width = volumes.shape
    plane = (height + 2 * radius) * (width + 2 * radius)
    items, thickness = count, depth
    if volumes.device.type == "cpu":
        items = max(_CPU_TILE_VOXELS // (plane * (depth + 2 * radius)), 1)
        thickness = max(_CPU_TILE_VOXELS // plane, 2 * radius)
    for item in range(0, count, items):
        for plane_start in range(0, depth, thickness):
            yield slice(item, min(item + items, count)), slice(plane_start, min(plane_start + thickness, depth))


def _box_sum_tile(volumes: Tensor, planes: slice, radius: int) -> Tensor:
    """Window sums of ``(n, D, H, W)`` at the given planes, as a view of shape ``(n, planes, H, W)``."""
    count, depth, height, width = volumes.shape
    thickness = planes.stop - planes.start
    source = slice(max(planes.start - radius, 0), min(planes.stop + radius, depth))
    first = source.start - (planes.start - radius)
    padded = volumes.new_empty(count, thickness + 2 * radius, height + 2 * radius, width + 2 * radius)
    last = first + source.stop - source.start
    padded[:, :first], padded[:, last:] = 0, 0
    padded[:, :, :radius], padded[:, :, radius + height :] = 0, 0
    padded[..., :radius], padded[..., radius + width :] = 0, 0
    padded[:, first:last, radius : radius + height, radius : radius + width] = volumes[:, source]
    flat = padded.view(-1)
    for stride in padded.stride()[1:]:
        flat = _window_sum(flat, 2 * radius + 1, stride)
    return flat.as_strided((count, thickness, height, width), padded.stride())


def _window_sum(flat: Tensor, length: int, stride: int) -> Tensor:
    """Sum ``length`` entries ``stride`` apart from each entry on: ``out[i] = sum_k flat[i + k * stride]``."""
    size = flat.numel() - (length - 1) * stride
    total = flat[:size]
    covered, width, block = 1, 1, flat
    while covered < length:
        if (length - covered) & width:
            total = total + block[covered * stride : covered * stride + size]
            covered += width
        width *= 2
        if covered < length:
            block = block[: -(width // 2) * stride] + block[(width // 2) * stride :]
    return total
