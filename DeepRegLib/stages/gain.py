"""Whether the deformable stage has found anything: where it has not, its field is what noise made of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.evaluation.evidence import FEWEST_PLACES, information, unexplained
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.preparation import foreground_weight, working_image
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.run import Run, working_grid
from DeepRegLib.transforms import DisplacementField, Transform, has_field, parts_of

VOXELS = 200_000
# A field that follows noise makes fine detail agree and moves what is larger: at this Gaussian sigma, in voxels of the
# grid, noise is gone. Phantoms that had hardly moved: docs/experiments.md.
SIGMA = 3.0
# What a field that follows noise makes of the information of what is not smoothed: 1.09 times on those phantoms, 1.26
# on blobs. Where little anatomy is in both scans, larger structures tell little, but detail gains more (a brain: 2.2).
MOST_BY_NOISE = 1.5
# Where much lies still and some has moved (breathing), information counts how exactly the still lies and hardly how far
# the rest is off. What the intensities, smoothed by so many voxels, do not explain of each other counts that: a right
# field leaves at most .78 of it, one that follows noise 1.05 and more.
STILL_SIGMA, MOST_LEFT = 1.0, 0.85


def without_unfounded_field(run: Run, start: Transform, found: Deformed) -> Deformed:
    """Return what the deformable stage found, or its start where neither larger structures nor detail gain by it.

    A field that the user gave, drew by landmarks or labels, or asked of an ultrasound, whose speckle says little at
    this scale, stays.

    Parameters
    ----------
    run
        Its log is told.
    start
        What the stage began from, fixed points to moving points.
    found
        What it made of it.
    """
    recipe, poll = run.recipe.prepare, run.monitor.poll
    driven = run.landmarks is not None or run.labels is not None
    if driven or _deforms(start) or not has_field(found.transform) or recipe.labels_only or recipe.ultrasound:
        return found
    pair = run.pair.as_measured()
    grid = working_grid(pair.fixed.original.geometry, VOXELS)
    fixed = working_image(pair.fixed, grid, run.device, poll=poll)
    first, last = (
        working_image(pair.moving, grid, run.device, transform, poll=poll) for transform in (start, found.transform)
    )
    anatomy = foreground_weight(pair.fixed, grid, run.device, poll=poll)
    inside = (anatomy > 0.5) & (fixed.weight > 0.5) & (first.weight > 0.5) & (last.weight > 0.5)
    if int(inside.sum()) < FEWEST_PLACES:
        return found
    here = _smoothed(fixed, inside)
    before, after = (information(here, _smoothed(image, inside)) for image in (first, last))
    if after >= before or detail_gains(*(image.intensity[inside].cpu().numpy() for image in (fixed, first, last))):
        return found
    if differ_less(*(_smoothed(image, inside, STILL_SIGMA) for image in (fixed, first, last))):
        return found
    run.log.add_warning(
        f"The deformable stage made larger structures agree no better (information {before:.3f} before it, {after:.3f} "
        "after), so its field was left out: the result is linear. Where something small has moved, give it as a mask."
    )
    return Deformed(start)


def detail_gains(fixed: NDArray[np.float32], first: NDArray[np.float32], last: NDArray[np.float32]) -> bool:
    """Tell whether intensities say more of each other after than before, by more than noise makes of it."""
    return information(fixed, last) > MOST_BY_NOISE * information(fixed, first)


def differ_less(fixed: NDArray[np.float32], first: NDArray[np.float32], last: NDArray[np.float32]) -> bool:
    """Tell whether clearly less of the intensities is left unexplained after than before."""
    return unexplained(fixed, last) < MOST_LEFT * unexplained(fixed, first)


def _deforms(transform: Transform) -> bool:
    """Tell whether a transform has a field that moves anything."""
    return any(isinstance(part, DisplacementField) and bool(part.array.any()) for part in parts_of(transform))


def _smoothed(image: WorkingImage, inside: Tensor, sigma: float = SIGMA) -> NDArray[np.float32]:
    """Return the smoothed intensities at some voxels; what is unknown does not bleed in."""
    share = smooth(image.weight, sigma).clamp_min(1e-3)
    smoothed = smooth(image.intensity * image.weight, sigma) / share
    return np.asarray(smoothed[inside].cpu().numpy(), dtype=np.float32)
