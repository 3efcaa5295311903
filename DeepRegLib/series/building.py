"""build_template(): members registered to their mean, again and again, the mean freed of any one's shape.

Intensities are averaged, and the mean displacement is composed back, so that the shape is that of the group (Guimond et
al., Comput Vis Image Underst 77, 2000; Avants et al., NeuroImage 49, 2010). Visits of one person are a group too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device
from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import digital_folds
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, as_image, from_sitk, to_sitk
from DeepRegLib.labels import check_label_grid, label_map
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.motion.fields import common_grid
from DeepRegLib.naming import base_name, shown
from DeepRegLib.provenance import image_hash
from DeepRegLib.recipes import AUTO, Recipe, load_recipe
from DeepRegLib.series.fields import field_sums, mean_image
from DeepRegLib.series.measures import points_inside
from DeepRegLib.series.members import (
    UNJUDGED,
    Reference,
    Running,
    prepared_reference,
    register_member,
    without_their_mean,
)
from DeepRegLib.series.stores import Found, MemoryStore, Store
from DeepRegLib.series.template import Template
from DeepRegLib.series.voting import elected, votes_of
from DeepRegLib.series.walk import LEAST_MEMBERS, LINEAR_PASS, Ends, linear_only, made_by, member_folder
from DeepRegLib.stages.inverse import delivered_inverse
from DeepRegLib.transforms import LinearTransform, Transform

GROUP_MEAN = "mean"
PASSES = 3
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
    return made_by(_Here(running, group, drawn, _first(initial, group), passes, sharpen=sharpen), passes)


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


@dataclass(frozen=True, eq=False)
class _Space:
    reference: Reference
    spread: Image | None


class _Here:
    """Makes a template in this process, one step after another: `DeepRegLib.series.walk.TemplateSteps`."""

    def __init__(
        self, running: Running, group: _Group, drawn: list[Image] | None, initial: Image, passes: int, *, sharpen: bool
    ) -> None:
        self._running, self._group, self._drawn = running, group, drawn
        self._initial, self._sharpen = initial, sharpen
        self._share = (1 - FINISHING) / (passes + 1)
        self.names = tuple(base_name(shown(image.name)) for image in group.images)
        self.weights, self.recipe = group.weights, running.recipe
        self._device = str(choose_device(running.device))
        self.origin: Mapping[str, Any] = {"device": self._device, "seed": running.seed, "sharpened": sharpen}

    def order(self) -> Sequence[int]:
        return self._group.order

    def first(self, order: Sequence[int]) -> _Space:
        del order
        return _Space(prepared_reference(self._initial, self._running), None)

    def registered(
        self, space: _Space, before: Sequence[Found] | None, known: Sequence[Found] | None, number: int
    ) -> list[Found]:
        linear = number == LINEAR_PASS
        running = replace(self._running, recipe=linear_only(self.recipe)) if linear else self._running
        begin, share = number * self._share, self._share / len(self._group.images)
        found = []
        for index, image in enumerate(self._group.images):
            stage = f"member {index + 1} of {len(self._group.images)}, pass {number}"
            running.tell(stage, begin + index * share)
            start = None if before is None else before[index]
            starts = [start.transform] if start is not None and start.registered else []
            found.append(
                register_member(
                    running,
                    space.reference,
                    image,
                    f"{member_folder(index)}/pass_{number}",
                    starts,
                    near=number > LINEAR_PASS + 1 and bool(starts),
                    known=UNJUDGED if linear else None if known is None else known[index],
                    progress=running.part(stage, begin + index * share, share),
                )
            )
        return found

    def freed(
        self, members: Sequence[Found], used: Sequence[int], space: _Space, number: int
    ) -> tuple[list[Found], float]:
        del number
        weights = [self.weights[n] for n in used]
        return without_their_mean(self._running, members, used, weights, space.reference)

    def mean(self, members: Sequence[Found], used: Sequence[int], space: _Space, number: int) -> _Space:
        del number
        given = ((self._group.images[n], members[n].transform, self.weights[n]) for n in used)
        mean = mean_image(given, space.reference.image.geometry, "template", self._running.poll)
        image = sharpened(mean.image) if self._sharpen else mean.image
        return _Space(prepared_reference(image, self._running), mean.spread)

    def ends(self, members: Sequence[Found], used: Sequence[int], space: _Space) -> Ends:
        points = points_inside(space.reference.foreground, self._running.seed)
        transforms: list[Transform | None] = [None] * len(members)
        inverses: list[Transform | None] = [None] * len(members)
        measured = {}
        for done, n in enumerate(used):
            self._running.tell("inverse", 1 - FINISHING * (1 - done / len(used)))
            transform = transforms[n] = members[n].transform
            inverse, measured[n] = finished_member(
                transform, space.reference, self._group.images[n].geometry, self._running, self._device, points
            )
            inverses[n] = inverse
            self._running.store.finish(member_folder(n), transform, inverse)
        return Ends(transforms, inverses, measured)

    def images(self, space: _Space) -> tuple[Image, Image]:
        assert space.spread is not None  # noqa: S101  # for mypy: it is a mean
        return space.reference.image, space.spread

    def shape(self, members: Sequence[Found], used: Sequence[int], space: _Space) -> tuple[Image, float]:
        grid = common_grid((members[n].transform for n in used), space.reference.image.geometry)
        whole = sum(self.weights[n] for n in used)
        given = ((members[n].transform, self.weights[n] / whole) for n in used)
        return shape_of(*field_sums(given, grid, self._running.poll), grid)

    def labels(self, members: Sequence[Found], used: Sequence[int], space: _Space) -> Image | None:
        drawn = self._drawn
        if drawn is None:
            return None
        grid = space.reference.image.geometry
        given = ((drawn[n], members[n].transform, self.weights[n]) for n in used)
        return elected(votes_of(given, grid, self._running.poll), grid)


def sharpened(image: Image) -> Image:
    """Return an image sharpened by its Laplacian."""
    sharp = from_sitk(sitk.LaplacianSharpening(to_sitk(image)), image.name)
    return image.with_array(sharp.array.astype(np.float32))


def shape_of(total: NDArray[np.float64], squares: NDArray[np.float64], grid: Geometry) -> tuple[Image, float]:
    """Return how shapes vary and how far their mean lies from the template, mm, by the sums of `field_sums`."""
    spread = Image(np.sqrt(squares).astype(np.float32), grid, "shape variability")
    return spread, float(np.linalg.norm(total.astype(np.float32), axis=-1).mean())


def finished_member(
    transform: Transform,
    anchor: Reference,
    member: Geometry,
    running: Running,
    device: str,
    points: NDArray[np.float64],
) -> tuple[Transform, tuple[float, int, int, float]]:
    """Return the inverse of a member's transform, and what a `MemberRow` says of both: `Ends.measured`."""
    done, reached = delivered_inverse(
        transform, anchor.foreground, member, running.seed, device=device, poll=running.poll
    )
    moved = np.linalg.norm(transform.apply_to_points(points) - points, axis=-1)
    folds = 0 if isinstance(transform, LinearTransform) else digital_folds(transform, anchor.image.geometry)
    return done.inverse, (float(moved.mean()), folds, done.folds, reached.mean)
