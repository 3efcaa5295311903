"""What each of two aligned images would look like in the other's contrast, and how much of it that explains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from DeepRegLib.optimization.working import WorkingImage, moved_by
from DeepRegLib.similarity import contrast_curve, correlation_ratio


@dataclass(frozen=True, eq=False)
class MappedContrasts:
    """Both images with the contrast of the other beside their own, and the share of the variance that explains."""

    fixed: WorkingImage
    moving: WorkingImage
    explained: float


def map_contrasts(
    fixed: WorkingImage, moving: WorkingImage, weight: Tensor, displacement: Tensor | None = None
) -> MappedContrasts:
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
    fixed = replace(fixed, mapped=contrast_curve(fixed.intensity, moved, weight)(fixed.intensity))
    moving = replace(moving, mapped=contrast_curve(moved, fixed.intensity, weight)(moving.intensity))
    # Mapped and then moved, as it is compared: between two greys lies another contrast than theirs.
    of_moving, of_fixed = _explained(fixed, aligned(moving), weight)
    both = of_moving + of_fixed
    return MappedContrasts(replace(fixed, mapped_share=of_moving / both if both > 0 else 0.5), moving, both / 2)


def share_explained(fixed: WorkingImage, moved: WorkingImage, weight: Tensor) -> float:
    """Return how much of the variance of either image the other, in its contrast, explains; the mean of both, 0 to 1.

    That is the correlation ratio (Roche et al., MICCAI 1998), both ways, where the contrasts were
    learned of the images as they lie now; less where they are better aligned than then.
    """
    return sum(_explained(fixed, moved, weight)) / 2


def _explained(fixed: WorkingImage, moved: WorkingImage, weight: Tensor) -> tuple[float, float]:
    """Return how much of the moved image the mapped fixed one explains, and of the fixed one the mapped moved one."""
    if fixed.mapped is None or moved.mapped is None:
        raise ValueError("images without the other's contrast")
    of_moved = correlation_ratio(moved.intensity, fixed.mapped, weight)
    of_fixed = correlation_ratio(fixed.intensity, moved.mapped, weight)
    return float(of_moved), float(of_fixed)
