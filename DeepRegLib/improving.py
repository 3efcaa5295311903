"""A finished registration, solved again near what a user drags."""

from __future__ import annotations

from dataclasses import replace

import torch

from DeepRegLib.correction import Correction, Improvement
from DeepRegLib.devices import choose_device, memory_errors_explained
from DeepRegLib.extras import with_driving_labels, with_extras
from DeepRegLib.finishing import finish
from DeepRegLib.monitoring import Cancel, Monitor, Progress
from DeepRegLib.registration import Registration
from DeepRegLib.stages.correcting import Corrected, correct
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.features import features_of, with_features
from DeepRegLib.stages.inverse import consistency, invert_well, is_exact
from DeepRegLib.stages.rigid_segments import with_rigid_segments
from DeepRegLib.stages.run_of_request import run_of
from DeepRegLib.transforms import linear_part

LEAST_BENDING = 0.01  # mm: a rigid segment that a correction bends by less is left as it was


def improve(
    improvement: Improvement, *, progress: Progress | None = None, cancel: Cancel | None = None
) -> Registration:
    """Correct a result near a few places, by what a user drags there and by the images.

    A place q to which anatomy is dragged from p is taken to where the earlier transform took p, as nearly as the images
    and the stiffness of the field allow. Beyond a radius about the dragged places, which is noted among the decisions,
    nothing changes, but that a rigid segment which is reached moves as a whole. Only the levels are solved that so long
    a drag needs, and only there, so that it takes a fraction of a registration.

    Parameters
    ----------
    improvement
        The result and what is dragged.
    progress, cancel
        As in `register`.

    Returns
    -------
    Registration
        As of a registration, with all that the request's extras ask for.

    Raises
    ------
    InputError
        If a place lies outside of the fixed anatomy, or the request cannot be used.
    CancelledError
        If `cancel` returned true.
    """
    request, correction = improvement.request, improvement.correction
    features = features_of(request.recipe)
    device = choose_device(request.device)
    labels = ("labels",) if request.drivers.moving_labels is not None else ()
    plan = ("prepare", "correction", "inverse", "judge", *labels)
    monitor = Monitor(plan, progress, cancel)
    with memory_errors_explained(device), torch.no_grad():
        with monitor.stage("prepare"):
            run = run_of(request, device, plan, monitor)
            if features is not None:
                run = with_features(run, features)
        with monitor.stage("correction"):
            corrected = correct(run, improvement.transform, improvement.inverse, correction)
            decisions = [*improvement.decisions, _decision(correction, corrected)]
            run = replace(run, log=run.log.with_decisions(decisions))
            if not corrected.met:
                run.log.add_warning(
                    f"A dragged place stays {corrected.left:.1f} mm from where it was dragged to: the images or the "
                    "stiffness of the field hold it back. Drag it in smaller steps, or check the line."
                )
            run.log.add_provenance("corrections", [noted(each) for each in (*improvement.made, correction)])
            found = Deformed(corrected.transform)
            found = with_rigid_segments(run, found, run.rigid_labels, least_bending=LEAST_BENDING)
        with monitor.stage("inverse"):
            inverse, folds = corrected.inverse, None
            if not is_exact(consistency(run, found.transform, inverse, request.seed)):
                made = invert_well(run, found.transform, request.seed)
                inverse, folds = made.inverse, made.folds
        with monitor.stage("judge"):
            start = linear_part(improvement.transform)
            at_start = improvement.at_start
            result = finish(run, request, start, found, inverse, inverse_folds=folds, at_start=at_start)
        result = with_driving_labels(result, request.drivers, monitor)
    with memory_errors_explained(torch.device("cpu")):
        return with_extras(result, request.extras, monitor)


def _decision(correction: Correction, corrected: Corrected) -> str:
    return (
        f"Corrected by hand: {len(correction.shown)} places dragged, by {correction.longest:.1f} mm at most, and met "
        f"to within {corrected.left:.1f} mm; nothing changed more than {corrected.reach:.0f} mm away from them."
    )


def noted(correction: Correction) -> dict[str, list[list[float]]]:
    """Return a correction as the provenance of a result holds it."""
    return {"shown": correction.shown.tolist(), "wanted": correction.wanted.tolist()}
