"""The result of a run: the moving image warped, and the transform judged."""

from __future__ import annotations

import functools

import numpy as np

from DeepRegLib.evaluation.explained import compare_explained
from DeepRegLib.evaluation.pose_comparison import PoseComparison
from DeepRegLib.image import Image
from DeepRegLib.judgement import Inherited, compare_start, measure
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.orientation import standard_order
from DeepRegLib.preparation import Prepared, PreparedPair
from DeepRegLib.provenance import provenance_of
from DeepRegLib.registration import Registration
from DeepRegLib.request import Request
from DeepRegLib.result import StartMeasures, WorstPlace
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.model import EXPLANATION, UNCERTAINTY
from DeepRegLib.stages.run import Run, working_pair
from DeepRegLib.transforms import Transform, image_and_view, linear_part
from DeepRegLib.trust_map import trust_of
from DeepRegLib.verdict import verdict_on


def finish(
    run: Run,
    request: Request,
    start: Transform,
    found: Deformed,
    inverse: Transform,
    working: tuple[WorkingImage, WorkingImage] | None = None,
    *,
    inverse_folds: int | None = None,
    mapped: bool = True,
    at_start: StartMeasures | Inherited | None = None,
) -> Registration:
    """Warp and judge.

    `mapped` asks for the trust map too; without it the inverse is taken for one that nobody gets. `at_start` is what an
    earlier result measured; where the inverse folds is counted if it is not given.
    """
    transform, poll = found.transform, run.monitor.poll
    scan, background = _finite_original(run.pair.moving), request.drivers.background
    standard = run.pair.fixed.original.geometry
    warped, seen = image_and_view(transform, scan, standard, background=background, poll=poll)
    measures, aligned = measure(
        run.pair,
        transform,
        inverse,
        run.landmarks,
        start=start,
        seen=seen,
        at_start=at_start or _compared(run, start, working),
        jacobian=found.jacobian,
        inverse_folds=inverse_folds,
        delivered=mapped,
        seed=request.seed,
        poll=poll,
    )
    run.monitor.step(0.7)
    trust: Image | None = None
    places: tuple[WorstPlace, ...] = ()
    if mapped:
        trust, places = trust_of(
            aligned.fixed,
            aligned.warped,
            aligned.known,
            aligned.mask,
            transform,
            inverse,
            run.pair.fixed.foreground,
            apart=aligned.apart,
            poll=poll,
        )
    as_given = functools.partial(standard_order(request.fixed.geometry).back, geometry=request.fixed.geometry)
    uncertainty, explanation = (run.log.maps.get(name) for name in (UNCERTAINTY, EXPLANATION))
    return Registration(
        fixed=request.fixed,
        moving=request.moving,
        transform=transform,
        inverse=inverse,
        warped=as_given(warped),
        field_of_view=as_given(seen),
        fixed_foreground=as_given(run.pair.fixed.foreground),
        measures=measures,
        verdict=verdict_on(
            measures, deformed=run.recipe.deformable.enabled, labels_alone=run.recipe.prepare.labels_only
        ),
        recipe=run.recipe,
        warnings=tuple(run.log.warnings),
        decisions=tuple(run.log.decisions),
        curves=run.log.curves,
        timings=run.monitor.timings,
        provenance=provenance_of(request, run.device, poll=poll) | run.log.provenance,
        uncertainty=uncertainty and as_given(uncertainty),
        explanation=explanation and as_given(explanation),
        trust=trust and as_given(trust),
        synthetic=_synthetic(run.pair, request),
        worst_places=places,
    )


def _compared(run: Run, start: Transform, working: tuple[WorkingImage, WorkingImage] | None) -> PoseComparison:
    """Compare the pose of the start with others, by what can be compared of the scans."""
    poll = run.monitor.poll
    if not run.recipe.prepare.ultrasound:
        return compare_start(run.pair, start, run.searched, working, poll=poll)
    fixed, moving = working or _working(run)
    return compare_explained(fixed, moving, linear_part(start).matrix, poll=poll)


def _working(run: Run) -> tuple[WorkingImage, WorkingImage]:
    pair = working_pair(run)
    return pair.fixed, pair.moving


def _synthetic(pair: PreparedPair, request: Request) -> Image | None:
    """Return what a network made of a scan, as that scan was given."""
    if pair.synthetic is None:
        return None
    side, image = pair.synthetic
    geometry = (request.fixed if side is pair.fixed else request.moving).geometry
    return standard_order(geometry).back(image, geometry=geometry)


def _finite_original(side: Prepared) -> Image:
    """Return the original voxels; NaN and infinite ones, which interpolation would spread, as the smallest value."""
    original = side.original
    if original.array.dtype.kind != "f" or np.isfinite(original.array).all():
        return original
    lowest = original.array[np.isfinite(original.array)].min()
    return original.with_array(np.where(np.isfinite(original.array), original.array, lowest))
