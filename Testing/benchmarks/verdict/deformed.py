"""Results of whole runs by every recipe, and what is made of them: another pose, a wrong bump, a fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image, resample
from DeepRegLib.judgement import Aligned, compare_start
from DeepRegLib.judgement import measure as measured
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.pipeline import register
from DeepRegLib.preparation import PreparedPair, prepare_pair
from DeepRegLib.recipes import load_recipe
from DeepRegLib.registration import Registration
from DeepRegLib.result import Measures
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    has_field,
    image_and_view,
    invert,
    linear_part,
)
from DeepRegLib.trust_map import trust_of
from Testing.benchmarks.cases import find_cases
from Testing.benchmarks.verdict import made
from Testing.benchmarks.verdict.scans import Pair, anatomy_points

# Of the anatomy's radius where that is small; a bump as wide as it is high folds nothing, one of a third of that does.
BUMP_MM, BUMP_SHARE = 10.0, 0.33
SMOOTH, STEEP = 1.0, 0.35
# These have other evidence than two scans alone: labels, or a mask.
BY_LABELS, BY_MASK = "labels-only", "stable-region"


@dataclass(frozen=True, eq=False)
class Variant:
    """A result with what is known of it.

    Parameters
    ----------
    kind
        In what way it is wrong.
    transform, inverse
        The result.
    error
        Mean distance of its pose from the right one in the anatomy, mm; of a bump, how far it leads astray.
    bump
        Where its middle is and how wide it is, mm; None where there is none.
    """

    kind: str
    transform: Transform
    inverse: Transform
    error: float
    bump: tuple[NDArray[np.float64], float] | None = None


def whole_run(data: Path, pair: Pair, recipe: str, pose: NDArray[np.float64]) -> Registration:
    """Register a pair by a recipe from a pose that is given, with labels or a mask where the recipe asks for them."""
    labels = labels_on(data, pair) if recipe in (BY_LABELS, BY_MASK) else (None, None)
    by_labels = recipe == BY_LABELS
    return register(
        pair.fixed,
        pair.moving,
        recipe,
        fixed_mask=labels[0] if recipe == BY_MASK else None,
        fixed_labels=labels[0] if by_labels else None,
        moving_labels=labels[1] if by_labels else None,
        initial_transform=LinearTransform(pose),
        device="cpu",
    )


def labels_on(data: Path, pair: Pair) -> tuple[Image | None, Image | None]:
    """Return the labels of a case on the grids of a pair, None where it has none."""
    found = find_cases(data, pair.name)[0].labels()
    if found is None:
        return None, None
    fixed, moving = (
        resample(labels, image.geometry, interpolation="nearest")
        for labels, image in zip(found, (pair.fixed, pair.moving), strict=True)
    )
    return fixed, moving


def variants(pair: Pair, result: Registration, rng: np.random.Generator) -> Iterator[Variant]:
    """Yield a result moved to wrong poses with its field; with a bump that is wrong; with one that folds."""
    points = anatomy_points(pair.fixed)
    centre = points.mean(0)
    radius = float(np.sqrt(((points - centre) ** 2).sum(1).mean()))
    pose = linear_part(result.transform).matrix
    motions = [(made.TURNED, made.about(centre, _direction(rng) * np.radians(a))) for a in rng.choice(made.ANGLES, 2)]
    motions.append((made.SHIFTED, made.shift(_direction(rng) * 0.5 * radius)))
    for kind, matrix in motions:
        motion = LinearTransform(matrix)
        moved = compose(motion, result.transform), compose(result.inverse, motion.inverse())
        yield Variant(kind, *moved, error_of(points, pose @ matrix, pose))
    if not has_field(result.transform):
        return
    height = min(BUMP_MM, BUMP_SHARE * radius)
    for kind, width in ((made.LOCAL, SMOOTH * height), (made.FOLDING, STEEP * height)):
        middle = points[rng.integers(len(points))]
        bump = bump_on(pair, middle, _direction(rng) * height, width)
        moved = compose(bump, result.transform), compose(result.inverse, invert(bump))
        yield Variant(kind, *moved, height, (middle, width))


def bump_on(pair: Pair, middle: NDArray[np.float64], shift: NDArray[np.float64], width: float) -> DisplacementField:
    """Return a field that moves one place and its surroundings, and nothing else."""
    grid = pair.fixed.geometry
    distance = np.linalg.norm(grid.points() - middle, axis=-1)
    return DisplacementField((np.exp(-0.5 * (distance / width) ** 2)[..., None] * shift).astype(np.float32), grid)


def judged(
    pair: Pair, recipe: str, result: Registration, found: list[Variant]
) -> Iterator[tuple[Variant, Measures, bool | None]]:
    """Measure variants as a run does; say of a bump whether one of the worst places lies in it."""
    prepared = prepare_pair(pair.fixed, pair.moving, load_recipe(recipe).prepare)
    pose = linear_part(result.transform)
    at_pose = compare_start(prepared, pose)
    for variant in found:
        start, comparison = pose, at_pose
        if variant.bump is None:
            start = linear_part(variant.transform)
            comparison = compare_start(prepared, start)
        seen = image_and_view(variant.transform, pair.moving, pair.fixed.geometry)[1]
        measures, aligned = measured(
            prepared,
            variant.transform,
            variant.inverse,
            None,
            start=start,
            seen=seen,
            at_start=comparison,
            seed=0,
            poll=never_cancel,
        )
        yield variant, measures, None if variant.bump is None else _is_told(prepared, variant, aligned)


def error_of(points: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how far apart two world matrices take points, on average, in mm."""
    difference = one - other
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).mean())


def _is_told(prepared: PreparedPair, variant: Variant, aligned: Aligned) -> bool:
    assert variant.bump is not None  # for mypy: the caller has looked
    middle, width = variant.bump
    images = aligned.fixed, aligned.warped, aligned.known, aligned.mask
    fields = variant.transform, variant.inverse
    places = trust_of(*images, *fields, prepared.fixed.foreground, apart=aligned.apart)[1]
    return any(np.linalg.norm(np.subtract(place.position, middle)) < 2 * width for place in places)


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
