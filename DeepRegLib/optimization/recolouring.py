"""What each of two aligned images would look like in the other's contrast, and how much of it that explains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.similarity import contrast_curve, correlation_ratio


@dataclass(frozen=True, eq=False)
class Recoloured:
    """Both images with the contrast of the other beside their own, and the share of the variance that explains."""

    fixed: WorkingImage
    moving: WorkingImage
    explained: float


def recoloured(
    fixed: WorkingImage, moving: WorkingImage, weight: Tensor, moved: WorkingImage | None = None
) -> Recoloured:
    """Give both images the contrast of the other beside their own.

    The comparisons in either contrast count by how much of the variance they explain: what several tissues share in one
    image tells nothing of them in the other.

    Parameters
    ----------
    fixed, moving
        On one grid.
    weight
        How much each voxel counts in learning what becomes what, ``(D, H, W)``.
    moved
        The moving image where it lies on the fixed one, as far as is known; None where it does so as it is.
    """
    aligned = moving if moved is None else moved
    to_moving = contrast_curve(fixed.intensity, aligned.intensity, weight)
    to_fixed = contrast_curve(aligned.intensity, fixed.intensity, weight)
    fixed = replace(fixed, recoloured=to_moving(fixed.intensity))
    aligned = replace(aligned, recoloured=to_fixed(aligned.intensity))
    of_moving, of_fixed = _explained(fixed, aligned, weight)
    both = of_moving + of_fixed
    fixed = replace(fixed, recoloured_share=of_moving / both if both > 0 else 0.5)
    if moved is not None:
        moving = replace(moving, recoloured=to_fixed(moving.intensity))
    return Recoloured(fixed, aligned if moved is None else moving, both / 2)


def share_explained(fixed: WorkingImage, moved: WorkingImage, weight: Tensor) -> float:
    """Return how much of the variance of either image the other explains, recoloured; the mean of both, 0 to 1.

    That is the correlation ratio (Roche et al., MICCAI 1998), both ways, where the images are recoloured by what was
    learned of them now; less where they are better aligned than then.
    """
    return sum(_explained(fixed, moved, weight)) / 2


def _explained(fixed: WorkingImage, moved: WorkingImage, weight: Tensor) -> tuple[float, float]:
    """Return how much of the moved image the recoloured fixed one explains, and of the fixed one the moved."""
    if fixed.recoloured is None or moved.recoloured is None:
        raise ValueError("images that are not recoloured")
    of_moved = correlation_ratio(moved.intensity, fixed.recoloured, weight)
    of_fixed = correlation_ratio(fixed.intensity, moved.recoloured, weight)
    return float(of_moved), float(of_fixed)
