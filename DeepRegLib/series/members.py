"""One member of a series or a group registered to a reference that is prepared once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from DeepRegLib.devices import choose_device
from DeepRegLib.errors import CancelledError, DeepRegError, MemoryShortageError
from DeepRegLib.image import Image
from DeepRegLib.judgement import Inherited
from DeepRegLib.monitoring import Cancel, Progress, poll_of
from DeepRegLib.motion.fields import common_grid
from DeepRegLib.pipeline import align, prepare_fixed
from DeepRegLib.preparation import PreparedScan
from DeepRegLib.provenance import image_hash, transform_hash
from DeepRegLib.recipes import LargeMotion, Model, Recipe, recipe_to_dict
from DeepRegLib.request import Drivers, Request
from DeepRegLib.result import CHECK, FAILED, OK, StartMeasures, Verdict, start_measures
from DeepRegLib.series.fields import centred
from DeepRegLib.series.looking import coarse_grid, most_alike, picture
from DeepRegLib.series.stores import Found, Store
from DeepRegLib.transforms import Transform
from DeepRegLib.verdict import verdict_on
from DeepRegLib.version import VERSION

# What is registered from a neighbour's result lies close: the coarsest level and half of the finest's steps are enough.
COARSEST_SHRINK = 4
FINEST_SHARE = 0.5
# Edges of a good result agree to within this from scan to scan.
DROP = 0.05
RANK = {OK: 0, CHECK: 1, FAILED: 2}
_NOTHING: dict[str, Any] = dict.fromkeys(each.name for each in fields(StartMeasures))
_WORST = {"ncc_before": 0.0, "nmi_before": 1.0, "structure_before": 0.0, "structure_linear": 0.0}
NOT_COMPARED = StartMeasures(**_NOTHING | _WORST)
# As what is known of another scan: nothing compares worse, so other poses are not asked.
UNJUDGED = Found(None, Verdict(FAILED, ()), 0.0, NOT_COMPARED, 0.0)


@dataclass(frozen=True, eq=False)
class Running:
    """What all members of a run share: recipe, device, seed, where results are kept, whom to tell.

    Parameters
    ----------
    recipe, device, seed
        As of a registration's `Request`.
    store
        Keeps what is found.
    progress, cancel
        As of `DeepRegLib.register`.
    """

    recipe: Recipe
    device: str | None
    seed: int
    store: Store
    progress: Progress | None
    cancel: Cancel | None

    def poll(self) -> None:
        """Raise `CancelledError` if the caller wants to stop."""
        poll_of(self.cancel)()

    def tell(self, stage: str, fraction: float) -> None:
        """Report how far the run is; raise `CancelledError` if the caller wants to stop."""
        self.poll()
        if self.progress is not None:
            self.progress(stage, fraction, None, None)

    def part(self, stage: str, begin: float, share: float) -> Progress | None:
        """Return what shows the progress of one member as that of the run."""
        told = self.progress
        if told is None:
            return None

        def report(inner: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
            del inner, seconds_left
            told(stage, begin + share * fraction, similarity, None)

        return report


@dataclass(frozen=True, eq=False)
class Reference:
    """What members are registered to, prepared once.

    Parameters
    ----------
    image
        As given.
    scan
        Prepared.
    sha256
        Of its voxels and grid.
    """

    image: Image
    scan: PreparedScan
    sha256: str

    @property
    def foreground(self) -> Image:
        """The anatomy: bool, in the standard order of axes."""
        return self.scan.side.foreground


def prepared_reference(image: Image, running: Running) -> Reference:
    """Prepare a reference."""
    request = Request(image, image, running.recipe, device=running.device)
    return Reference(image, prepare_fixed(request, cancel=running.cancel), image_hash(image, poll=running.poll))


def continued(recipe: Recipe) -> Recipe:
    """Return the recipe that starts near the result: no search, no large motion, no model, no coarsest level."""
    deformable = recipe.deformable
    kept = [n for n, shrink in enumerate(deformable.shrink) if shrink <= COARSEST_SHRINK]
    kept = kept or [len(deformable.shrink) - 1]
    iterations = [deformable.iterations[n] for n in kept]
    if len(iterations) > 1:
        iterations[-1] = max(round(FINEST_SHARE * iterations[-1]), min(iterations[-1], 1))
    near = replace(deformable, shrink=tuple(deformable.shrink[n] for n in kept), iterations=tuple(iterations))
    return replace(
        recipe,
        search=replace(recipe.search, enabled=False),
        large_motion=LargeMotion(enabled=False),
        model=Model(),
        deformable=near,
    )


def register_member(
    running: Running,
    reference: Reference,
    image: Image,
    name: str,
    starts: Sequence[Transform],
    *,
    near: bool,
    known: Found | None = None,
    progress: Progress | None,
) -> Found:
    """Register one member, or take what an earlier run with the same inputs has kept.

    Parameters
    ----------
    running, reference
        What all share.
    image
        The member.
    name
        Under which it is kept.
    starts
        From which of these transforms, the one that makes both most alike; none for the recipe's own search.
    near
        Whether they are results for scans that hardly differ.
    known
        Of such a scan, what was found without a start: how other poses compare there holds here too, as long as edges
        agree as well and nothing else speaks against the result.
    progress
        Of this member.

    Raises
    ------
    CancelledError
        If the run is to stop.
    MemoryShortageError
        If memory runs out.
    """
    recipe = continued(running.recipe) if near else running.recipe
    start = _start(reference, image, starts)
    key = _key(running, recipe, reference, image, start)
    kept = running.store.load(name, key)
    if kept is not None:
        return kept
    found = _aligned(running, recipe, reference, image, start, progress, known)
    if known is not None and _is_worse(found, known):
        # How other poses compare there may not hold here.
        found = _added(found, _aligned(running, recipe, reference, image, start, progress))
    if near and RANK[found.verdict.level] > (RANK[CHECK] if known is None else RANK[known.verdict.level]):
        # The neighbour has led astray, or was wrong itself.
        again = _aligned(running, running.recipe, reference, image, None, progress)
        better = RANK[again.verdict.level] < RANK[found.verdict.level]
        found = _added(found, again) if better else _added(again, found)
    return running.store.save(name, key, found)


def _start(reference: Reference, image: Image, starts: Sequence[Transform]) -> Transform | None:
    if not starts:
        return None
    if len(starts) == 1:
        return starts[0]
    grid = coarse_grid(reference.image.geometry)
    try:
        return most_alike(picture(reference.scan.side.intensity, grid), image, grid, starts)
    except DeepRegError:  # an image without a finite voxel; its registration says so
        return starts[0]


def _aligned(
    running: Running,
    recipe: Recipe,
    reference: Reference,
    image: Image,
    start: Transform | None,
    progress: Progress | None,
    known: Found | None = None,
) -> Found:
    begun = time.perf_counter()
    try:
        request = Request(
            reference.image, image, recipe, Drivers(initial_transform=start), running.device, running.seed
        )
        inherited = None if known is None or known.start is None else Inherited(known.start)
        result = align(request, reference.scan, at_start=inherited, progress=progress, cancel=running.cancel)
    except (CancelledError, MemoryShortageError):
        raise
    except DeepRegError as error:
        return Found(None, Verdict(FAILED, (str(error),)), time.perf_counter() - begun)
    # The inverse of this run is thrown away: that of the final transform is judged.
    judged = verdict_on(
        replace(result.measures, inverse_error_p99=0.0),
        deformed=recipe.deformable.enabled,
        labels_alone=recipe.prepare.labels_only,
    )
    start_of = None if inherited is not None else start_measures(result.measures)
    return Found(result.transform, judged, time.perf_counter() - begun, start_of, result.measures.structure_after)


def _is_worse(found: Found, known: Found) -> bool:
    """Tell whether more speaks against a result than against that whose comparison with other poses it took over."""
    if known.start is None:
        return False
    drop = (known.structure or 0.0) - (found.structure or 0.0)
    return RANK[found.verdict.level] > RANK[known.verdict.level] or drop > DROP


def _added(before: Found, after: Found) -> Found:
    """Return what was found after, with the time of both."""
    return replace(after, seconds=before.seconds + after.seconds)


def _key(running: Running, recipe: Recipe, reference: Reference, image: Image, start: Transform | None) -> str:
    """Return what decides a member's result, as a hash."""
    inputs = {
        "version": VERSION,
        "recipe": recipe_to_dict(recipe),
        "seed": running.seed,
        "reference": reference.sha256,
        "image": image_hash(image, poll=running.poll),
        "start": None if start is None else transform_hash(start, poll=running.poll),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def without_their_mean(
    running: Running, found: Sequence[Found], used: Sequence[int], weights: Sequence[float], reference: Reference
) -> tuple[list[Found], float]:
    """Compose the mean displacement of some members back; return all, the others as they are, and how far it was, mm.

    Parameters
    ----------
    running, found, reference
        What all share, what was found of each, and what they were registered to.
    used
        The numbers of those that count.
    weights
        One of each of these.
    """
    transforms = [found[n].transform for n in used]
    grid = common_grid(transforms, reference.image.geometry)
    freed, shift = centred(transforms, weights, grid, str(choose_device(running.device)), running.poll)
    given = dict(zip(used, freed, strict=True))
    return [replace(each, kept=given[n]) if n in given else each for n, each in enumerate(found)], shift
