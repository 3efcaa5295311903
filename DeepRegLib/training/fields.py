"""Where a field leads, and what lies there: what `networks/fields.py` does for volumes on the field's own grid."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from DeepRegLib.optimization.field_grid import RATIO
from DeepRegLib.transforms.sampling import identity_grid, index_scale


def half_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape of the field for images of a shape."""
    d, h, w = (-(-n // RATIO) for n in shape)
    return d, h, w


def positions(field: Tensor) -> Tensor:
    """Return where a field ``(B, 3, d, h, w)`` takes the voxels of its grid, shape ``(B, d, h, w, 3)``."""
    d, h, w = field.shape[2:]
    return field.movedim(1, -1) + identity_grid((d, h, w), field.device, field.dtype)


def sample(volume: Tensor, index: Tensor, *, padding: str = "border") -> Tensor:
    """Sample ``(B, C, D, H, W)`` trilinearly at voxel indices (i, j, k), shape ``(B, d, h, w, 3)``."""
    grid = index * index_scale(volume.shape[-3:], index) - 1
    return functional.grid_sample(volume, grid, mode="bilinear", padding_mode=padding, align_corners=True)
