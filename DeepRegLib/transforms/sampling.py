"""Torch kernels on voxel-unit displacement fields: sampling, composing, differentiating.

A field here is a float tensor of shape ``(3, D, H, W)`` in voxels of its own grid, components (i, j, k); it maps the
voxel p to p + u(p). All functions run on CPU, CUDA and MPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from DeepRegLib.transforms.trilinear import look_up, sample_on_cpu, sample_shares, shared_out


def identity_grid(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the voxel indices (i, j, k) of a grid, shape ``(D, H, W, 3)``, each component contiguous.

    Examples
    --------
    >>> identity_grid((2, 3, 4), torch.device("cpu"))[1, 2, 3].tolist()  # (i, j, k)
    [3.0, 2.0, 1.0]
    """
    axes = [torch.arange(n, device=device, dtype=dtype) for n in shape]
    k, j, i = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([i, j, k]).permute(1, 2, 3, 0)


def sample(volume: Tensor, index: Tensor, *, padding: str = "border") -> Tensor:
    """Sample channels trilinearly at voxel indices, as exactly as their type allows.

    Parameters
    ----------
    volume
        Shape ``(C, D, H, W)``, or a batch ``(B, C, D, H, W)``.
    index
        Continuous indices (i, j, k), shape ``(d, h, w, 3)``, or a batch ``(B, d, h, w, 3)``.
    padding
        ``"border"`` repeats the edge, ``"zeros"`` fades to zero outside.

    Returns
    -------
    Tensor
        Shape ``(C, d, h, w)``, or ``(B, C, d, h, w)``.

    Examples
    --------
    >>> volume = torch.tensor([[[[0.0, 10.0, 20.0, 30.0]]]])  # one channel, along i
    >>> index = torch.tensor([[[[0.5, 0.0, 0.0], [9.0, 0.0, 0.0]]]])
    >>> sample(volume, index).round(decimals=3).tolist()
    [[[[5.0, 30.0]]]]
    """
    if volume.dim() == 4:
        return sample(volume[None], index[None], padding=padding)[0]
    # On the CPU the kernel splits its work over the batch only.
    threads = torch.get_num_threads() if volume.device.type == "cpu" else 1
    if len(volume) >= threads or _tracked(volume, index):
        return look_up(volume, _places(volume, index), padding)
    return torch.stack([_sample_on_threads(*one, padding, threads) for one in zip(volume, index, strict=True)])


def sample_images(volume: Tensor, index: Tensor, *, padding: str = "border") -> Tensor:
    """Do what `sample` does, on the CPU in half the time and right to 1e-3 of a voxel only.

    For intensities, weights and features, which noise blurs by more. A displacement needs `sample`.

    Examples
    --------
    >>> volume = torch.tensor([[[[0.0, 10.0, 20.0, 30.0]]]])
    >>> round(sample_images(volume, torch.tensor([[[[0.5, 0.0, 0.0]]]])).item(), 2)
    5.0
    """
    quick = volume.device.type == "cpu" and volume.dtype == index.dtype == torch.float32
    if not quick or _tracked(volume, index):
        return sample(volume, index, padding=padding)
    if volume.dim() == 5:
        return torch.stack([sample_on_cpu(*one, padding) for one in zip(volume, index, strict=True)])
    return sample_on_cpu(volume, index, padding)


def _sample_on_threads(volume: Tensor, index: Tensor, padding: str, threads: int) -> Tensor:
    """Sample one volume with each thread at a share of the positions."""
    places = _places(volume, index).movedim(-1, 0).flatten(1)
    sampled = sample_shares(volume, shared_out(places, threads), places.shape[1], padding)
    return sampled.reshape(len(volume), *index.shape[:3])


def _places(volume: Tensor, index: Tensor) -> Tensor:
    """Return voxel indices (i, j, k) as torch's kernel wants them, -1 to 1 across the voxel centres."""
    scale = [2 / max(n - 1, 1) for n in reversed(volume.shape[-3:])]
    return index * on_device(scale, index) - 1


def on_device(numbers: Sequence[float], like: Tensor) -> Tensor:
    """Return a few numbers as a tensor where another one lies and of its type, without waiting for the device.

    A tensor that is sent to a GPU waits for all that the GPU has to do; one that is filled there does not.

    Examples
    --------
    >>> on_device([0.5, 2.0], torch.zeros(3)).tolist()
    [0.5, 2.0]
    """
    return torch.stack([torch.full((), number, dtype=like.dtype, device=like.device) for number in numbers])


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

    Examples
    --------
    >>> field = torch.zeros(3, 4, 4, 4)
    >>> field[0] = 1.0  # one voxel along i
    >>> compose_fields(field, field, identity_grid((4, 4, 4), field.device))[:, 0, 0, 0].tolist()
    [2.0, 0.0, 0.0]
    """
    return inner + sample(outer, grid + inner.permute(1, 2, 3, 0))


def field_gradient(field: Tensor) -> Tensor:
    """Return du_a/dp_b by central differences (one-sided at the border), shape ``(3, 3, D, H, W)``.

    Examples
    --------
    >>> field = identity_grid((4, 4, 4), torch.device("cpu")).permute(3, 0, 1, 2) * 0.5
    >>> field_gradient(field)[:, :, 1, 1, 1].tolist()
    [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5]]
    """
    return torch.stack([central_difference(field, dim) for dim in (-1, -2, -3)], dim=1)


def central_difference(volume: Tensor, dim: int) -> Tensor:
    """Differentiate along one axis: central inside, one-sided at the border, zero along an axis of one voxel.

    Examples
    --------
    >>> central_difference(torch.tensor([0.0, 1.0, 4.0, 9.0]), 0).tolist()
    [1.0, 2.0, 4.0, 5.0]
    """
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

    Examples
    --------
    >>> field = torch.full((3, 4, 4, 4), 2.0)  # two voxels
    >>> finer = resize_field(field, (8, 8, 8), 0.5, torch.tensor([-0.25, -0.25, -0.25]))
    >>> finer[:, 0, 0, 0].tolist()  # are four of half the width
    [4.0, 4.0, 4.0]
    """
    index = identity_grid(shape, field.device, field.dtype) * scale + offset
    return sample(field, index) / scale
