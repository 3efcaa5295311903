"""The inverse of what was found, as exact as one should be."""

from __future__ import annotations

from DeepRegLib.evaluation import InverseConsistency, inverse_consistency
from DeepRegLib.optimization.field_grid import RATIO
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import Transform, has_field, invert

INVERSE_MEAN_MM, INVERSE_P99_MM = 0.09, 0.45
INVERSE_SAMPLES = 20_000
# The inverse bends more than the field where that shrinks space, so it gets a finer grid from the start.
INVERSE_REFINEMENTS = (2.0, 3.0, 4.5)


def invert_well(run: Run, transform: Transform, seed: int, known: Transform | None = None) -> Transform:
    """Return a known inverse if it is exact enough, or invert numerically.

    That is done on the coarsest grid on which interpolating the inverse is exact enough, or the finest tried.
    """
    if not has_field(transform):
        return invert(transform)
    if known is not None:
        reached = consistency(run, transform, known, seed)
        if is_exact(reached):
            return known
        run.decisions.append(
            f"Inverse: solved numerically, because the flow backwards misses by {reached.mean:.2g} mm on average and "
            f"{reached.p99:.2g} mm at the 99th percentile."
        )
    inverse: Transform | None = None
    sharper = 1 if run.sliding_mask is None else RATIO  # such a field has the finer grid itself
    for refinement in (factor / sharper for factor in INVERSE_REFINEMENTS):
        inverse = invert(transform, refinement=refinement, near=inverse, device=str(run.device), poll=run.monitor.poll)
        if is_exact(consistency(run, transform, inverse, seed)):
            break
    assert inverse is not None  # noqa: S101  # for mypy: there are refinements
    return inverse


def consistency(run: Run, transform: Transform, inverse: Transform, seed: int = 0) -> InverseConsistency:
    """Return how far points of the fixed foreground end from where they started, on a sample of them."""
    foreground = run.pair.fixed.foreground
    return inverse_consistency(transform, inverse, foreground, INVERSE_SAMPLES, seed, poll=run.monitor.poll)


def is_exact(reached: InverseConsistency) -> bool:
    """Tell whether an inverse is as exact as one should be."""
    return reached.mean < INVERSE_MEAN_MM and reached.p99 < INVERSE_P99_MM
