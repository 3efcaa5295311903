"""How alike two fields of vectors point: for features that a network gives each voxel, whatever the contrast."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.similarity.weighting import reciprocal

# Below this length a vector points nowhere: past the border, or where interpolation cancelled it.
_LEAST_LENGTH = 1e-3


class Cosine:
    """Weighted mean cosine of the angle between two vectors a voxel, in [-1, 1], 1 for equal directions.

    ``S = sum_x w(x) <F(x), M(x)> / |M(x)| / sum_x w(x)``. Interpolation shortens warped vectors most where neighbours
    differ; only their direction counts. Voxels of weight zero have no influence; without any weight value and gradient
    are 0. Unlike the other metrics it takes one image at a time, of several channels.

    Parameters
    ----------
    fixed
        Unit vectors ``(C, D, H, W)``, float32 or float64.
    weight
        ``(D, H, W)``, at least 0, same type and device; constant with respect to the warped vectors.
    """

    def __init__(self, fixed: Tensor, weight: Tensor) -> None:
        self._fixed = fixed
        self._share = weight * reciprocal(weight.sum())

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(1,)`` of warped vectors ``(C, D, H, W)`` of any length."""
        cosine, _ = self._compare(warped)
        return (self._share * cosine).sum()[None]

    @torch.no_grad()
    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(1,)`` and its derivative ``(C, D, H, W)`` with respect to each number of ``warped``.

        ``w (F - cos M / |M|) / |M|`` over the sum of all weights: what turns a vector, and nothing that stretches it.
        """
        cosine, per_length = self._compare(warped)
        value = (self._share * cosine).sum()[None]
        gradient = torch.addcmul(self._fixed, warped, cosine * per_length, value=-1)
        return value, gradient.mul_(self._share * per_length)

    def _compare(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosine and one over the length of the warped vector, 0 for none, ``(D, H, W)`` each."""
        length = torch.linalg.vector_norm(warped, dim=0)
        per_length = torch.where(length > _LEAST_LENGTH, 1 / length, 0)
        return (self._fixed * warped).sum(0).mul_(per_length), per_length
