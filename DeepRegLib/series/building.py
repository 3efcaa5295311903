"""build_template(): members registered to their mean, again and again, the mean freed of any one's shape.

Intensities are averaged, and the mean displacement is composed back, so that the shape is that of the group (Guimond et
al., Comput Vis Image Underst 77, 2000; Avants et al., NeuroImage 49, 2010). Visits of one person are a group too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device
from DeepRegLib.errors import InputError, RegistrationError
from DeepRegLib.evaluation import digital_folds
from DeepRegLib.image import Image, as_image, from_sitk, to_sitk
from DeepRegLib.labels import check_label_grid, label_map
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.motion.fields import common_grid, field_of
from DeepRegLib.naming import base_name, shown
from DeepRegLib.provenance import image_hash
from DeepRegLib.recipes import AUTO, LargeMotion, Model, Recipe, load_recipe
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.series.fields import mean_image, weighted_sum
from DeepRegLib.series.measures import points_inside
from DeepRegLib.series.members import (
    UNJUDGED,
    Reference,
    Running,
    freed_of_their_mean,
    prepared_reference,
    register_member,
)
from DeepRegLib.series.stores import Found, MemoryStore, Store
from DeepRegLib.series.template import MemberRow, Template
from DeepRegLib.stages.inverse import solved_well
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_labels
from DeepRegLib.versions import versions

GROUP_MEAN = "mean"
PASSES = 3
LEAST_MEMBERS = 2
FINISHING = 0.15  # of the progress


@dataclass(frozen=True, eq=False)
class _Group:
    images: tuple[Image, ...]
    weights: tuple[float, ...]
    order: tuple[int, ...]  # in which members are added up, so that the order they are given in changes nothing


def build_template(
    members: Sequence[Image | str | Path],
    recipe: str | Path | Recipe = AUTO,
    *,
    initial: Image | int | str = GROUP_MEAN,
    passes: int = PASSES,
    weights: Sequence[float] | None = None,
    labels: Sequence[Image | str | Path] | None = None,
    sharpen: bool = False,
    device: str | None = None,
    seed: int = 0,
    store: Store | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Template:
    """Build the unbiased mean of a group: people of a study, or visits of one person.

    Members are registered to the present template, their mean displacement is composed back, and their mean is the next
    template. A member whose registration fails is left out and named. The order in which members are given changes
    nothing.

    Parameters
    ----------
    members
        Volumes, or the paths to read them from; at least two.
    recipe
        How members are registered.
    initial
        What the first pass registers to: ``"mean"``, the mean of the members aligned linearly; the number of a member;
        or an image.
    passes
        How often members are registered with the whole recipe.
    weights
        One positive number a member; None counts all alike.
    labels
        A label map a member, on its grid.
    sharpen
        Sharpen the template after each pass by its Laplacian, as averaging blurs.
    device, seed, progress, cancel
        As of `DeepRegLib.register`.
    store
        Keeps what is found of each member, so that a run that was stopped is gone on with; None keeps it in memory.

    Returns
    -------
    Template
        Image, variability, labels, transforms both ways.

    Raises
    ------
    InputError
        If there are too few members, or something given cannot be used.
    RegistrationError
        If fewer than two members could be registered.
    CancelledError
        If `cancel` returned true.
    """
    group = _group(members, weights)
    drawn = _labels_of(labels, group)
    if passes < 1:
        raise InputError(f"The number of passes is {passes}.", "Give 1 or more.")
    chosen = load_recipe(recipe)
    running = Running(chosen, device, seed, store or MemoryStore(), progress, cancel)
    running.tell("frames", 0.0)
    share = (1 - FINISHING) / (passes + 1)
    anchor = prepared_reference(_first(initial, group), running)
    linear = replace(running, recipe=linear_only(chosen))
    count = len(group.images)
    # How other poses compare is asked at the first whole registration.
    found = _pass(linear, group, anchor, None, [UNJUDGED] * count, 0, (0.0, share))
    if len(_used(found)) < LEAST_MEMBERS:
        # A linear alignment of members that differ much may look wrong, and is all there is to begin with.
        found = [replace(each, verdict=Verdict(CHECK, ())) if each.registered else each for each in found]
    known: Sequence[Found | None] = [None] * count
    shifts = []
    for number in range(passes + 1):
        _require_enough(found)
        used = [n for n in group.order if n in _used(found)]
        found, shift = freed_of_their_mean(running, found, used, [group.weights[n] for n in used], anchor)
        shifts.append(shift)
        image, spread = _mean(running, group, found, anchor, sharpen=sharpen)
        anchor = prepared_reference(image, running)
        if number < passes:
            begin = (number + 1) * share
            found = _pass(running, group, anchor, found, known, number + 1, (begin, begin + share))
            known = found if number == 0 else known
    return _finished(running, group, found, anchor, drawn, spread, tuple(shifts), sharpen=sharpen)


def member_folder(index: int) -> str:
    """Return under which name what belongs to a member is kept."""
    return f"member_{index:04d}"


def _group(members: Sequence[Image | str | Path], weights: Sequence[float] | None) -> _Group:
    if len(members) < LEAST_MEMBERS:
        raise InputError(f"There are {len(members)} members.", f"A template is made of {LEAST_MEMBERS} or more.")
    images = tuple(as_image(each) for each in members)
    counted = tuple(float(each) for each in weights) if weights is not None else (1.0,) * len(images)
    if len(counted) != len(images) or not all(np.isfinite(each) and each > 0 for each in counted):
        raise InputError(f"The weights are {counted}.", f"Give {len(images)} positive numbers, one a member.")
    hashes = [image_hash(image) for image in images]
    return _Group(images, counted, tuple(sorted(range(len(images)), key=lambda number: hashes[number])))


def _labels_of(labels: Sequence[Image | str | Path] | None, group: _Group) -> list[Image] | None:
    if labels is None:
        return None
    if len(labels) != len(group.images):
        raise InputError(f"There are {len(labels)} label maps for {len(group.images)} members.", "Give one a member.")
    drawn = [as_image(each) for each in labels]
    for each, image in zip(drawn, group.images, strict=True):
        check_label_grid(each, image)
    return [label_map(each) for each in drawn]


def _first(initial: Image | int | str, group: _Group) -> Image:
    if isinstance(initial, Image):
        return initial
    if isinstance(initial, str):
        if initial != GROUP_MEAN:
            raise InputError(f"There is no initial template {initial[:40]!r}.", f"Give {GROUP_MEAN!r} or a number.")
        return group.images[group.order[0]]
    if not 0 <= initial < len(group.images):
        raise InputError(f"There is no member {initial}.", f"Give 0 to {len(group.images) - 1}, or an image.")
    return group.images[initial]


def linear_only(recipe: Recipe) -> Recipe:
    """Return the recipe with its linear stages alone."""
    return replace(
        recipe,
        deformable=replace(recipe.deformable, enabled=False),
        large_motion=LargeMotion(enabled=False),
        model=Model(),
        symmetric=False,
    )


def _pass(
    running: Running,
    group: _Group,
    anchor: Reference,
    before: list[Found] | None,
    known: Sequence[Found | None],
    number: int,
    span: tuple[float, float],
) -> list[Found]:
    """Register every member to the present template, from what the pass before has found; `known` tells of poses."""
    share = (span[1] - span[0]) / len(group.images)
    found = []
    for index, image in enumerate(group.images):
        begin = span[0] + index * share
        stage = f"member {index + 1} of {len(group.images)}, pass {number}"
        running.tell(stage, begin)
        start = None if before is None else before[index]
        starts = [start.transform] if start is not None and start.registered else []
        found.append(
            register_member(
                running,
                anchor,
                image,
                f"{member_folder(index)}/pass_{number}",
                starts,
                near=number > 1 and bool(starts),
                known=known[index],
                progress=running.part(stage, begin, share),
            )
        )
    return found


def _used(found: Sequence[Found]) -> list[int]:
    return [n for n, each in enumerate(found) if each.registered and each.verdict.level != FAILED]


def _require_enough(found: Sequence[Found]) -> None:
    if len(_used(found)) < LEAST_MEMBERS:
        reasons = next((each.verdict.reasons for each in found if each.verdict.reasons), ("",))
        raise RegistrationError(
            f"{len(_used(found))} of {len(found)} members could be registered ({reasons[0]}).",
            "Check that all show the same anatomy.",
        )


def _mean(
    running: Running, group: _Group, found: Sequence[Found], anchor: Reference, *, sharpen: bool
) -> tuple[Image, Image]:
    used = set(_used(found))
    members = ((group.images[n], found[n].transform, group.weights[n]) for n in group.order if n in used)
    mean = mean_image(members, anchor.image.geometry, "template", running.poll)
    return sharpened(mean.image) if sharpen else mean.image, mean.spread


def sharpened(image: Image) -> Image:
    """Return an image sharpened by its Laplacian."""
    sharp = from_sitk(sitk.LaplacianSharpening(to_sitk(image)), image.name)
    return image.with_array(sharp.array.astype(np.float32))


def _finished(
    running: Running,
    group: _Group,
    found: list[Found],
    anchor: Reference,
    drawn: list[Image] | None,
    spread: Image,
    shifts: tuple[float, ...],
    *,
    sharpen: bool,
) -> Template:
    geometry, used = anchor.image.geometry, _used(found)
    grid = common_grid([found[n].transform for n in used], geometry)
    share = np.array([group.weights[n] for n in used]) / sum(group.weights[n] for n in used)
    fields = [field_of(found[n].transform, grid, running.poll) for n in used]
    mean = weighted_sum(lambda n: fields[n], share)
    squares = sum(s * (each.astype(np.float64) ** 2).sum(-1) for s, each in zip(share, fields, strict=True))
    shape = Image(np.sqrt(squares).astype(np.float32), grid, "shape variability")
    points = points_inside(anchor.foreground, running.seed)
    device = str(choose_device(running.device))
    transforms: list[Transform | None] = [None] * len(found)
    inverses: list[Transform | None] = [None] * len(found)
    rows = []
    for n, each in enumerate(found):
        running.tell("inverse", 1 - FINISHING * (1 - n / len(found)))
        name = base_name(shown(group.images[n].name))
        if n not in used:
            rows.append(MemberRow(n, name, each.verdict, False, group.weights[n]))
            continue
        transform = each.transform
        inverse, measured = finished_member(transform, anchor, running, device, points)
        running.store.finish(member_folder(n), transform, inverse)
        transforms[n], inverses[n] = transform, inverse
        rows.append(MemberRow(n, name, each.verdict, True, group.weights[n], *measured))
    verdict, warnings = judged_members(rows)
    return Template(
        image=anchor.image,
        variability=spread,
        shape_variability=shape,
        labels=None if drawn is None else _mean_labels(running, group, drawn, transforms, anchor.image),
        transforms=transforms,
        inverses=inverses,
        rows=tuple(rows),
        bias=float(np.linalg.norm(mean, axis=-1).mean()),
        shifts=shifts,
        verdict=verdict,
        recipe=running.recipe,
        warnings=warnings,
        provenance={"versions": versions(), "device": device, "seed": running.seed, "sharpened": sharpen},
    )


def finished_member(
    transform: Transform, anchor: Reference, running: Running, device: str, points: NDArray[np.float64]
) -> tuple[Transform, tuple[float, int, float]]:
    """Return the inverse of a member's transform, and displacement, folds and inverse error as of a `MemberRow`."""
    inverse, reached = solved_well(transform, anchor.foreground, running.seed, device=device, poll=running.poll)
    moved = np.linalg.norm(transform.apply_to_points(points) - points, axis=-1)
    folds = 0 if isinstance(transform, LinearTransform) else digital_folds(transform, anchor.image.geometry)
    return inverse, (float(moved.mean()), folds, reached.mean)


def _mean_labels(
    running: Running,
    group: _Group,
    drawn: Sequence[Image],
    transforms: Sequence[Transform | None],
    template: Image,
) -> Image:
    """Return the label with the most weight at each voxel; of equal ones the smaller."""
    most: NDArray[np.float64] = np.zeros(template.geometry.shape)
    best = np.zeros(template.geometry.shape, dtype=np.int32)
    used = [n for n in group.order if transforms[n] is not None]
    carried = [(group.weights[n], _carried(drawn[n], transforms[n], template, running)) for n in used]
    for label in sorted({int(value) for _, array in carried for value in np.unique(array)}):
        votes = sum(weight * (array == label) for weight, array in carried)
        better = votes > most
        best[better], most = label, np.maximum(votes, most)
    return Image(best, template.geometry, "labels")


def _carried(labels: Image, transform: Transform | None, template: Image, running: Running) -> NDArray[np.generic]:
    assert transform is not None  # noqa: S101  # for mypy: the member is used
    return apply_to_labels(transform, labels, template.geometry, poll=running.poll).array


def judged_members(rows: Sequence[MemberRow]) -> tuple[Verdict, tuple[str, ...]]:
    """Return verdict and warnings on a template by what was found of its members."""
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
