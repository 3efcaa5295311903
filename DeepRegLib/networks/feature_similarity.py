"""How alike the features of two images are: a similarity across modalities that was learned."""

from __future__ import annotations

import torch
from torch import Tensor

from DeepRegLib.networks.features import FeatureNet, describe
from DeepRegLib.similarity.weighting import VOLUME_AXES, check_images, reciprocal, volume_sum


class FeatureSimilarity:
    """Weighted mean cosine of the features of both images, in [-1, 1], 1 for equal images.

    ``S = sum_x w(x) <F(x), M(x)> / sum_x w(x)`` with unit features F and M of the fixed and the warped image. It
    follows `DeepRegLib.similarity.Similarity`, but its gradient comes from autograd through the network. Voxels of
    weight zero do not count themselves, yet the features of their neighbours see them. Without any weight value and
    gradient are 0.

    Parameters
    ----------
    network
        A trained network in evaluation mode, on the device and of the type of the images; it is not changed.
    fixed
        ``(1 or B, D, H, W)`` floating point, about 0 to 1; any size.
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device; constant with respect to the warped image.

    Raises
    ------
    InputError
        If the fixed image and the weight do not fit each other.
    """

    def __init__(self, network: FeatureNet, fixed: Tensor, weight: Tensor) -> None:
        check_images(fixed, weight)
        self._network = network
        self._share = weight * reciprocal(volume_sum(weight))
        with torch.no_grad():
            self._features = describe(network, fixed)

    @torch.no_grad()
    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``."""
        return self._compare(warped)

    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        with torch.enable_grad():
            leaf = warped.detach().requires_grad_()
            value = self._compare(leaf)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    def _compare(self, warped: Tensor) -> Tensor:
        return ((describe(self._network, warped) * self._features).sum(1) * self._share).sum(VOLUME_AXES)
