"""What it takes to register the next scan from the last result."""

from __future__ import annotations

from dataclasses import dataclass

from DeepRegLib.recipes import Recipe
from DeepRegLib.request import Request
from DeepRegLib.result import Measures, Registration
from DeepRegLib.transforms import Transform


@dataclass(frozen=True, eq=False)
class Last:
    """What is kept of the last result.

    Parameters
    ----------
    transform
        Fixed points to the points of the last moving scan.
    inverse
        And back; None for a plan's.
    recipe
        As it ran, every ``auto`` decided.
    searched
        Measures of the latest result that was found by a search, which those that follow are compared with; None where
        there was none, as behind a plan.
    level
        Verdict of that result.
    """

    transform: Transform
    inverse: Transform | None
    recipe: Recipe
    searched: Measures | None = None
    level: str = ""


@dataclass(frozen=True, eq=False)
class Motion:
    """A registered series of the same anatomy, by which the start of the next scan is moved on.

    Parameters
    ----------
    transforms
        One a frame: points of the fixed scan to points of the frame.
    predictor
        As `DeepRegLib.motion.prediction.predictor_named` has it.
    time
        When the next scan was taken, s of any clock.
    seen
        Of the scans before, in the order of time: when each was taken, then its scores (`SCORES` of its provenance).
    """

    transforms: tuple[Transform, ...]
    predictor: str
    time: float
    seen: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Following:
    """The next scan.

    Parameters
    ----------
    request
        As for a registration of its own, which is run where following fails; its initial transform is not used.
    last
        The last result.
    motion
        What moves it on to where the anatomy is expected; None starts from where it was.
    """

    request: Request
    last: Last
    motion: Motion | None = None


def last_of(result: Registration, before: Last | None = None) -> Last:
    """Return what is kept of a result; of one that was followed, what was found by a search is that of `before`."""
    if before is not None and FOLLOWED in result.provenance:
        return Last(result.transform, result.inverse, result.recipe, before.searched, before.level)
    return Last(result.transform, result.inverse, result.recipe, result.measures, result.verdict.level)


# The key of a result's provenance that tells how it was followed.
FOLLOWED = "followed"
# And the one of the scores of its motion, where that was expected.
SCORES = "motion scores"
