"""Whether two scans show the same tissue in the same contrast, and what each would look like in the other's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from DeepRegLib.image import resample
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.recipes import MATCHED
from DeepRegLib.similarity import contrast_agreement, contrast_curve, correlation_ratio
from DeepRegLib.stages.run import Run

SAME_CONTRAST = 0.7


def same_contrast(run: Run, level: Level) -> tuple[bool, str]:
    """Tell whether images that a linear transform has aligned agree in contrast, and why it is thought so."""
    ct = [side.is_ct for side in (run.pair.fixed, run.pair.moving)]
    if all(ct):
        return True, "both images are CT"
    if any(ct):
        return False, "one image is CT and the other is not"
    agreement = float(contrast_agreement(level.fixed.intensity, level.moving.intensity, _seen_in_both(run, level)))
    same = agreement >= SAME_CONTRAST
    word = "same" if same else "different"
    return same, f"the aligned images look {word} in contrast (local agreement {agreement:.2f}, limit {SAME_CONTRAST})"


def recoloured(run: Run, level: Level) -> Level:
    """Return a level whose images, aligned linearly, have the contrast of the other beside their own."""
    fixed, moving, weight = level.fixed, level.moving, _seen_in_both(run, level)
    to_moving = contrast_curve(fixed.intensity, moving.intensity, weight)
    to_fixed = contrast_curve(moving.intensity, fixed.intensity, weight)
    return replace(
        level,
        fixed=replace(fixed, recoloured=to_moving(fixed.intensity)),
        moving=replace(moving, recoloured=to_fixed(moving.intensity)),
    )


def recoloured_where_wanted(run: Run, level: Level) -> Level:
    """Return the level recoloured if the recipe compares both contrasts, else as it is."""
    return recoloured(run, level) if run.recipe.deformable.similarity == MATCHED else level


def share_explained(run: Run, level: Level) -> float:
    """Return how much of the variance of either image the other explains, recoloured; the mean of both, 0 to 1.

    That is the correlation ratio (Roche et al., MICCAI 1998), both ways.
    """
    both, weight = recoloured(run, level), _seen_in_both(run, level)
    pairs = zip(both.fixed.contrasts, both.moving.contrasts.flip(0), strict=True)
    return float(torch.stack([correlation_ratio(image, other, weight) for image, other in pairs]).mean())


def _seen_in_both(run: Run, level: Level) -> Tensor:
    foreground = resample(run.pair.fixed.foreground, level.fixed.geometry, interpolation="nearest").array
    inside = torch.from_numpy(foreground.astype(np.float32)).to(run.device)
    return level.fixed.weight * level.moving.weight * inside
