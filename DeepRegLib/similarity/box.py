"""Sums over cubic windows, the building block of every windowed similarity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.errors import InputError

SPARSE_STEP = 2


@torch.no_grad()
def box_sum(x: Tensor, radius: int) -> Tensor:
    """Sum over the cubic window of ``(2 radius + 1)**3`` voxels about each voxel, with zeros outside the volume.

    The operator is symmetric, so it is its own adjoint: ``<box_sum(x), y> == <x, box_sum(y)>``. Unlike with a running
    sum no subtraction is involved: sums of non-negative values stay non-negative, and an empty window is exactly 0.

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
    _check(x, radius)
    rows = x.clone(memory_format=torch.contiguous_format)
    for shift in range(1, radius + 1):
        rows[..., shift:].add_(x[..., :-shift])
        rows[..., :-shift].add_(x[..., shift:])
    return _summed_in_columns(rows, radius, 1).reshape(x.shape).contiguous()


@torch.no_grad()
def sparse_box_sum(x: Tensor, radius: int) -> Tensor:
    """Return every `SPARSE_STEP`-th voxel along each axis of what `box_sum` returns, in a third of its time.

    Parameters
    ----------
    x
        ``(..., D, H, W)`` floating point, on any device.
    radius
        Half width of the window in voxels, at least 0.

    Returns
    -------
    Tensor
        ``(..., d, h, w)``, half of each axis, rounded up.

    Raises
    ------
    InputError
        If ``radius`` is negative or ``x`` has fewer than three axes.
    """
    _check(x, radius)
    columns = functional.pad(_summed_in_columns(x, radius, SPARSE_STEP), (radius, radius))
    width = -(-x.shape[-1] // SPARSE_STEP)
    last = SPARSE_STEP * (width - 1) + 1
    summed = columns[..., :last:SPARSE_STEP].clone()
    for shift in range(1, 2 * radius + 1):
        summed.add_(columns[..., shift : shift + last : SPARSE_STEP])
    return summed.reshape(*x.shape[:-3], *summed.shape[-3:])


@torch.no_grad()
def spread(values: Tensor, shape: Sequence[int], radius: int) -> Tensor:
    """Add each value to all voxels of its window: the adjoint of `sparse_box_sum`.

    Parameters
    ----------
    values
        ``(..., d, h, w)``, of the windows about every `SPARSE_STEP`-th voxel.
    shape
        ``(D, H, W)`` of the volume.
    radius
        Half width of the windows in voxels, at least 0.

    Returns
    -------
    Tensor
        ``(..., D, H, W)``.
    """
    for axis in (-1, -2, -3):  # along memory first, while there is least of it
        values = _spread_along(values, axis, shape[axis], radius)
    return values


def _check(x: Tensor, radius: int) -> None:
    if radius < 0:
        raise InputError(f"The window radius is {radius}.", "Give a radius of at least 0.")
    if x.ndim < 3:
        raise InputError(f"A window sum needs (..., D, H, W), not shape {tuple(x.shape)}.")


def _summed_in_columns(x: Tensor, radius: int, step: int) -> Tensor:
    """Sum over squares of the axes D and H, about every `step`-th voxel of them, ``(n, d, h, W)``."""
    # Pooling is quickest with the channels along memory, so the columns of a volume are given as its channels.
    images = x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2)
    length = 2 * radius + 1
    images = functional.avg_pool2d(images, (1, length), stride=(1, step), padding=(0, radius), divisor_override=1)
    images = functional.avg_pool2d(images, (length, 1), stride=(step, 1), padding=(radius, 0), divisor_override=1)
    return images.permute(0, 2, 3, 1)


def _spread_along(values: Tensor, axis: int, size: int, radius: int) -> Tensor:
    sums = values.new_zeros([size if n == values.ndim + axis else length for n, length in enumerate(values.shape)])
    source = values.movedim(axis, 0)
    for phase in range(SPARSE_STEP):
        target = sums.movedim(axis, 0)[phase::SPARSE_STEP]
        # Voxel number STEP n + phase lies within `radius` of window number n + shift.
        for shift in range(-((radius - phase) // SPARSE_STEP), (radius + phase) // SPARSE_STEP + 1):
            first, last = max(0, -shift), min(len(target), len(source) - shift)
            if first < last:
                target[first:last].add_(source[first + shift : last + shift])
    return sums
