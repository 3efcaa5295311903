"""Whether two scans show the same tissue in the same contrast, which decides how they are compared."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegLib.image import resample
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.similarity import contrast_agreement
from DeepRegLib.stages.run import Run

SAME_CONTRAST = 0.7


def same_contrast(run: Run, level: Level) -> tuple[bool, str]:
    """Tell whether images that a linear transform has aligned agree in contrast, and why it is thought so."""
    ct = [side.is_ct for side in (run.pair.fixed, run.pair.moving)]
    if all(ct):
        return True, "both images are CT"
    if any(ct):
        return False, "one image is CT and the other is not"
    foreground = resample(run.pair.fixed.foreground, level.fixed.geometry, interpolation="nearest").array
    inside = torch.from_numpy(foreground.astype(np.float32)).to(run.device)
    weight = level.fixed.weight * level.moving.weight * inside
    agreement = float(contrast_agreement(level.fixed.intensity, level.moving.intensity, weight))
    same = agreement >= SAME_CONTRAST
    word = "same" if same else "different"
    return same, f"the aligned images look {word} in contrast (local agreement {agreement:.2f}, limit {SAME_CONTRAST})"
