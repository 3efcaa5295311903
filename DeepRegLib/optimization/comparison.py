"""What the deformable stage compares at a level: the images by one metric, or by several in either's contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.recipes import FEATURES, LNCC_NGF, Deformable
from DeepRegLib.similarity import LNCC, NGF, Cosine, Similarity, Windows, make_similarity

COARSEST_EXACT = 2
# The force (similarity gained at a voxel by moving it one voxel) below which a step stays short of its full length:
# without it every voxel would be pushed as hard by noise as by an edge.
_METRIC_NOISE = {"ssd": 0.05, "ssim": 0.8, "ncc": 0.5, "lncc": 0.5, "mind": 0.2, "ngf": 0.3, "lc2": 0.3, FEATURES: 0.3}
# Of "lncc+ngf": the share of its windows, by which noise moves a voxel as far as by its edges, and the mean of both.
_WINDOWS_SHARE = _METRIC_NOISE["ngf"] / (_METRIC_NOISE["ngf"] + _METRIC_NOISE["lncc"])
NOISE_FORCE: Mapping[str, float] = _METRIC_NOISE | {
    LNCC_NGF: _WINDOWS_SHARE * _METRIC_NOISE["lncc"] + (1 - _WINDOWS_SHARE) * _METRIC_NOISE["ngf"]
}
# MIND compares patches and NGF slopes, not voxels, so their forces are rougher than what they should move; and a
# contrast that had to be guessed is noisier than one that was measured.
ROUGHNESS: Mapping[str, float] = {
    "ssd": 1.0,
    "ssim": 1.0,
    "ncc": 1.0,
    "lncc": 1.0,
    LNCC_NGF: 1.4,
    "mind": 2.35,
    "ngf": 2.35,
    "lc2": 2.35,
    FEATURES: 1.4,
}


@dataclass(frozen=True, eq=False)
class _Term:
    """A metric, which of what is compared of the warped image it looks at, and its share of the similarity."""

    metric: Similarity
    part: range
    share: float


def windows_at(shrink: int) -> Windows:
    """Return the windows of LNCC that the gradient of a level is of.

    On the finest level a force is the mean over the eight voxels about a node of the field, whose windows overlap
    nearly whole: an eighth of them says the same in a third of the time. On the next that would cost a lung 0.03 mm.

    On coarser ones a window holds several organs, and each voxel is moved for its own window's sake. Against the exact
    gradient on all levels that gained 0.015 Dice on an abdomen and 0.004 on hippocampi, and lost 0.001 on a brain; on
    the finer ones it cost the brain 0.01.
    """
    if shrink == 1:
        return Windows.SPARSE
    return Windows.ALL if shrink <= COARSEST_EXACT else Windows.OWN


class Comparison:
    """The similarity of a recipe, prepared for a fixed image and a weight.

    ``"lncc+ngf"`` needs both images in the other's contrast too (`WorkingImage.mapped`). It is LNCC in the moving
    image's contrast and LNCC in the fixed one's, and NGF, whose edges need no contrast to be guessed. A guessed
    contrast that shows less can be had from one that shows more, but not the reverse: hence both ways, each as much as
    it explains (`WorkingImage.mapped_share`). LNCC and NGF have shares by which noise moves a voxel as far in either.
    ``"features"`` needs both images described (`WorkingImage.features`).

    Parameters
    ----------
    recipe
        Similarity and radius.
    windows
        Of LNCC.
    fixed
        The image.
    weight
        ``(D, H, W)``.
    """

    def __init__(self, recipe: Deformable, windows: Windows, fixed: WorkingImage, weight: Tensor) -> None:
        intensity, weight = fixed.intensity[None], weight[None]
        if recipe.similarity == LNCC_NGF:
            if fixed.mapped is None:
                raise ValueError("The similarity 'lncc+ngf' needs images mapped into the other's contrast.")
            both = (fixed.mapped[None], fixed.mapped_share), (intensity, 1 - fixed.mapped_share)
            in_either = (
                _Term(LNCC(image, weight, recipe.radius, windows), range(n, n + 1), _WINDOWS_SHARE * share)
                for n, (image, share) in enumerate(both)
            )
            self._terms = [*in_either, _Term(NGF(intensity, weight), range(1), 1 - _WINDOWS_SHARE)]
        elif recipe.similarity == FEATURES:
            if fixed.features is None:
                raise ValueError("The similarity 'features' needs images that are described.")
            self._terms = [_Term(Cosine(fixed.features, weight[0]), range(len(fixed.features)), 1.0)]
        elif recipe.similarity == "lncc":
            self._terms = [_Term(LNCC(intensity, weight, recipe.radius, windows), range(1), 1.0)]
        else:
            metric = make_similarity(recipe.similarity, intensity, weight, radius=recipe.radius)
            self._terms = [_Term(metric, range(1), 1.0)]

    def value(self, warped: Tensor) -> Tensor:
        """Similarity ``(1,)`` of what is compared of the warped image, ``(n, D, H, W)``."""
        values = [term.metric.value(warped[term.part.start : term.part.stop]) * term.share for term in self._terms]
        return torch.stack(values).sum(0)

    def value_and_gradient(self, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity ``(1,)`` and its derivative by each number of what is compared, ``(n, D, H, W)``."""
        value = warped.new_zeros(1)
        gradients: dict[range, Tensor] = {}
        for term in self._terms:
            reached, gradient = term.metric.value_and_gradient(warped[term.part.start : term.part.stop])
            value = value + reached * term.share
            scaled = gradient.mul_(term.share)
            gradients[term.part] = scaled.add_(gradients[term.part]) if term.part in gradients else scaled
        return value, torch.cat([gradients[part] for part in sorted(gradients, key=lambda part: part.start)])
