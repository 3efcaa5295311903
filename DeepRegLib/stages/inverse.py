"""The inverse of what was found, as exact as one should be."""

from __future__ import annotations

import numpy as np

from DeepRegLib.evaluation import InverseConsistency, inverse_consistency
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.field_grid import RATIO
from DeepRegLib.stages.run import Run
from DeepRegLib.stages.unfolding import Unfolded, unfolded
from DeepRegLib.transforms import Transform, has_field, invert
from DeepRegLib.transforms.rounding import rounded_inverse

INVERSE_MEAN_MM, INVERSE_P99_MM = 0.09, 0.45
INVERSE_SAMPLES = 20_000
FINEST_REFINEMENT = 4.5
# The error of interpolating an inverse falls at least with these powers of the width of its voxels: on a brain, a liver
# and hippocampi with 1.6 to 1.8 on average and 1.2 to 1.5 at the 99th percentile.
MEAN_ORDER, P99_ORDER = 1.5, 1.2
MARGIN, SMALLEST_STEP = 1.05, 1.2
# An inverse that is less exact than promised may lose so much by being smoothed where it folds.
MOST_LOST = 1.1


def invert_well(run: Run, transform: Transform, seed: int, known: Transform | None = None) -> Unfolded:
    """Return a known inverse if it is exact enough, or invert numerically; smoothed where it folds.

    That is done on about the coarsest grid on which interpolating the inverse is exact enough, or the finest allowed.
    """
    if not has_field(transform):
        return Unfolded(invert(transform), 0, 0)
    if known is not None:
        reached = consistency(run, transform, known, seed)
        if is_exact(reached):
            return mended(run, transform, rounded_inverse(known), seed)
        run.log.add_decision(
            f"Inverse: solved numerically, because the flow backwards misses by {reached.mean:.2g} mm on average and "
            f"{reached.p99:.2g} mm at the 99th percentile."
        )
    return inverted_again(run, transform, seed)


def inverted_again(
    run: Run, transform: Transform, seed: int, refinement: float = 1.0, near: Transform | None = None
) -> Unfolded:
    """Invert numerically, from what is known of the inverse of a transform that is much the same, as `invert_well`."""
    # Such a field has the finer grid itself.
    finest = FINEST_REFINEMENT / (1 if run.sliding_mask is None else RATIO)
    foreground, moving = run.pair.fixed.foreground, run.pair.moving.original.geometry
    poll, device = run.monitor.poll, str(run.device)
    inverse, _ = solved_well(
        transform,
        foreground,
        seed,
        moving=moving,
        refinement=refinement,
        near=near,
        finest=finest,
        device=device,
        poll=poll,
    )
    return mended(run, transform, inverse, seed)


def mended(run: Run, transform: Transform, inverse: Transform, seed: int) -> Unfolded:
    """Smooth an inverse where it folds on the moving scan's grid and note that, if it stays as exact as promised."""
    moving = run.pair.moving.original.geometry
    foreground, poll = run.pair.fixed.foreground, run.monitor.poll
    done = unfolded_well(transform, inverse, foreground, moving, seed, device=str(run.device), poll=poll)
    if done.folds == done.found:
        return done
    run.log.add_decision(
        f"Inverse: it folded at {done.found} voxels of the moving scan, and was smoothed there; {done.folds} are left."
    )
    return done


def unfolded_well(
    transform: Transform,
    inverse: Transform,
    foreground: Image,
    moving: Geometry,
    seed: int,
    *,
    device: str = "cpu",
    poll: Poll = never_cancel,
) -> Unfolded:
    """Smooth an inverse where it folds on the moving scan's grid, if it stays as exact as promised.

    Parameters
    ----------
    transform, inverse
        Fixed points to moving points, and back.
    foreground, seed
        Where on the fixed grid the inverse is tried, and of the points there.
    moving
        The moving scan's grid.
    device, poll
        As in `DeepRegLib.transforms.invert`.
    """
    done = unfolded(inverse, moving, device=device, poll=poll)
    if done.folds == done.found:
        return done
    before, after = (
        inverse_consistency(transform, each, foreground, INVERSE_SAMPLES, seed, poll=poll)
        for each in (inverse, done.inverse)
    )
    if not is_exact(after) and (after.mean > MOST_LOST * before.mean or after.p99 > MOST_LOST * before.p99):
        return Unfolded(inverse, done.found, done.found)
    return done


def delivered_inverse(
    transform: Transform, foreground: Image, moving: Geometry, seed: int, *, device: str, poll: Poll
) -> tuple[Unfolded, InverseConsistency]:
    """Return the inverse that a frame or member is delivered with, smoothed where it folds, and how exact it is.

    Parameters
    ----------
    transform
        Reference points to its points.
    foreground, seed
        Where on the reference's grid the inverse is tried, and of the points there.
    moving
        The grid of the frame or member.
    device, poll
        As in `DeepRegLib.transforms.invert`.
    """
    inverse, reached = solved_well(transform, foreground, seed, moving=moving, device=device, poll=poll)
    done = unfolded_well(transform, inverse, foreground, moving, seed, device=device, poll=poll)
    if done.folds < done.found:
        reached = inverse_consistency(transform, done.inverse, foreground, INVERSE_SAMPLES, seed, poll=poll)
    return done, reached


def solved_well(
    transform: Transform,
    foreground: Image,
    seed: int,
    *,
    moving: Geometry | None = None,
    refinement: float = 1.0,
    near: Transform | None = None,
    finest: float = FINEST_REFINEMENT,
    device: str = "cpu",
    poll: Poll = never_cancel,
) -> tuple[Transform, InverseConsistency]:
    """Invert on about the coarsest grid on which interpolating the inverse is exact enough, or the finest allowed.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    foreground
        On the fixed grid; where the inverse is tried.
    seed
        Of the points it is tried at.
    moving
        The moving scan's grid, on which the inverse is to be continuous; None lets it jump where its own grid ends.
    refinement
        How many times finer than its field's the first grid is.
    near
        The inverse of much the same transform, to begin from.
    finest
        The largest refinement.
    device, poll
        As in `DeepRegLib.transforms.invert`.

    Returns
    -------
    Transform, InverseConsistency
        The inverse, and how far points of the foreground end from where they started.
    """
    inverse, refinement = near, min(refinement, finest)
    while True:
        inverse = invert(transform, refinement=refinement, near=inverse, within=moving, device=device, poll=poll)
        reached = inverse_consistency(transform, inverse, foreground, INVERSE_SAMPLES, seed, poll=poll)
        step = MARGIN * missing_refinement(reached)
        if is_exact(reached) or refinement == finest or not np.isfinite(step):
            return rounded_inverse(inverse), reached
        refinement = min(refinement * max(step, SMALLEST_STEP), finest)


def consistency(run: Run, transform: Transform, inverse: Transform, seed: int = 0) -> InverseConsistency:
    """Return how far points of the fixed foreground end from where they started, on a sample of them."""
    foreground = run.pair.fixed.foreground
    return inverse_consistency(transform, inverse, foreground, INVERSE_SAMPLES, seed, poll=run.monitor.poll)


def is_exact(reached: InverseConsistency) -> bool:
    """Tell whether an inverse is as exact as one should be."""
    return reached.mean < INVERSE_MEAN_MM and reached.p99 < INVERSE_P99_MM


def missing_refinement(reached: InverseConsistency) -> float:
    """Return by what factor narrower voxels would make an inverse exact enough."""
    return max((reached.mean / INVERSE_MEAN_MM) ** (1 / MEAN_ORDER), (reached.p99 / INVERSE_P99_MM) ** (1 / P99_ORDER))
