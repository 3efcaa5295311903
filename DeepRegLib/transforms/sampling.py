"""Torch kernels on voxel-unit displacement fields: sampling, composing, differentiating.

A field here is a float tensor of shape ``(3, D, H, W)`` in voxels of its own grid, components (i, j, k); it maps the
voxel p to p + u(p). All functions run without autograd on CPU, CUDA and MPS.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def identity_grid(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the voxel indices (i, j, k) of a grid, shape ``(D, H, W, 3)``."""
    axes = [torch.arange(n, device=device, dtype=dtype) for n in shape]
    k, j, i = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([i, j, k], dim=-1)


def sample(volume: Tensor, index: Tensor, *, padding: str = "border") -> Tensor:
    """Sample channels trilinearly at voxel indices.

    Parameters
    ----------
    volume
        Shape ``(C, D, H, W)``.
    index
        Continuous indices (i, j, k), shape ``(d, h, w, 3)``.
    padding
        ``"border"`` repeats the edge, ``"zeros"`` fades to zero outside.

    Returns
    -------
    Tensor
        Shape ``(C, d, h, w)``.
    """
    scale = index_scale(volume.shape[-3:], index)
    return sample_normalised(volume, index * scale - 1, padding=padding)


def index_scale(shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
    """Return the factors that take voxel indices (i, j, k) to [0, 2] across the voxel centres."""
    return torch.tensor([2 / max(n - 1, 1) for n in reversed(shape)], device=like.device, dtype=like.dtype)


def sample_normalised(volume: Tensor, grid: Tensor, *, padding: str = "border") -> Tensor:
    """Sample ``(C, D, H, W)`` at ``(d, h, w, 3)`` positions in [-1, 1] (voxel centres of the outer planes)."""
    depth = grid.shape[0]
    slabs = _slabs(depth, torch.get_num_threads())
    if volume.device.type != "cpu" or slabs == 1:
        return _sampled(volume, grid[None], padding)[:, 0]
    # ATen's CPU kernel splits the work over the batch only, so slabs of the grid are given as a batch; the planes that
    # are left over follow, since filling up the last slab would copy the whole grid.
    even = depth - depth % slabs
    batch = grid[:even].reshape(slabs, even // slabs, *grid.shape[1:])
    sampled = _sampled(volume, batch, padding).reshape(len(volume), even, *grid.shape[1:3])
    if even == depth:
        return sampled
    return torch.cat([sampled, _sampled(volume, grid[None, even:], padding)[:, 0]], dim=1)


def _slabs(depth: int, threads: int) -> int:
    """Return into how many slabs of one thickness to cut planes so that few are left over; 1 for too few planes."""
    return min(range(threads, min(4 * threads, depth) + 1, threads), key=lambda n: depth % n, default=1)


def _sampled(volume: Tensor, batch: Tensor, padding: str) -> Tensor:
    """Sample ``(C, D, H, W)`` at ``(n, d, h, w, 3)``; returns ``(C, n, d, h, w)``."""
    source = volume.expand(len(batch), -1, -1, -1, -1)
    warped = functional.grid_sample(source, batch, mode="bilinear", padding_mode=padding, align_corners=True)
    return warped.transpose(0, 1)


def compose_fields(outer: Tensor, inner: Tensor, grid: Tensor) -> Tensor:
    """Return the field of p -> q + outer(q) with q = p + inner(p).

    Parameters
    ----------
    outer, inner
        Fields of shape ``(3, D, H, W)``.
    grid
        ``identity_grid`` of that shape.
    """
    return inner + sample(outer, grid + inner.permute(1, 2, 3, 0))


def field_gradient(field: Tensor) -> Tensor:
    """Return du_a/dp_b by central differences (one-sided at the border), shape ``(3, 3, D, H, W)``."""
    return torch.stack([central_difference(field, dim) for dim in (-1, -2, -3)], dim=1)


def central_difference(volume: Tensor, dim: int) -> Tensor:
    """Differentiate along one axis: central inside, one-sided at the border, zero along an axis of one voxel."""
    size = volume.shape[dim]
    if size == 1:
        return torch.zeros_like(volume)
    result = torch.empty_like(volume)
    if size > 2:
        ahead, behind = volume.narrow(dim, 2, size - 2), volume.narrow(dim, 0, size - 2)
        torch.sub(ahead, behind, out=result.narrow(dim, 1, size - 2))
        result.narrow(dim, 1, size - 2).mul_(0.5)
    result.narrow(dim, 0, 1).copy_(volume.narrow(dim, 1, 1) - volume.narrow(dim, 0, 1))
    result.narrow(dim, size - 1, 1).copy_(volume.narrow(dim, size - 1, 1) - volume.narrow(dim, size - 2, 1))
    return result


def resize_field(field: Tensor, shape: tuple[int, int, int], scale: float, offset: Tensor) -> Tensor:
    """Move a field to another grid of the same orientation.

    Parameters
    ----------
    field
        Shape ``(3, d, h, w)``, in voxels of its grid.
    shape
        Shape (D, H, W) of the new grid.
    scale
        Old voxels a new voxel is wide.
    offset
        Old index (i, j, k) of the new grid's first voxel.

    Returns
    -------
    Tensor
        Shape ``(3, D, H, W)``, in voxels of the new grid.
    """
    index = identity_grid(shape, field.device, field.dtype) * scale + offset
    return sample(field, index) / scale
