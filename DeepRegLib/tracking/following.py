"""follow(): the next scan registered from the last result, and searched for where that fails."""

from __future__ import annotations

from dataclasses import replace

import torch

from DeepRegLib.devices import choose_device, memory_errors_explained
from DeepRegLib.errors import MemoryShortageError, RegistrationError
from DeepRegLib.evaluation import InverseConsistency
from DeepRegLib.extras import with_driving_labels, with_extras
from DeepRegLib.finishing import finish
from DeepRegLib.judgement import Inherited
from DeepRegLib.monitoring import Cancel, Monitor, Progress
from DeepRegLib.pipeline import run_request
from DeepRegLib.preparation import PreparedScan
from DeepRegLib.recipes import Model, Recipe
from DeepRegLib.registration import Registration
from DeepRegLib.request import Request
from DeepRegLib.result import CHECK, FAILED, OK, Measures, start_measures
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.features import features_of, with_features
from DeepRegLib.stages.finding import find_field
from DeepRegLib.stages.inverse import invert_well, inverted_again, missing_refinement
from DeepRegLib.stages.linear import refine_linear, with_linear_similarity
from DeepRegLib.stages.rigid_segments import with_rigid_segments
from DeepRegLib.stages.run import Run, working_pair
from DeepRegLib.stages.run_of_request import run_of
from DeepRegLib.stages.unfolding import Unfolded
from DeepRegLib.tracking.increment import moved_on
from DeepRegLib.tracking.pose import better_start
from DeepRegLib.tracking.request import FOLLOWED, Following, Last
from DeepRegLib.transforms import DisplacementField, Transform, has_field, linear_part, parts_of

# On the finest level, from what coarser ones found to have moved since the last scan.
ITERATIONS = 6
VOXELS = 2_000_000
# Edges of a good result agree to within this from scan to scan.
DROP = 0.05
FINENESS_MARGIN = 1.1
RANK = {OK: 0, CHECK: 1, FAILED: 2}


def follow(
    following: Following,
    fixed: PreparedScan | None = None,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Registration:
    """Register the next scan from the last result: its pose is checked again, its field solved on from the last one.

    Where the verdict drops below that of the last search, or edges agree clearly less than they did there, the scan is
    searched for as `DeepRegLib.register` does, and the result whose edges agree better is returned. What the verdict
    needs to know of other poses is taken over from the last search, as long as nothing drops.

    Parameters
    ----------
    following
        The scan and the last result.
    fixed
        What `DeepRegLib.pipeline.prepare_fixed` made of the fixed scan; None makes it here.
    progress, cancel
        As in `DeepRegLib.register`.

    Raises
    ------
    InputError
        If a scan, mask or label map cannot be used.
    RegistrationError
        If the scans cannot be brought to overlap by a search either, or memory runs out.
    CancelledError
        If `cancel` returned true.
    """
    request, last = following.request, following.last
    try:
        found = _followed(request, last, fixed, progress, cancel)
        reason = drop(found, last)
    except MemoryShortageError:
        raise
    except RegistrationError as error:
        found, reason = None, str(error)
    if found is not None and not reason:
        return found
    searched = run_request(_from_nothing(request), fixed, progress=progress, cancel=cancel)
    said = f"The last result could not be followed: {reason} The pose was searched for."
    if found is not None and _edges(found) > _edges(searched):
        return replace(found, decisions=(*found.decisions, f"{said} That matched no better."))
    return replace(searched, decisions=(*searched.decisions, said))


def quick(recipe: Recipe) -> Recipe:
    """Return a recipe that goes on from a field: the finest levels alone, no search, no model."""
    wanted = recipe.deformable
    left = replace(wanted, shrink=(1,), iterations=(ITERATIONS,), voxels=min(wanted.voxels, VOXELS))
    calm = replace(recipe.large_motion, enabled=False)
    return replace(recipe, model=Model(), large_motion=calm, deformable=left)


def drop(found: Registration, last: Last) -> str:
    """Return why a followed result is not trusted as it is; empty if it is."""
    level = last.level if last.searched is not None else CHECK
    if RANK[found.verdict.level] > RANK[level]:
        return " ".join(found.verdict.reasons) or f"The verdict dropped to {found.verdict.level}."
    if last.searched is not None and _edges(found) < last.searched.structure_after - DROP:
        return f"Edges agree to {_edges(found):.0%}, after the last search they did to {_of(last.searched):.0%}."
    return ""


def _inverse(run: Run, found: Deformed, last: Last, seed: int) -> Unfolded:
    """Invert from the last inverse, first on a grid as fine as that needed."""
    if found.inverse is not None or last.inverse is None or not has_field(found.transform):
        return invert_well(run, found.transform, seed, found.inverse)
    alike = len(parts_of(last.inverse)) == len(parts_of(found.transform))
    near = last.inverse if alike else None
    return inverted_again(run, found.transform, seed, _fineness(found.transform, last), near)


def _fineness(transform: Transform, last: Last) -> float:
    """Return how many times finer than its field's an inverse's grid is to be: as fine as the last, or as it needed."""
    wanted, reached = (_step(each) for each in (transform, last.inverse))
    if not wanted or not reached or last.searched is None:
        return 1.0
    error = InverseConsistency(last.searched.inverse_error_mean, last.searched.inverse_error_p99)
    return max(wanted / reached * min(FINENESS_MARGIN * missing_refinement(error), 1.0), 1.0)


def _step(transform: Transform | None) -> float:
    """Return the finest step in mm between nodes of the fields of a transform; 0 where there are none."""
    parts = () if transform is None else parts_of(transform)
    return min((min(part.geometry.spacing) for part in parts if isinstance(part, DisplacementField)), default=0.0)


def _of(measures: Measures) -> float:
    return measures.structure_after


def _edges(found: Registration) -> float:
    return found.measures.structure_after


def _from_nothing(request: Request) -> Request:
    return replace(request, drivers=replace(request.drivers, initial_transform=None))


def _followed(
    request: Request, last: Last, fixed: PreparedScan | None, progress: Progress | None, cancel: Cancel | None
) -> Registration:
    chosen = replace(request, recipe=quick(last.recipe))
    recipe, device = chosen.recipe, choose_device(request.device)
    labels = ("labels",) if request.drivers.moving_labels is not None else ()
    solved = ("levels", "deformable") if recipe.deformable.enabled else ()
    plan = ("prepare", "linear", *solved, "inverse", "judge", *labels)
    monitor = Monitor(plan, progress, cancel)
    features = features_of(recipe)
    with memory_errors_explained(device), torch.no_grad():
        with monitor.stage("prepare"):
            run = run_of(chosen, device, plan, monitor, fixed)
            run = with_linear_similarity(run if features is None else with_features(run, features))
        start = moved = last.transform
        with monitor.stage("linear"):
            if recipe.deformable.enabled:
                start, run = better_start(run, start)
                moved, run = moved_on(run, start)
            else:
                start, run = refine_linear(run, working_pair(run), [linear_part(start).matrix])
        found = Deformed(start)
        if recipe.deformable.enabled:
            found, run = find_field(run, linear_part(start), moved, None)
            found = with_rigid_segments(run, found, run.rigid_labels)
        run.log.add_decision("Followed from the last result.")
        run.log.add_provenance(FOLLOWED, True)
        with monitor.stage("inverse"):
            inverse = _inverse(run, found, last, request.seed)
        with monitor.stage("judge"):
            known = None if last.searched is None else Inherited(start_measures(last.searched))
            folds = inverse.folds
            result = finish(run, chosen, start, found, inverse.inverse, inverse_folds=folds, at_start=known)
        result = with_driving_labels(result, request.drivers, monitor)
    with memory_errors_explained(torch.device("cpu")):
        return with_extras(result, request.extras, monitor)
