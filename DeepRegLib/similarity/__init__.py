"""Image similarities: one metric a file, each prepared once for a fixed image, with its analytic gradient.

Every metric takes the fixed image and a weight (0 where a mask or the moving field of view leaves a voxel out) and
then rates warped images, a batch of candidates at once. Higher is better. Nothing here uses torch's autograd or waits
for the device (docs/decisions/analytic-gradients.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.contrast import contrast_agreement
from DeepRegLib.similarity.contrast_curve import contrast_curve, correlation_ratio
from DeepRegLib.similarity.cosine import Cosine
from DeepRegLib.similarity.lc2 import LC2
from DeepRegLib.similarity.lncc import LNCC, Windows
from DeepRegLib.similarity.mattes import MattesMI
from DeepRegLib.similarity.mind import MIND, mind_features
from DeepRegLib.similarity.ncc import NCC
from DeepRegLib.similarity.ngf import NGF
from DeepRegLib.similarity.ssd import SSD
from DeepRegLib.similarity.ssim import SSIM

__all__ = [
    "LC2",
    "LNCC",
    "MIND",
    "NCC",
    "NGF",
    "SSD",
    "SSIM",
    "Cosine",
    "MattesMI",
    "Similarity",
    "Windows",
    "contrast_agreement",
    "contrast_curve",
    "correlation_ratio",
    "make_similarity",
    "mind_features",
]


class Similarity(Protocol):
    """What every metric does once it is prepared for a fixed image and a weight."""

    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(B,)`` of ``warped`` ``(B, D, H, W)``, higher for better matches."""
        ...

    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(B,)`` and its derivative ``(B, D, H, W)`` with respect to each voxel of ``warped``."""
        ...


_METRICS: dict[str, Callable[[Tensor, Tensor, int], Similarity]] = {
    "ssd": lambda fixed, weight, _: SSD(fixed, weight),
    "ssim": SSIM,
    "ncc": lambda fixed, weight, _: NCC(fixed, weight),
    "lncc": LNCC,
    "lc2": LC2,
    "mi": lambda fixed, weight, _: MattesMI(fixed, weight),
    "mind": MIND,
    "ngf": lambda fixed, weight, _: NGF(fixed, weight),
}


def make_similarity(name: str, fixed: Tensor, weight: Tensor, *, radius: int) -> Similarity:
    """Prepare the metric of a recipe.

    Parameters
    ----------
    name
        ``"ssd"``, ``"ssim"``, ``"ncc"``, ``"lncc"``, ``"lc2"``, ``"mi"``, ``"mind"`` or ``"ngf"``.
    fixed
        ``(1 or B, D, H, W)`` float32 or float64; ``"mi"`` expects warped images scaled to [0, 1].
    weight
        ``(1 or B, D, H, W)``, at least 0, same type and device.
    radius
        Half width in voxels of the window of ``"lncc"``, ``"lc2"`` and ``"ssim"``, or of the patch of ``"mind"``; the
        others have none.

    Raises
    ------
    InputError
        If there is no metric of that name, or the images or the radius cannot be used.
    """
    if name not in _METRICS:
        raise InputError(f"There is no similarity {name!r}.", f"Use one of {', '.join(_METRICS)}.")
    return _METRICS[name](fixed, weight, radius)
