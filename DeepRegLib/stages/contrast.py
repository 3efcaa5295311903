"""Whether two scans show the same tissue in the same contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from DeepRegLib.image import resample
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.recolouring import recoloured
from DeepRegLib.recipes import MATCHED
from DeepRegLib.similarity import contrast_agreement
from DeepRegLib.stages.run import Run

SAME_CONTRAST = 0.7


def same_contrast(run: Run, level: Level, seen: Tensor) -> tuple[bool, str]:
    """Tell whether images that a linear transform has aligned agree in contrast, and why it is thought so.

    Where they do is what `seen_in_both` returned.
    """
    ct = [side.is_ct for side in (run.pair.fixed, run.pair.moving)]
    if all(ct):
        return True, "both images are CT"
    if any(ct):
        return False, "one image is CT and the other is not"
    agreement = float(contrast_agreement(level.fixed.intensity, level.moving.intensity, seen))
    same = agreement >= SAME_CONTRAST
    word = "same" if same else "different"
    return same, f"the aligned images look {word} in contrast (local agreement {agreement:.2f}, limit {SAME_CONTRAST})"


def seen_in_both(run: Run, level: Level) -> Tensor:
    """Return how much each voxel of the fixed foreground counts in both images of a level, ``(D, H, W)``."""
    foreground = resample(run.pair.fixed.foreground, level.fixed.geometry, interpolation="nearest").array
    inside = torch.from_numpy(foreground.astype(np.float32)).to(run.device)
    return level.fixed.weight * level.moving.weight * inside


def recoloured_where_wanted(run: Run, level: Level) -> Level:
    """Return the level with each image in the other's contrast too if the recipe compares both, else as it is."""
    if run.recipe.deformable.similarity != MATCHED:
        return level
    fixed, moving = recoloured(level.fixed, level.moving, seen_in_both(run, level))
    return replace(level, fixed=fixed, moving=moving)
