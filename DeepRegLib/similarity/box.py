"""Sums over cubic windows, the building block of every windowed similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.errors import InputError


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
    if radius < 0:
        raise InputError(f"The window radius is {radius}.", "Give a radius of at least 0.")
    if x.ndim < 3:
        raise InputError(f"A window sum needs (..., D, H, W), not shape {tuple(x.shape)}.")
    rows = x.clone(memory_format=torch.contiguous_format)
    for shift in range(1, radius + 1):
        rows[..., shift:].add_(x[..., :-shift])
        rows[..., :-shift].add_(x[..., shift:])
    # Pooling is quickest with the channels along memory, so the columns of a volume are given as its channels.
    images = rows.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2)
    length = 2 * radius + 1
    images = functional.avg_pool2d(images, (1, length), stride=1, padding=(0, radius), divisor_override=1)
    images = functional.avg_pool2d(images, (length, 1), stride=1, padding=(radius, 0), divisor_override=1)
    return images.permute(0, 2, 3, 1).reshape(x.shape).contiguous()
