"""What each of two aligned images would look like in the other's contrast, and how much of it that explains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from DeepRegLib.optimization.working import WorkingImage, moved_by
from DeepRegLib.similarity import contrast_curve, correlation_ratio


@dataclass(frozen=True, eq=False)
class Recoloured:
    """Both images with the contrast of the other beside their own, and the share of the variance that explains."""

    fixed: WorkingImage
    moving: WorkingImage
    explained: float


def recoloured(
    fixed: WorkingImage, moving: WorkingImage, weight: Tensor, displacement: Tensor | None = None
) -> Recoloured:
    """Give both images the contrast of the other beside their own.

    The comparisons in either contrast count by how much of the variance they explain: what several tissues share in one
    image tells nothing of them in the other.

    Parameters
    ----------
    fixed, moving
        On one grid.
    weight
        How much each voxel of the fixed image counts in learning what becomes what, ``(D, H, W)``.
    displacement
        What brings the moving image to where the contrasts are learned, on the grid of a field and in voxels of that,
        ``(3, d, h, w)``; None where it is as it lies.
    """

    def aligned(image: WorkingImage) -> WorkingImage:
        return image if displacement is None else moved_by(image, displacement)

    moved = aligned(moving).intensity
    fixed = replace(fixed, recoloured=contrast_curve(fixed.intensity, moved, weight)(fixed.intensity))
    moving = replace(moving, recoloured=contrast_curve(moved, fixed.intensity, weight)(moving.intensity))
    # Recoloured and then moved, as it is compared: between two greys lies another contrast than theirs.
    of_moving, of_fixed = _explained(fixed, aligned(moving), weight)
    both = of_moving + of_fixed
    return Recoloured(replace(fixed, recoloured_share=of_moving / both if both > 0 else 0.5), moving, both / 2)


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
