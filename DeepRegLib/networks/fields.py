"""Fields in a network: sampled, composed, integrated and brought to the images' grid, in a batch and differentiable.

A field here is ``(B, 3, D, H, W)`` in voxels of its own grid, components (i, j, k), and maps the voxel p to p + u(p):
a batch of what `DeepRegLib.transforms.sampling` works with. The field of a registration lives on a grid half as fine
as its images, each node in the middle of eight voxels. Positions are computed in float32 or finer, whatever the type
of what is sampled: half precision cannot tell neighbouring voxels apart.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.transforms.sampling import identity_grid, sample, sample_images

RATIO = 2


def warp(image: Tensor, field: Tensor, *, padding: str = "border") -> Tensor:
    """Sample images where a field on the half-resolution grid points to.

    Parameters
    ----------
    image
        Shape ``(B, C, D, H, W)``.
    field
        Shape ``(B, 3, ceil(D / 2), ceil(H / 2), ceil(W / 2))``, in voxels of its grid.
    padding
        ``"border"`` repeats the edge, ``"zeros"`` fades to zero outside.

    Returns
    -------
    Tensor
        Shape and type of `image`.
    """
    depth, height, width = image.shape[-3:]
    return displace(image, to_full(field, (depth, height, width)), padding=padding)


def displace(volume: Tensor, field: Tensor, *, padding: str = "border") -> Tensor:
    """Sample volumes where a field on their own grid points to.

    Parameters
    ----------
    volume
        Shape ``(B, C, D, H, W)``.
    field
        Shape ``(B, 3, D, H, W)``, in voxels.
    padding
        ``"border"`` repeats the edge, ``"zeros"`` fades to zero outside.

    Returns
    -------
    Tensor
        Shape and type of `volume`.
    """
    exact = at_least_float32(volume)
    return sample_images(exact, positions(field.to(exact.dtype)), padding=padding).to(volume.dtype)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Return the field of p -> q + outer(q) with q = p + inner(p); all ``(B, 3, D, H, W)``, float32 or finer."""
    return inner + sample(outer, positions(inner))


def positions(field: Tensor) -> Tensor:
    """Return where a field ``(B, 3, d, h, w)`` takes the nodes of its grid, shape ``(B, d, h, w, 3)``."""
    depth, height, width = field.shape[-3:]
    return field.movedim(1, -1) + identity_grid((depth, height, width), field.device, field.dtype)


def half_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape of the field for images of a shape."""
    depth, height, width = (-(-n // RATIO) for n in shape)
    return depth, height, width


def integrate(velocity: Tensor, steps: int) -> Tensor:
    """Follow a stationary velocity for unit time by scaling and squaring (Arsigny et al. 2006).

    Parameters
    ----------
    velocity
        Shape ``(B, 3, D, H, W)``, in voxels of its grid.
    steps
        Number of squarings: the time step is ``2 ** -steps``.

    Returns
    -------
    Tensor
        The displacement, shape ``(B, 3, D, H, W)``.
    """
    field = at_least_float32(velocity) / 2**steps
    for _ in range(steps):
        field = compose(field, field)
    return field


def to_full(field: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Interpolate a field linearly at the voxels of its images.

    Parameters
    ----------
    field
        Shape ``(B, 3, d, h, w)``, on the half-resolution grid, in voxels of that grid.
    shape
        Shape ``(D, H, W)`` of the images.

    Returns
    -------
    Tensor
        Shape ``(B, 3, D, H, W)``, in voxels of the images.
    """
    depth, height, width = shape
    return twice_as_fine(field)[:, :, :depth, :height, :width]


def to_half(volume: Tensor) -> Tensor:
    """Average ``(B, C, D, H, W)`` over the voxels about each node of the field's grid."""
    return functional.avg_pool3d(volume, RATIO, ceil_mode=True)


def twice_as_fine(field: Tensor) -> Tensor:
    """Bring a field ``(B, 3, d, h, w)`` to the next finer level, ``(B, 3, 2 d, 2 h, 2 w)``, in voxels of each."""
    return upsample(at_least_float32(field)) * RATIO


def upsample(features: Tensor) -> Tensor:
    """Interpolate features ``(B, C, d, h, w)`` linearly on a grid twice as fine, of the same extent."""
    return functional.interpolate(features, scale_factor=RATIO, mode="trilinear", align_corners=False)


def at_least_float32(values: Tensor) -> Tensor:
    """Return half precision values as float32, finer ones as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
