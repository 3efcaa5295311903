"""What acts along each axis alone, as one matrix an axis: smooth noise, blur, thick slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from DeepRegLib.training.randomness import Randomness

# The integral of the squared cubic B-spline: what it leaves of the variance of white noise along one axis.
SPLINE_VARIANCE = 151 / 315
SPLINE_REACH = 4


def along_axes(volume: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply a matrix along each axis.

    Parameters
    ----------
    volume
        Shape ``(B, C, d, h, w)``.
    matrices
        For k, j and i: shapes ``(B or 1, C or 1, D, d)``, ``(..., H, h)`` and ``(..., W, w)``.

    Returns
    -------
    Tensor
        Shape ``(B, C, D, H, W)``.
    """
    for matrix in reversed(matrices):
        # One product for all lines; the axis it leaves first is the one that comes first again after three of them.
        before = volume.shape[2:4]
        volume = (matrix @ volume.flatten(2, 3).mT).unflatten(3, before)
    return volume


def smooth_noise(
    random: Randomness, channels: int, shape: tuple[int, int, int], distances: tuple[float, float]
) -> Tensor:
    """Draw smooth noise: a cubic B-spline with random control points.

    Parameters
    ----------
    random
        What to draw from.
    channels
        How many independent volumes a sample.
    shape
        Shape ``(D, H, W)``.
    distances
        Least and largest distance of the control points in voxels; drawn evenly on a logarithmic scale a channel.

    Returns
    -------
    Tensor
        Shape ``(B, channels, D, H, W)``, mean 0, variance about 1.
    """
    low, high = distances
    distance = random.uniform(math.log(low), math.log(high), channels).exp_()
    phases = random.uniform(0, 1, channels, 3)
    matrices = [
        _spline_matrix(size, distance, phases[..., axis], math.floor((size - 1) / low) + 1 + SPLINE_REACH)
        for axis, size in enumerate(shape)
    ]
    control = random.normal(channels, *(matrix.shape[-1] for matrix in matrices))
    return along_axes(control, matrices).div_(SPLINE_VARIANCE**1.5)


def _spline_matrix(size: int, distance: Tensor, phase: Tensor, count: int) -> Tensor:
    """Weights ``(B, C, size, count)`` of control points, `phase` of a distance before the first voxel."""
    voxels = torch.arange(size, device=distance.device)
    place = voxels / distance[..., None] + phase[..., None] + 1
    away = (place[..., None] - torch.arange(count, device=distance.device)).abs_()
    near = 2 / 3 - away.square() * (1 - away / 2)
    far = (2 - away).clamp_(min=0) ** 3 / 6
    return torch.where(away < 1, near, far)


def blur_matrix(size: int, sigma: Tensor) -> Tensor:
    """Gaussian blur of a line that is continued by its end values.

    Parameters
    ----------
    size
        Voxels of the line.
    sigma
        In voxels, shape ``(B,)``; 0 for none.

    Returns
    -------
    Tensor
        Shape ``(B, 1, size, size)``.
    """
    offset = _offsets(size, sigma.device)
    weights = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3)[:, None, None]) ** 2)
    return (weights / weights.sum(-1, keepdim=True))[:, None]


def slice_matrices(size: int, thickness: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Average a line over thick slices, and interpolate linearly between their centres.

    Parameters
    ----------
    size
        Voxels of the line.
    thickness
        Of the slices in voxels, at least 1, shape ``(B,)``.
    phase
        Where the first slice begins before the line, as a share of its thickness, shape ``(B,)``.

    Returns
    -------
    averaging, interpolating
        Shapes ``(B, 1, size, size)``: the first leaves the slices in its first rows, the second takes them from there.
    """
    device = thickness.device
    thick, start = thickness[:, None, None], phase[:, None, None]
    low = (torch.arange(size, device=device)[:, None] - start) * thick
    voxel = torch.arange(size, device=device)
    overlap = (torch.minimum(low + thick, voxel + 1.0) - torch.maximum(low, voxel.float())).clamp_(min=0)
    averaging = overlap / overlap.sum(-1, keepdim=True).clamp(min=1e-6)
    place = ((voxel[:, None] + 0.5) / thick + start - 0.5).clamp(min=0)
    slices = (size / thick + start).ceil() - 1
    hat = (1 - (torch.minimum(place, slices) - torch.arange(size, device=device)).abs()).clamp_(min=0)
    return averaging[:, None], hat[:, None]


def ghost_matrix(size: int, shift: Tensor, strength: Tensor) -> Tensor:
    """Add to a line itself, shifted around its ends, as motion between the lines of k-space does.

    Parameters
    ----------
    size
        Voxels of the line.
    shift
        In voxels, shape ``(B,)``.
    strength
        Share of the shifted line, shape ``(B,)``.

    Returns
    -------
    Tensor
        Shape ``(B, 1, size, size)``.
    """
    offset = (_offsets(size, shift.device) - shift.round()[:, None, None]).remainder(size)
    identity = torch.eye(size, device=shift.device)
    share = strength[:, None, None]
    return (identity * (1 - share) + (offset == 0) * share)[:, None]


def _offsets(size: int, device: torch.device) -> Tensor:
    voxel = torch.arange(size, device=device)
    return (voxel[:, None] - voxel).float()
