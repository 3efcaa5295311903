"""Whether two scans show the same tissue in the same contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from DeepRegLib.image import resample
from DeepRegLib.optimization.contrast_mapping import map_contrasts, share_explained
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.working import WorkingImage, coarser, moved_by
from DeepRegLib.recipes import LNCC_NGF
from DeepRegLib.similarity import contrast_agreement
from DeepRegLib.stages.run import Run

SAME_CONTRAST = 0.7
# Of the variance: what contrasts that are learned again must explain more of. On brains and heads it was .06 to .11 and
# gained up to .006 Dice, on smooth blobs and hippocampi .02 to .04, where mistakes of the field were learned too.
CLEARLY_MORE = 0.05


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


def map_contrasts_again(run: Run, finest: Level, levels: Sequence[Level], displacement: Tensor) -> list[Level] | None:
    """Return levels with each image in the other's contrast as it shows where the images are better aligned.

    None if what was learned before explains the images there nearly as well: it is less likely to hold the mistakes of
    the displacement to be right.

    Parameters
    ----------
    run
        Its recipe compares both contrasts.
    finest
        Of the weights that the images have by themselves.
    levels
        Of the same images.
    displacement
        On the grid of the finest level's field, in voxels of that.
    """
    moved = moved_by(finest.moving, displacement)
    seen = seen_in_both(run, replace(finest, moving=moved))
    again = map_contrasts(finest.fixed, finest.moving, seen, displacement)
    before = share_explained(finest.fixed, moved, seen)
    better = again.explained - before >= CLEARLY_MORE
    run.log.add_decision(
        f"Contrasts: {'learned again' if better else 'kept'}, as where the images now lie they explain "
        f"{again.explained:.2f} of each other if learned there, and {before:.2f} as learned before."
    )
    if not better:
        return None
    return [
        replace(
            level,
            fixed=_with_contrast_of(level.fixed, again.fixed),
            moving=_with_contrast_of(level.moving, again.moving),
        )
        for level in levels
    ]


def _with_contrast_of(image: WorkingImage, finest: WorkingImage) -> WorkingImage:
    """Return an image with the mapped intensities of a finer one."""
    there = finest if image.geometry == finest.geometry else coarser(finest, image.geometry)
    return replace(image, mapped=there.mapped, mapped_share=there.mapped_share)


def map_contrasts_where_compared(run: Run, level: Level) -> Level:
    """Return the level with each image in the other's contrast too if the recipe compares both, else as it is."""
    if run.recipe.deformable.similarity != LNCC_NGF:
        return level
    images = map_contrasts(level.fixed, level.moving, seen_in_both(run, level))
    return replace(level, fixed=images.fixed, moving=images.moving)
