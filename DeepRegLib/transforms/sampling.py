"""Torch kernels on voxel-unit displacement fields: sampling, composing, differentiating.

A field here is a float tensor of shape ``(3, D, H, W)`` in voxels of its own grid, components (i, j, k); it maps the
voxel p to p + u(p). All functions run without autograd on CPU, CUDA and MPS.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from DeepRegLib.transforms.trilinear import sample_on_cpu


def identity_grid(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the voxel indices (i, j, k) of a grid, shape ``(D, H, W, 3)``, each component contiguous."""
    axes = [torch.arange(n, device=device, dtype=dtype) for n in shape]
    k, j, i = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([i, j, k]).permute(1, 2, 3, 0)


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
    if volume.device.type == "cpu" and volume.dtype == index.dtype == torch.float32 and not _tracked(volume, index):
        return sample_on_cpu(volume, index, padding)
    places = index * index_scale(volume.shape[-3:], index) - 1
    return functional.grid_sample(
        volume[None], places[None], mode="bilinear", padding_mode=padding, align_corners=True
    )[0]


def index_scale(shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
    """Return the factors that take voxel indices (i, j, k) to [0, 2] across the voxel centres."""
    return torch.tensor([2 / max(n - 1, 1) for n in reversed(shape)], device=like.device, dtype=like.dtype)


def _tracked(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


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
