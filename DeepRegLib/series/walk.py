"""In which order a template is made, whoever does its steps: this process, or workers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

from DeepRegLib.errors import RegistrationError
from DeepRegLib.image import Image
from DeepRegLib.recipes import LargeMotion, Model, Recipe
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.series.template import MemberRow, Template
from DeepRegLib.transforms import Transform
from DeepRegLib.versions import versions

LEAST_MEMBERS = 2
LINEAR_PASS = 0


class Member(Protocol):
    """What is known of a member while a template is made; a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def registered(self) -> bool:
        """Whether there is a transform."""

    @property
    def verdict(self) -> Verdict:
        """How far to trust it."""


@dataclass(frozen=True, eq=False)
class Ends:
    """The members' final transforms, and what was measured of them.

    Parameters
    ----------
    transforms, inverses
        One a member; None of those left out, and of those that lie in files.
    measured
        Displacement (mm), folds of the transform and of the inverse, and inverse error (mm) as of a `MemberRow`, of
        those that are used.
    """

    transforms: Sequence[Transform | None]
    inverses: Sequence[Transform | None]
    measured: Mapping[int, tuple[float, int, int, float]]


M = TypeVar("M", bound=Member)
S = TypeVar("S")


class TemplateSteps(Protocol[M, S]):
    """Whoever does the steps. `M` is what they know of a member, `S` what they know of a template."""

    @property
    def names(self) -> Sequence[str]:
        """Of the members, as a user knows them."""

    @property
    def weights(self) -> Sequence[float]:
        """Of the members."""

    @property
    def recipe(self) -> Recipe:
        """How members are registered."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """What the result's provenance says of them."""

    def order(self) -> Sequence[int]:
        """Return the members in an order that follows from what is in them."""

    def first(self, order: Sequence[int]) -> S:
        """Return what the first pass registers to."""

    def registered(self, space: S, before: Sequence[M] | None, known: Sequence[M] | None, number: int) -> list[M]:
        """Register every member to a template, from what was found before; the pass `LINEAR_PASS` is linear alone.

        `known` tells of each member how other poses compare; None where that is not known yet.
        """

    def freed(self, members: Sequence[M], used: Sequence[int], space: S, number: int) -> tuple[list[M], float]:
        """Compose the mean displacement of those used back; return all, and how far it was, mm."""

    def mean(self, members: Sequence[M], used: Sequence[int], space: S, number: int) -> S:
        """Make the next template of those used."""

    def ends(self, members: Sequence[M], used: Sequence[int], space: S) -> Ends:
        """Invert and measure the final transforms of those used."""

    def images(self, space: S) -> tuple[Image, Image]:
        """Return the template, and the deviation of intensities."""

    def shape(self, members: Sequence[M], used: Sequence[int], space: S) -> tuple[Image, float]:
        """Return the root mean square displacement, and how far the mean of all lies from the template, mm."""

    def labels(self, members: Sequence[M], used: Sequence[int], space: S) -> Image | None:
        """Return the label that most have at each voxel; None where no labels were given."""


def made_by(steps: TemplateSteps[M, S], passes: int) -> Template:
    """Make a template, step by step.

    Parameters
    ----------
    steps
        Who does them.
    passes
        How often members are registered with the whole recipe.

    Raises
    ------
    RegistrationError
        If fewer than two members could be registered.
    """
    order = steps.order()
    space = steps.first(order)
    members = steps.registered(space, None, None, LINEAR_PASS)
    if len(_used(members)) < LEAST_MEMBERS:
        # A linear alignment of members that differ much may look wrong, and is all there is to begin with.
        members = [replace(each, verdict=Verdict(CHECK, ())) if each.registered else each for each in members]
    known, shifts = None, []
    for number in range(passes + 1):
        used = _used_in(order, members)
        members, shift = steps.freed(members, used, space, number)
        shifts.append(shift)
        space = steps.mean(members, used, space, number)
        if number < passes:
            members = steps.registered(space, members, known, number + 1)
            # How other poses compare was asked at the first whole registration.
            known = members if known is None else known
    return _finished(steps, members, _used_in(order, members), space, tuple(shifts))


def linear_only(recipe: Recipe) -> Recipe:
    """Return the recipe with its linear stages alone."""
    return replace(
        recipe,
        deformable=replace(recipe.deformable, enabled=False),
        large_motion=LargeMotion(enabled=False),
        model=Model(),
        symmetric=False,
    )


def member_folder(index: int) -> str:
    """Return under which name what belongs to a member is kept."""
    return f"member_{index:04d}"


def _used(members: Sequence[Member]) -> list[int]:
    return [n for n, each in enumerate(members) if each.registered and each.verdict.level != FAILED]


def _used_in(order: Sequence[int], members: Sequence[Member]) -> list[int]:
    """Return who is used, in the order in which they are added up."""
    used = set(_used(members))
    if len(used) < LEAST_MEMBERS:
        reasons = next((each.verdict.reasons for each in members if each.verdict.reasons), ("",))
        raise RegistrationError(
            f"{len(used)} of {len(members)} members could be registered ({reasons[0]}).",
            "Check that all show the same anatomy.",
        )
    return [n for n in order if n in used]


def _finished(
    steps: TemplateSteps[M, S], members: Sequence[M], used: Sequence[int], space: S, shifts: tuple[float, ...]
) -> Template:
    ends = steps.ends(members, used, space)
    given = zip(steps.names, steps.weights, members, strict=True)
    rows = [
        MemberRow(n, name, each.verdict, n in ends.measured, weight, *ends.measured.get(n, ()))
        for n, (name, weight, each) in enumerate(given)
    ]
    shape, bias = steps.shape(members, used, space)
    labels = steps.labels(members, used, space)
    image, variability = steps.images(space)
    verdict, warnings = _judged(rows)
    return Template(
        image=image,
        variability=variability,
        shape_variability=shape,
        labels=labels,
        transforms=ends.transforms,
        inverses=ends.inverses,
        rows=tuple(rows),
        bias=bias,
        shifts=shifts,
        verdict=verdict,
        recipe=steps.recipe,
        warnings=warnings,
        provenance={"versions": versions(), **steps.origin},
    )


def _judged(rows: Sequence[MemberRow]) -> tuple[Verdict, tuple[str, ...]]:
    out = [row.name for row in rows if not row.used]
    unsure = [row.name for row in rows if row.used and row.verdict.level == CHECK]
    reasons = []
    if out:
        reasons.append(
            f"{len(out)} of {len(rows)} members could not be registered and were left out: {', '.join(out)}."
        )
    if unsure:
        reasons.append(f"{len(unsure)} of {len(rows)} members are in doubt: {', '.join(unsure)}.")
    folded = [row.name for row in rows if row.folds]
    warnings = (f"The transforms of these members fold: {', '.join(folded)}.",) if folded else ()
    if 2 * len(out) > len(rows):
        return Verdict(FAILED, tuple(reasons)), warnings
    return Verdict(CHECK if reasons or folded else OK, tuple(reasons)), warnings
