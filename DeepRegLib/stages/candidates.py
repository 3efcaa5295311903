"""Fields that the descent may start from, judged by what a few iterations make of them and how rough they are then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.deformable import Level, displacement_of, match, register_deformable
from DeepRegLib.optimization.regularity import log_jacobian_sd
from DeepRegLib.stages.run import Run

# Gives a field in voxels of the grid it is called with, ``(3, D, H, W)``.
FieldFunction = Callable[[Geometry], Tensor]

# What a field matches at once depends on how it was found; what it leads to shows after this many iterations.
ITERATIONS = 5
# What was searched for or predicted also matches by accident: it must be better by this share.
CLEARLY_BETTER = 0.015
# Any match can be had from a field that is rough enough. What is left unmatched times the roughness may rise by this
# factor. Drawn from a liver, where the search is right (1.45), and a mouse, where it is wrong (1.65); it holds for
# another of each (1.39 and 1.79).
DEARER = 1.55
# No field that has been descended to is smoother than this, sd of log J.
LEAST_ROUGHNESS = 0.05
# A descent that cannot reach what has moved further stretches tissue on its way there, and leaves it unmatched. Where
# coarse levels strain less than this (sd of log J), and what they leave unmatched times that is little, nothing has:
# brains come to .051 to .053, hearts to .007 to .012, and no search was any better there; the two livers that need it
# come to .084 and .101. What hardly strains may match nothing, so it counts as strained a little.
HARDLY_STRAINED, LEAST_STRAIN = 0.2, 0.15
LITTLE_LEFT = 0.06


@dataclass(frozen=True)
class Outcome:
    """What a field leads to: the similarity, and the standard deviation of log J of its displacement."""

    similarity: float
    roughness: float


def outcome_of(run: Run, levels: Sequence[Level], number: int, field: FieldFunction | None, iterations: int) -> Outcome:
    """Return what a field leads to on a level within some iterations.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided.
    levels
        Coarse to fine.
    number
        The level.
    field
        As the recipe parametrises it; None for zero.
    iterations
        How many; 0 looks at the field as it is.
    """
    level, recipe = levels[number], run.recipe.deformable
    few = replace(recipe, shrink=recipe.shrink[number : number + 1], iterations=(iterations,))
    fit = register_deformable([level], few, start=field, on_step=_not_told, poll=run.monitor.poll)
    displacement = displacement_of(recipe, fit.field)
    return Outcome(match(level, fit.field, recipe), float(log_jacobian_sd(displacement)))


def is_within_reach(run: Run, levels: Sequence[Level], number: int, field: FieldFunction | None) -> bool:
    """Tell, and note, whether coarse levels show that nothing has moved further than they reach.

    That costs one look at both images on the next level. It is told of LNCC alone: other similarities have no value
    that is good for any pair.
    """
    if run.recipe.deformable.similarity != "lncc":
        return False
    here = outcome_of(run, levels, number, field, iterations=0)
    left = (1 - here.similarity) * max(here.roughness, LEAST_STRAIN)
    within = here.roughness < HARDLY_STRAINED and left < LITTLE_LEFT
    if within:
        run.log.add_decision(
            f"Search for large motion: not tried (coarse levels match, similarity {here.similarity:.3f}, and hardly "
            f"strain, sd log J {here.roughness:.2f})."
        )
    return within


def better_of(
    run: Run,
    levels: Sequence[Level],
    number: int,
    so_far: FieldFunction | None,
    other: FieldFunction | None,
    what: str,
) -> FieldFunction | None:
    """Return the other field if it leads further than that so far; note which was taken and why.

    Both are descended from for a few iterations. The other one is taken where it then matches clearly better and is not
    much rougher for it.
    """
    before, after = (outcome_of(run, levels, number, field, ITERATIONS) for field in (so_far, other))
    gain = (after.similarity - before.similarity) / max(abs(before.similarity), 1e-6)
    refused = "not needed" if gain <= CLEARLY_BETTER else "too rough" if is_too_rough(before, after) else ""
    run.log.add_decision(
        f"{what}: {refused or 'used'} (similarity {after.similarity:.3f} with it, {before.similarity:.3f} without; "
        f"sd log J {after.roughness:.2f} and {before.roughness:.2f})."
    )
    return so_far if refused else other


def is_too_rough(before: Outcome, after: Outcome) -> bool:
    """Tell whether what is gained in similarity is paid for with too much roughness."""
    rougher = max(after.roughness, LEAST_ROUGHNESS) / max(before.roughness, LEAST_ROUGHNESS)
    unmatched = max(1 - after.similarity, 1e-6) / max(1 - before.similarity, 1e-6)
    return rougher * unmatched > DEARER


def _not_told(level: int, iteration: int, similarity: Tensor) -> None:
    """Take no note of progress: five iterations are not worth a bar."""
